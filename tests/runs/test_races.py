# SPDX-License-Identifier: Apache-2.0
"""Two connections at once, on both databases."""

import pytest

from accounts.models import User
from audit import actions
from audit.models import Entry
from config.errors import LeaseLost, Refused
from runs import due, jobs, services, stopping
from runs.models import Effect, Run, Task
from tests.factories import actions_of, claimed, founder, later, reloaded, started, steps, tasks_of
from tests.people import agent
from tests.races import at_once, losers, winners

pytestmark = pytest.mark.django_db(transaction=True)

TWO = steps({"id": "one", "role": "agent:validator"}, {"id": "two", "role": "agent:validator"})


@pytest.fixture
def validator():
    return agent("validator", "agent:validator")


def claim(actor):
    return lambda: services.claim_tasks(role="agent:validator", actor=User.objects.get(pk=actor.pk))


def complete(lease, actor, outcome="PASS"):
    return lambda: services.complete_task(
        task_id=lease.task.pk, actor=User.objects.get(pk=actor.pk), token=lease.token, outcome=outcome
    )


def test_one_task_is_claimed_once_however_many_ask(validator):
    started()

    results = at_once(*[claim(validator) for _ in range(8)])

    assert losers(results) == []
    assert sorted(len(leases) for leases in results) == [0] * 7 + [1]
    assert Entry.objects.filter(action=actions.TASK_CLAIMED).count() == 1


def test_eight_claims_of_eight_tasks_get_eight_tasks(validator):
    for _ in range(8):
        started()

    results = at_once(*[claim(validator) for _ in range(8)])
    while len(taken := {lease.task.pk for leases in results for lease in leases}) < 8:
        extra = claim(validator)()
        assert extra, "a claim that met a locked row may come back empty, but the row stays claimable"
        results.append(extra)

    assert taken == set(Task.objects.values_list("pk", flat=True))


def test_the_same_completion_twice_at_once_is_one(validator):
    run = started(TWO)
    lease = claimed(validator)

    results = at_once(*[complete(lease, validator) for _ in range(4)])

    assert losers(results) == []
    assert len(tasks_of(run)) == 2
    assert actions_of(run).count(actions.TASK_COMPLETED) == 1


def test_two_different_outcomes_at_once_are_one_outcome(validator):
    run = started(TWO)
    lease = claimed(validator)

    results = at_once(complete(lease, validator, "PASS"), complete(lease, validator, "FAIL"))

    assert len(winners(results)) == 1
    assert isinstance(losers(results)[0], LeaseLost)
    (winner,) = winners(results)
    assert tasks_of(run)[0].outcome == winner.outcome


def test_a_completion_and_a_cancelling_leave_no_task_open_in_an_ended_run(validator):
    for _ in range(5):
        run = started(TWO)
        lease = claimed(validator)

        results = at_once(
            complete(lease, validator), lambda run=run: stopping.cancel_run(run_id=run.pk, actor=founder())
        )

        assert losers(results) == []
        assert reloaded(run).state == "cancelled"
        assert not Task.objects.open().filter(run=run).exists()
        assert actions_of(run).count(actions.RUN_CANCELLED) == 1


def test_a_release_and_a_cancelling_leave_nothing_claimable(validator):
    for _ in range(5):
        run = started(TWO)
        lease = claimed(validator)
        release = lambda lease=lease: services.release_task(  # noqa: E731
            task_id=lease.task.pk, actor=validator, token=lease.token
        )

        at_once(release, lambda run=run: stopping.cancel_run(run_id=run.pk, actor=founder()))

        assert reloaded(run).state == "cancelled"
        assert claim(validator)() == []


def test_a_lost_lease_is_found_once_by_any_number_of_sweeps(validator):
    run = started(TWO)
    claimed(validator)
    later(seconds=61)

    results = at_once(*[due.sweep for _ in range(4)])

    assert losers(results) == []
    assert actions_of(run).count(actions.TASK_LEASE_LOST) == 1
    assert tasks_of(run)[0].lease_losses == 1


def test_a_completion_races_the_end_of_its_lease_and_one_of_them_wins(validator):
    for _ in range(5):
        run = started(TWO)
        lease = claimed(validator)
        Task.objects.filter(pk=lease.task.pk).update(lease_expires_at=run.created_at, next_check_at=run.created_at)

        results = at_once(complete(lease, validator), due.sweep)

        assert [type(fault) for fault in losers(results)] == [LeaseLost]
        assert tasks_of(run)[0].state == "pending"
        stopping.cancel_run(run_id=run.pk, actor=founder())


def test_two_workers_perform_one_service_step_once(validator, tmp_path, monkeypatch):
    from tests.runs.actions import marks

    monkeypatch.setenv("HMS_ACT_TEST_MARKS", str(tmp_path))
    run = started(steps({"id": "pay", "role": "svc:finance", "call": "tests.charge $40"}))
    (task,) = tasks_of(run)

    results = at_once(*[lambda: jobs.perform("task", task.pk) for _ in range(4)])

    assert losers(results) == []
    assert len(marks()) == 1
    assert Effect.objects.count() == 1
    assert reloaded(run).state == "completed"


def test_many_runs_moved_by_many_hands_all_arrive_and_each_entry_is_written_once(validator):
    runs = [started(TWO) for _ in range(6)]

    def work():
        moved = 0
        for _ in range(30):
            for lease in claim(validator)():
                complete(lease, validator)()
                moved += 1
        return moved

    results = at_once(*[work for _ in range(4)])
    assert [fault for fault in losers(results) if not isinstance(fault, Refused)] == []
    while (left := work()) > 0:
        results.append(left)

    assert {run.state for run in Run.objects.all()} == {"completed"}
    assert sum(winners(results)) == 12
    for run in runs:
        assert actions_of(run) == [
            actions.RUN_STARTED,
            actions.TASK_CLAIMED,
            actions.TASK_COMPLETED,
            actions.TASK_CLAIMED,
            actions.TASK_COMPLETED,
            actions.RUN_COMPLETED,
        ]
