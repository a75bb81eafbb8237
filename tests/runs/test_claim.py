# SPDX-License-Identifier: Apache-2.0
"""Claiming a task, and keeping or giving back its lease."""

from datetime import timedelta

import pytest

from audit import actions
from audit.models import Entry
from config.errors import Forbidden, LeaseLost, NotFound, RoleRequired
from runs import services
from runs.models import TaskState
from tests.factories import actions_of, claimed, later, published, reloaded, started, steps, tasks_of
from tests.people import agent

pytestmark = pytest.mark.django_db


def test_a_claim_leases_the_oldest_ready_task_of_the_role(validator):
    first, second = started(), started()

    lease = claimed(validator)

    task = reloaded(lease.task)
    assert (task.run_id, task.state, task.assignee) == (first.pk, TaskState.RUNNING, validator)
    assert (task.fence, lease.fence) == (1, 1)
    assert task.ready_at is None
    assert lease.expires_at - task.claimed_at == timedelta(seconds=60)
    assert claimed(validator).task.run_id == second.pk


def test_the_token_is_stored_only_as_a_digest(validator):
    lease = claimed(validator) if started() else None

    assert lease.token not in str(reloaded(lease.task).__dict__)
    assert lease.token.encode() not in bytes(Entry.objects.get(action=actions.TASK_CLAIMED).body)


def test_the_log_keeps_what_the_claimer_was_handed(validator):
    started(payload={"form_id": 7})
    claimed(validator)

    entry = Entry.objects.get(action=actions.TASK_CLAIMED)
    assert entry.disclosed == {"input": {"form_id": 7, "data": {}}}
    assert b"form_id" not in bytes(entry.body)


def test_nothing_to_do_is_no_refusal(validator):
    assert services.claim_tasks(role="agent:validator", actor=validator) == []


def test_only_members_of_the_role_claim(db):
    started()
    stranger = agent("stranger", "agent:other")

    with pytest.raises(RoleRequired):
        services.claim_tasks(role="agent:validator", actor=stranger)
    assert Entry.objects.get(action=actions.TASK_CLAIM_DENIED).actor_name == "stranger"


def test_agents_and_services_do_not_claim_what_is_for_people(validator, finance):
    for actor in (validator, finance):
        with pytest.raises(Forbidden):
            services.claim_tasks(role="human:police_liaison", actor=actor)


def test_several_are_claimed_in_one_call(validator):
    runs = [started() for _ in range(3)]

    leases = services.claim_tasks(role="agent:validator", actor=validator, limit=2)

    assert [lease.task.run_id for lease in leases] == [run.pk for run in runs[:2]]
    assert len({lease.token for lease in leases}) == 2


def test_later_steps_are_handed_the_outputs_of_earlier_ones(validator):
    run = started(steps({"id": "one", "role": "agent:validator"}, {"id": "two", "role": "agent:validator"}))
    lease = claimed(validator)
    services.complete_task(
        task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS", output={"risk": "low"}
    )

    assert claimed(validator).input == {"form_id": 123, "data": {"one": {"risk": "low"}}}
    assert run.state == "running"


def test_a_step_of_our_worker_is_not_offered_to_clients(finance):
    started(steps({"id": "pay", "role": "svc:finance", "call": "hms_ach.charge $40"}))

    assert services.claim_tasks(role="svc:finance", actor=finance) == []


def test_a_heartbeat_holds_the_lease_for_its_full_time_from_now(validator):
    started()
    lease = claimed(validator)
    later(seconds=50)

    task = services.extend_lease(task_id=lease.task.pk, token=lease.token, actor=validator)

    assert task.lease_expires_at - lease.expires_at > timedelta(seconds=49)
    later(seconds=50)
    services.complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")


def test_heartbeats_leave_no_entries_and_renewals_do(validator):
    run = started()
    lease = claimed(validator)
    services.extend_lease(task_id=lease.task.pk, token=lease.token, actor=validator)
    services.extend_lease(task_id=lease.task.pk, token=lease.token, actor=validator, renewal=True)

    assert actions_of(run) == [actions.RUN_STARTED, actions.TASK_CLAIMED, actions.TASK_RENEWED]


def test_the_step_says_how_long_its_lease_holds(validator):
    started(steps({"id": "one", "role": "agent:validator", "token_ttl": 600}))
    lease = claimed(validator)

    assert lease.expires_at - reloaded(lease.task).claimed_at == timedelta(seconds=600)


@pytest.mark.parametrize("call", ["complete", "fail", "heartbeat", "release"])
def test_from_the_moment_it_ends_every_call_with_the_token_is_refused(validator, call):
    run = started()
    lease = claimed(validator)
    later(seconds=61)
    held = {"task_id": lease.task.pk, "token": lease.token, "actor": validator}

    with pytest.raises(LeaseLost):
        _call(call, held)
    task = reloaded(lease.task)
    assert (task.state, task.outcome) == (TaskState.RUNNING, "")
    assert actions_of(run)[-1].endswith("_denied")


@pytest.mark.parametrize("call", ["complete", "fail", "heartbeat", "release"])
def test_a_token_serves_nobody_else_and_no_other_task(validator, call):
    started(), started()
    lease, other = claimed(validator), claimed(validator)
    colleague = agent("colleague", "agent:validator")
    stranger = agent("stranger", "agent:other")

    with pytest.raises(LeaseLost):
        _call(call, {"task_id": lease.task.pk, "token": lease.token, "actor": colleague})
    with pytest.raises(LeaseLost):
        _call(call, {"task_id": other.task.pk, "token": lease.token, "actor": validator})
    with pytest.raises(NotFound):
        _call(call, {"task_id": lease.task.pk, "token": lease.token, "actor": stranger})


def _call(name: str, held: dict) -> None:
    if name == "complete":
        services.complete_task(**held, outcome="PASS")
    elif name == "fail":
        services.fail_task(**held, error_type="X")
    elif name == "heartbeat":
        services.extend_lease(**held)
    else:
        services.release_task(**held)


def test_a_released_task_is_claimable_again_and_the_old_token_is_worth_nothing(validator):
    run = started()
    lease = claimed(validator)
    services.release_task(task_id=lease.task.pk, token=lease.token, actor=validator, note="too busy")

    again = claimed(validator)
    assert (again.task.pk, again.fence, reloaded(again.task).lease_losses) == (lease.task.pk, 2, 0)
    with pytest.raises(LeaseLost):
        services.complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")
    assert len(tasks_of(run)) == 1


def test_nobody_claims_what_is_not_published(validator):
    published()

    assert services.claim_tasks(role="agent:validator", actor=validator) == []
