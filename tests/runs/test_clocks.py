# SPDX-License-Identifier: Apache-2.0
"""The clocks of a task, each with one meaning: first as a pure function, then on real runs."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail

from approvals.models import ActionRequest
from audit import actions
from audit.models import Entry
from config.errors import LeaseLost
from playbooks.definition import Step, StepKind, Timeouts
from runs import due, jobs, services
from runs.clocks import Clock, Consequence, Moments, deadlines, lease_seconds
from runs.models import Notice
from tests.factories import actions_of, claimed, later, reloaded, started, steps, tasks_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_step(**given):
    return Step("one", StepKind.AGENT, role="agent:x", **given)


def at(clock, step, **moments):
    found = [d for d in deadlines(step, Moments(scheduled_at=NOON, **moments)) if d.clock == clock]
    return found[0].at - NOON if found else None


ALL = a_step(timeouts=Timeouts(schedule_to_start=10, start_to_close=20, schedule_to_close=30, heartbeat=5))
T = {n: NOON + timedelta(seconds=n) for n in range(100)}


@pytest.mark.parametrize(
    ("clock", "moments", "after"),
    [
        (Clock.SCHEDULE_TO_START, {"claimable_at": T[3]}, 13),
        (Clock.SCHEDULE_TO_START, {"claimed_at": T[3]}, None),
        (Clock.START_TO_CLOSE, {"claimed_at": T[4]}, 24),
        (Clock.START_TO_CLOSE, {"claimable_at": T[4]}, None),
        (Clock.SCHEDULE_TO_CLOSE, {"claimed_at": T[4]}, 30),
        (Clock.SCHEDULE_TO_CLOSE, {}, 30),
        (Clock.HEARTBEAT, {"claimed_at": T[4], "lease_ends_at": T[9]}, 9),
        (Clock.HEARTBEAT, {"claimable_at": T[4]}, None),
    ],
)
def test_each_clock_runs_from_one_moment_and_only_then(clock, moments, after):
    assert at(clock, ALL, **moments) == (None if after is None else timedelta(seconds=after))


def test_the_nearest_clock_comes_first():
    found = deadlines(ALL, Moments(scheduled_at=NOON, claimed_at=T[4], lease_ends_at=T[9]))

    assert [d.clock for d in found] == [Clock.HEARTBEAT, Clock.START_TO_CLOSE, Clock.SCHEDULE_TO_CLOSE]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", {"start_to_close": "RETRY", "heartbeat": "RETRY", "schedule_to_close": "FAIL_RUN"}),
        ("ALERT_ONLY", dict.fromkeys(["start_to_close", "heartbeat", "schedule_to_close"], "ALERT_ONLY")),
        ("FAIL_RUN", dict.fromkeys(["start_to_close", "heartbeat", "schedule_to_close"], "FAIL_RUN")),
        ("RETRY", dict.fromkeys(["start_to_close", "heartbeat", "schedule_to_close"], "RETRY")),
    ],
)
def test_the_policy_says_what_a_clock_does(policy, expected):
    step = a_step(timeouts=ALL.timeouts, timeout_policy=policy)
    found = deadlines(step, Moments(scheduled_at=NOON, claimed_at=T[4], lease_ends_at=T[9]))

    assert {str(d.clock): str(d.consequence) for d in found} == expected


def test_a_clock_that_only_alerts_does_so_once():
    step = a_step(max_minutes=1)

    assert deadlines(step, Moments(scheduled_at=NOON))[0].consequence == Consequence.ALERT_ONLY
    assert deadlines(step, Moments(scheduled_at=NOON, flagged=True)) == []


def test_a_lease_never_outlasts_the_heartbeat_clock():
    assert lease_seconds(ALL, 60) == 5
    assert lease_seconds(a_step(token_ttl_seconds=7), 60) == 7
    assert lease_seconds(a_step(), 60) == 60


# On real runs ---------------------------------------------------------------------------------------------

AGAIN = {"maximum_attempts": 2, "initial_interval": 1, "jitter": "none"}


def story(**given):
    return steps({"id": "one", "role": "agent:validator", "retries": AGAIN, **given})


def pass_time(**by):
    later(**by)
    due.sweep()


@pytest.mark.django_db
def test_what_nobody_claims_in_time_fails_and_is_not_tried_again(validator):
    run = started(story(timeouts={"schedule_to_start": 30}))
    pass_time(seconds=29)
    assert reloaded(run).state == "running"
    pass_time(seconds=2)

    (task,) = tasks_of(run)
    assert (task.state, task.error_type) == ("failed", "ScheduleToStartTimeout")
    assert task.retry_reason == "the clock schedule_to_start ran out, which is not retried"
    assert reloaded(run).state == "failed"
    assert actions_of(run)[-2:] == [actions.TASK_TIMED_OUT, actions.RUN_FAILED]


@pytest.mark.django_db
def test_an_attempt_that_takes_too_long_is_a_fault_however_well_it_heartbeats(validator):
    run = started(story(timeouts={"start_to_close": 90}))
    lease = claimed(validator)
    held = {"task_id": lease.task.pk, "token": lease.token, "actor": validator}
    for _ in range(2):
        pass_time(seconds=40)
        services.extend_lease(**held)
    pass_time(seconds=11)

    first, second = tasks_of(run)
    assert (first.state, first.error_type, second.attempt) == ("failed", "StartToCloseTimeout", 2)
    with pytest.raises(LeaseLost):
        services.complete_task(**held, outcome="PASS")
    pass_time(seconds=2)
    assert claimed(validator).task.pk == second.pk


@pytest.mark.django_db
def test_a_silent_holder_costs_an_attempt_where_a_heartbeat_is_asked_for(validator):
    run = started(story(timeouts={"heartbeat": 10}))
    lease = claimed(validator)
    assert lease.expires_at - reloaded(lease.task).claimed_at == timedelta(seconds=10)
    pass_time(seconds=11)

    first, second = tasks_of(run)
    assert (first.state, first.error_type, first.lease_losses) == ("failed", "HeartbeatTimeout", 0)
    assert second.attempt == 2


@pytest.mark.django_db
def test_all_attempts_together_have_one_clock(validator):
    run = started(story(retries=20, timeouts={"schedule_to_close": 120}))
    lease = claimed(validator)
    services.fail_task(task_id=lease.task.pk, token=lease.token, actor=validator, error_type="Busy")
    pass_time(seconds=100)
    claimed(validator)
    pass_time(seconds=21)

    assert [task.error_type for task in tasks_of(run)] == ["Busy", "ScheduleToCloseTimeout"]
    assert reloaded(run).state == "failed"


@pytest.mark.django_db
def test_a_person_who_does_not_answer_has_not_said_no(liaison):
    run = started(steps({"id": "decide", "role": "human:police_liaison", "timeouts": {"schedule_to_close": 3600}}))
    pass_time(seconds=3601)

    request = ActionRequest.objects.get(run=run)
    assert (request.state, request.outcome, request.decided_by) == ("expired", "", None)
    assert tasks_of(run)[0].error_type == "ScheduleToCloseTimeout"
    entry = Entry.objects.get(action=actions.REQUEST_EXPIRED)
    assert (entry.actor_type, entry.actor_name) == ("system", "system")


@pytest.mark.django_db
def test_max_minutes_flags_the_run_and_it_goes_on(validator, administrator, api_for):
    run = started(story(max_minutes=30))
    owner = run.version.playbook.owner
    claimed(validator)
    pass_time(minutes=31)

    assert reloaded(run).stalled_at is not None
    assert reloaded(run).state == "running"
    assert actions.TASK_STALLED in actions_of(run)
    listed = api_for(administrator).get("/acts/runs?stalled=true").json()["results"]
    assert [row["run_id"] for row in listed] == [run.pk]
    jobs.tick()
    (message,) = mail.outbox
    assert message.to == [owner.email]
    assert message.subject == f"[Stalled] story, run {run.pk}: one"
    assert f"/{run.pk}/" in message.body


@pytest.mark.django_db
def test_a_stalled_run_is_flagged_and_mailed_once_and_is_well_again_when_its_step_ends(validator):
    run = started(story(max_minutes=30))
    pass_time(minutes=31)
    pass_time(hours=7)
    assert actions_of(run).count(actions.TASK_STALLED) == 1
    assert Notice.objects.count() == 1

    lease = claimed(validator)
    services.complete_task(task_id=lease.task.pk, token=lease.token, actor=validator, outcome="PASS")
    assert (reloaded(run).state, reloaded(run).stalled_at) == ("completed", None)


@pytest.mark.django_db
def test_alert_only_flags_where_another_policy_would_end(validator):
    run = started(story(timeouts={"start_to_close": 20}, timeout_policy="ALERT_ONLY"))
    lease = claimed(validator)
    pass_time(seconds=21)

    assert reloaded(run).stalled_at is not None
    services.complete_task(task_id=lease.task.pk, token=lease.token, actor=validator, outcome="PASS")
    assert reloaded(run).state == "completed"


@pytest.mark.django_db
def test_a_run_has_a_clock_of_its_own(validator, liaison):
    run = started({**steps({"id": "decide", "role": "human:police_liaison"}), "run_timeout": 600})
    pass_time(seconds=601)

    assert reloaded(run).state == "failed"
    assert [task.state for task in tasks_of(run)] == ["cancelled"]
    assert ActionRequest.objects.get(run=run).state == "not_required"
    assert "it may take 600 s" in Entry.objects.get(action=actions.RUN_FAILED).note


@pytest.mark.django_db
def test_a_timer_that_comes_again_finds_nothing_to_do(validator):
    run = started(story(timeouts={"schedule_to_start": 30}))
    pass_time(seconds=31)
    before = actions_of(run)
    pass_time(seconds=31)

    assert actions_of(run) == before
