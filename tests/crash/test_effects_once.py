# SPDX-License-Identifier: Apache-2.0
"""A receiver that does not honour keys acts each time it is asked. Steps may ask it first, or never ask it twice.

The process that performs the step dies at each point around the effect, or its answer comes later than its lease.
"""

from __future__ import annotations

import pytest
from django.db.models import F

from runs import jobs
from runs.incidents import resolve_incident
from runs.models import Effect, Task, TaskState
from tests.crash.house import begin_tick, charging, tick_dies, until
from tests.factories import founder, later, reloaded, started, tasks_of

pytestmark = pytest.mark.django_db(transaction=True)

LEASE = {"minutes": 3}  # longer than any here
BEFORE_THE_CALL = ["effect.after_intended", "claim.after_commit"]
AFTER_THE_CALL = ["effect.after_call", "complete.before_commit"]
ASKS_FIRST = charging(call="crash.charge_and_tell", effect="query_first")
ONCE = charging(effect="once")


@pytest.fixture(autouse=True)
def forgets_keys(receiver):
    receiver.honours_keys = False


def newest(run) -> Task:
    return tasks_of(run)[-1]


def late(environment, receiver):
    """A process whose call is answered after its lease is over."""
    receiver.open.clear()
    process = begin_tick(environment)
    until(lambda: receiver.asked, "the call")
    Task.objects.update(lease_expires_at=F("claimed_at"), next_check_at=F("claimed_at"))
    receiver.open.set()
    process.communicate()


# Asked first ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", BEFORE_THE_CALL + AFTER_THE_CALL)
def test_a_step_that_asks_first_acts_once_wherever_its_process_dies(environment, receiver, point):
    run = started(ASKS_FIRST)

    tick_dies(environment, point)
    later(**LEASE)
    jobs.tick()

    assert (reloaded(run).state, newest(run).output) == ("completed", {"charge": 1})
    assert receiver.acts == 1
    assert len(receiver.questions) == 1


def test_a_step_that_asks_first_acts_once_if_the_answer_comes_too_late(environment, receiver):
    run = started(ASKS_FIRST)

    late(environment, receiver)
    jobs.tick()

    assert (reloaded(run).state, receiver.acts, len(receiver.asked)) == ("completed", 1, 1)


def test_nobody_is_asked_before_the_first_request(receiver):
    run = started(ASKS_FIRST)
    jobs.tick()
    assert (reloaded(run).state, receiver.questions) == ("completed", [])


# The receiver dies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dies", ["before", "after"])
def test_a_receiver_that_dies_is_asked_what_it_did_and_acts_once(receiver, dies):
    run = started(ASKS_FIRST)
    receiver.dies = dies

    jobs.tick()
    assert reloaded(run).state == "running"
    later(minutes=10)
    jobs.tick()

    assert (reloaded(run).state, receiver.acts, len(receiver.questions)) == ("completed", 1, 1)


@pytest.mark.parametrize(("dies", "acts"), [("before", 0), ("after", 1)])
def test_a_receiver_that_dies_is_not_asked_twice_what_may_happen_once(receiver, dies, acts):
    run = started(ONCE)
    receiver.dies = dies

    jobs.tick()
    later(minutes=10)
    jobs.tick()

    assert (newest(run).state, receiver.acts) == (TaskState.INCIDENT, acts)


@pytest.mark.parametrize("dies", ["before", "after"])
def test_a_receiver_that_honours_keys_and_dies_acts_once(receiver, dies):
    receiver.honours_keys = True
    run = started(charging())
    receiver.dies = dies

    jobs.tick()
    later(minutes=10)
    jobs.tick()

    assert (reloaded(run).state, receiver.acts) == ("completed", 1)


# Never twice ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", BEFORE_THE_CALL + AFTER_THE_CALL)
def test_what_may_happen_once_only_waits_for_an_operator_wherever_its_process_dies(environment, receiver, point):
    run = started(ONCE)

    tick_dies(environment, point)
    later(**LEASE)
    jobs.tick()
    jobs.tick()

    assert (reloaded(run).state, newest(run).state) == ("running", TaskState.INCIDENT)
    assert "not known" in newest(run).retry_reason
    assert receiver.acts == (1 if point in AFTER_THE_CALL else 0)


def test_an_operator_who_found_out_has_it_done_or_leaves_it(environment, receiver):
    done, not_done = started(ONCE), started(ONCE)
    tick_dies(environment, "effect.after_call")
    tick_dies(environment, "effect.after_intended")
    later(**LEASE)
    jobs.tick()
    assert receiver.acts == 1

    resolve = {"actor": founder(), "reason": "the bank was asked"}
    resolve_incident(task_id=newest(done).pk, resolution="skip", output={"charge": 1}, **resolve)
    resolve_incident(task_id=newest(not_done).pk, resolution="retry", **resolve)
    jobs.tick()

    assert [reloaded(run).state for run in (done, not_done)] == ["completed", "completed"]
    assert receiver.acts == 2
    assert Effect.objects.get(run=not_done).attempt == 2


def test_an_answer_that_comes_too_late_is_no_reason_to_ask_again(environment, receiver):
    run = started(ONCE)

    late(environment, receiver)
    jobs.tick()

    assert (newest(run).state, receiver.acts) == (TaskState.INCIDENT, 1)


def test_a_fault_that_another_step_would_try_again_is_an_incident(environment, receiver, monkeypatch):
    run = started(ONCE)
    monkeypatch.setenv("HMS_ACT_TEST_RECEIVER", "http://127.0.0.1:9/charges")  # nobody is there
    jobs.tick()
    later(minutes=30)
    jobs.tick()

    assert (newest(run).state, newest(run).attempt) == (TaskState.INCIDENT, 1)


def test_a_client_of_a_role_that_vanished_may_have_acted(validator_of_finance):
    from runs.services import claim_tasks

    run = started({"id": "by-client", "steps": [{"id": "pay", "role": "svc:finance", "effect": "once"}]})
    claim_tasks(role="svc:finance", actor=validator_of_finance)
    later(minutes=3)
    jobs.tick()

    assert newest(run).state == TaskState.INCIDENT


@pytest.fixture
def validator_of_finance():
    from tests.people import service

    return service("cashier", "svc:finance")
