# SPDX-License-Identifier: Apache-2.0
"""Death at what follows from an act: the wake-up, the mail, the timer that takes a lost lease back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.core import mail
from django.db.models import F

from accounts import seeds
from accounts.models import User
from approvals.models import ActionRequest, Notification
from audit import actions
from config.errors import WrongState
from runs import due, jobs, stopping
from runs.claiming import claim_for_worker
from runs.models import Run, Task, TaskState
from tests.crash.house import begin_tick, charging, has_ended, tick_dies, told, until, web_dies, worker
from tests.factories import founder, later, published, reloaded, started, steps, tasks_of, user
from tests.people import key_of
from tests.races import at_once, losers, winners

pytestmark = pytest.mark.django_db(transaction=True)

FOUND_SECONDS = 5  # in which what nobody was woken for is found


def test_what_was_committed_and_never_told_is_found_within_five_seconds(environment, receiver, tmp_path):
    published(charging())
    _, token = key_of(founder())
    with worker(environment, tmp_path / "worker.log"):
        first = started(charging())
        until(lambda: has_ended(first), "the first run")  # the worker is up, and idle

        call = {"json": {"playbook": "story"}, "headers": {"Authorization": f"Bearer {token}"}}
        web_dies(environment, tmp_path / "web.log", "wake.before_notify", "/acts/run", **call)
        run = Run.objects.exclude(pk=first.pk).get()
        until(lambda: has_ended(run), "the run that nobody was woken for")

    (task,) = tasks_of(run)
    assert task.claimed_at - run.created_at <= timedelta(seconds=FOUND_SECONDS)


# Mails ----------------------------------------------------------------------------------------------------


def test_a_mail_sent_and_not_marked_is_sent_once_more_and_marked_once(environment, tmp_path):
    user("liaison", "human", "human:police_liaison")
    started(steps({"id": "approve", "role": "human:police_liaison"}))
    folder = tmp_path / "mails"

    tick_dies({**environment, "EMAIL_URL": f"filemail://{folder}"}, "mail.after_send")
    notification = Notification.objects.get()
    assert (mails_in(folder), notification.state, notification.attempts) == (1, "due", 1)
    jobs.tick()
    assert mail.outbox == [], "while it may still be on its way, nobody sends it again"
    later(minutes=3)
    jobs.tick()
    jobs.tick()

    assert len(mail.outbox) == 1
    assert (reloaded(notification).state, reloaded(notification).attempts) == ("sent", 2)


def mails_in(folder: Path) -> int:
    return sum(file.read_text().count("Subject:") for file in folder.iterdir())


# Lost leases ----------------------------------------------------------------------------------------------


def with_a_lost_lease() -> Run:
    """A run whose holder died long ago."""
    run = started(charging())
    (task,) = tasks_of(run)
    claim_for_worker(task_ids=[task.pk], actor=User.objects.get(username=seeds.WORKER), holder="gone:1")
    Task.objects.update(lease_expires_at=F("claimed_at"), next_check_at=F("claimed_at"))
    return run


def test_a_timer_that_dies_leaves_its_work_to_any_other(environment, receiver):
    run = with_a_lost_lease()

    tick_dies(environment, "lease_lost.before_commit")
    (task,) = tasks_of(run)
    assert (task.state, task.lease_losses, told(run)[actions.TASK_LEASE_LOST]) == (TaskState.RUNNING, 0, 0)
    jobs.tick()

    (task,) = tasks_of(run)
    assert (task.state, task.lease_losses, told(run)[actions.TASK_LEASE_LOST]) == (TaskState.COMPLETED, 1, 1)


def test_two_timers_at_once_take_a_lease_back_once(environment, receiver):
    run = with_a_lost_lease()

    timers = [begin_tick(environment) for _ in range(2)]
    said = [timer.communicate()[0] for timer in timers]

    assert [timer.returncode for timer in timers] == [0, 0], said
    (task,) = tasks_of(run)
    assert (task.state, task.fence, task.lease_losses) == (TaskState.COMPLETED, 2, 1)
    assert (told(run)[actions.TASK_LEASE_LOST], told(run)[actions.TASK_COMPLETED]) == (1, 1)
    assert len(receiver.asked) == 1


# One of two -----------------------------------------------------------------------------------------------

LAST = {"id": "approve", "role": "human:police_liaison"}


def approval_of(request: ActionRequest):
    from approvals.services import decide

    return lambda: decide(request_id=request.pk, actor=user("liaison"), outcome="PASS")


@pytest.mark.parametrize("_", range(4))
def test_an_approval_and_a_cancelling_at_once_one_wins_and_the_other_is_refused_and_logged(_):
    user("liaison", "human", "human:police_liaison")
    by = founder()
    run = started(steps(LAST))
    approval = approval_of(ActionRequest.objects.get(run=run))

    results = at_once(approval, lambda: stopping.cancel_run(run_id=run.pk, actor=by))

    assert (len(winners(results)), [type(loser) for loser in losers(results)]) == (1, [WrongState])
    approved = results[0] in winners(results)
    assert reloaded(run).state == ("completed" if approved else "cancelled")
    won, lost = (actions.REQUEST_FULFILLED, actions.RUN_CANCEL_DENIED)
    if not approved:
        won, lost = (actions.RUN_CANCELLED, actions.REQUEST_DECIDE_DENIED)
    assert (told(run)[won], told(run)[lost]) == (1, 1)


@pytest.mark.parametrize("_", range(4))
def test_an_approval_and_the_end_of_its_time_at_once_one_wins(_):
    user("liaison", "human", "human:police_liaison")
    run = started(steps({**LAST, "timeouts": {"schedule_to_close": 60}, "retries": 0}))
    request = ActionRequest.objects.get(run=run)
    approval = approval_of(request)
    later(seconds=61)

    results = at_once(approval, due.sweep)

    log = told(run)
    if losers(results):
        assert [type(loser) for loser in losers(results)] == [WrongState]
        assert (reloaded(request).state, reloaded(run).state) == ("expired", "failed")
        assert (log[actions.TASK_TIMED_OUT], log[actions.REQUEST_DECIDE_DENIED]) == (1, 1)
    else:
        assert (reloaded(request).state, reloaded(run).state) == ("fulfilled", "completed")
        assert (log[actions.TASK_TIMED_OUT], log[actions.REQUEST_FULFILLED]) == (0, 1)
