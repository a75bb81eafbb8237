# SPDX-License-Identifier: Apache-2.0
"""Requests whose time comes: reminded, escalated, timed out by the product and by nobody; paused, and given more."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from accounts.models import User
from approvals import deadlines, inbox
from approvals.asking import create_request
from approvals.calendar_services import DEFAULT, Terms, change_calendar
from approvals.claiming import claim_request
from approvals.models import ActionRequest, Asked, Notification, Vote
from approvals.policy_document import PolicyInvalid
from approvals.reading import RequestExpired
from approvals.revising import answer_info, request_info
from approvals.rights import refuse_unless_may_decide
from approvals.services import decide
from audit import actions
from audit.models import Entry
from config.errors import AlreadyDecided, Forbidden, Invalid, RoleRequired, WrongState
from runs import jobs, stopping
from runs.asking import TIMEOUT
from tests.factories import later, user
from tests.races import at_once, losers
from tests.runs.play import LIAISON, Play, agent, human, service

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def asked(*more, severity="medium", **time):
    """The question of a step with this time, and the play around it."""
    play = Play(human("approve", policy={"time": time}, severity=severity), *(more or [agent("after")]))
    return play, play.question("approve")


def now(request) -> ActionRequest:
    return ActionRequest.objects.get(pk=request.pk)


def told(request, purpose) -> list[str]:
    mails = Notification.objects.filter(request=request, purpose__startswith=purpose)
    return sorted(mails.values_list("recipient__username", flat=True))


def approve(request, who, **more):
    return decide(request_id=request.pk, actor=who, outcome="PASS", reason="fine", **more)


# When it is made ------------------------------------------------------------------------------------------


def test_the_deadlines_of_a_policy_become_moments_of_the_request():
    _, request = asked(follow_up="1h", due="4h", expires="2d")
    assert request.follow_up_at == request.created_at + HOUR
    assert request.due_at == request.created_at + 4 * HOUR
    assert request.expires_at == request.created_at + 48 * HOUR
    assert request.next_check_at == request.follow_up_at


def test_a_request_keeps_the_calendar_it_was_made_under(administrator):
    _, request = asked(due="1d", expires="40d", calendar=DEFAULT)
    kept = request.timetable["calendar"]
    terms = Terms("Nights", "Asia/Tokyo", {"monday": ["00:00-24:00"]})
    change_calendar(actor=administrator, slug=DEFAULT, terms=terms)

    assert now(request).timetable["calendar"] == kept
    assert (kept["name"], kept["zone"]) == ("default", "UTC")
    assert request.due_at > request.created_at + 8 * HOUR - timedelta(seconds=1)


def test_a_time_that_cannot_be_is_refused_with_its_place(validator):
    policy = {"time": {"due": "soon", "calendar": "lunar", "reminders": ["50%"]}}
    with pytest.raises(PolicyInvalid) as refusal:
        create_request(actor=validator, title="?", role=LIAISON, policy=policy)
    assert {problem.path for problem in refusal.value.errors} == {"policy.time.calendar", "policy.time.due"}


# The ladder -----------------------------------------------------------------------------------------------


def test_whoever_has_not_answered_is_reminded_once_for_each_moment():
    play, request = asked(due="4h", reminders=["50%", "-1h"])
    play.tick(hours=2, seconds=1)
    play.tick()
    assert told(request, "reminder") == ["liaison"]
    play.tick(hours=1)
    assert told(request, "reminder") == ["liaison", "liaison"]
    first, second = play.entries(actions.REQUEST_REMINDED)
    assert (first.actor_name, first.data["number"], second.data["number"]) == ("system", 1, 2)


def test_only_those_are_reminded_for_whom_it_waits_now():
    anna, ben = user("anna", "human", LIAISON), user("ben", "human", "human:legal")
    stages = [{"rules": [{"role": LIAISON, "approvals": 2}]}, {"rules": [{"role": "human:legal"}]}]
    play = Play(human("approve", policy={"stages": stages, "time": {"due": "4h", "reminders": ["1h", "2h"]}}))
    request = play.question("approve")
    approve(request, anna)
    play.tick(hours=1, seconds=1)
    assert told(request, "reminder") == ["liaison"]
    approve(request, User.objects.get(username="liaison"))
    play.tick(hours=1)
    assert told(request, "reminder") == [ben.username, "liaison"]


def test_escalation_adds_people_and_replaces_nobody(liaison):
    chief = user("chief", "human", "human:chief")
    anna = user("anna", "human")
    play, request = asked(due="4h", escalation=[{"after": "50%", "add": ["human:chief", "anna"]}])
    with pytest.raises(RoleRequired):
        refuse_unless_may_decide(request, chief)
    play.tick(hours=2, seconds=1)

    assert told(request, "escalated") == ["anna", "chief"]
    (entry,) = play.entries(actions.REQUEST_ESCALATED)
    assert (entry.actor_name, entry.data["added"]) == ("system", ["chief", "anna"])
    assert set(Asked.objects.values_list("user__username", "why")) == {("chief", "escalated"), ("anna", "escalated")}
    for who in (chief, anna, liaison):
        assert inbox.TO_DECIDE.rows(User.objects.get(pk=who.pk)).get() == request
        assert inbox.bar_of(now(request), User.objects.get(pk=who.pk)) is None
    assert approve(request, anna).state == "fulfilled"
    assert play.open == {"after"}


def test_the_fallback_is_asked_at_the_due_date():
    user("board", "human", "human:board")
    play, request = asked(due="4h", fallback="human:board")
    play.tick(hours=4, seconds=1)
    assert told(request, "escalated") == ["board"]
    assert Asked.objects.get().why == "fallback"


def test_an_escalation_to_nobody_is_told_as_a_failure():
    play, _ = asked(due="4h", escalation=[{"after": "1h", "add": "human:nobody"}])
    play.tick(hours=1, seconds=1)
    (entry,) = play.entries(actions.REQUEST_ESCALATED)
    assert (entry.result, entry.data["added"]) == ("FAIL", [])


# The end --------------------------------------------------------------------------------------------------


def test_t10_after_the_deadline_the_row_itself_refuses_be_it_that_no_sweeper_runs(liaison):
    _, request = asked(expires="1h")
    later(hours=1)

    with pytest.raises(RequestExpired):
        approve(request, liaison)

    assert (now(request).state, Vote.objects.count()) == ("pending", 0)
    assert Entry.objects.get(action=actions.REQUEST_DECIDE_DENIED).data["code"] == "request_expired"
    late = {"state": "fulfilled", "outcome": "PASS", "decided_how": "person", "next_check_at": None}
    row = ActionRequest.objects.filter(pk=request.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        row.update(**late, decided_by=liaison, decided_at=request.expires_at)


def test_a_decision_just_before_the_deadline_counts(liaison):
    play, request = asked(expires="1h")
    later(minutes=59)
    assert approve(request, liaison).state == "fulfilled"
    play.tick(hours=1)
    assert now(request).state == "fulfilled"


def test_t11_a_time_out_is_the_clocks_doing_and_an_outcome_of_its_own(liaison):
    play, request = asked(expires="1h")
    play.tick(hours=1, seconds=1)

    closed = now(request)
    assert (closed.state, closed.outcome, closed.decided_by) == ("expired", "", None)
    (entry,) = play.entries(actions.REQUEST_EXPIRED)
    assert (entry.actor_type, entry.actor_name, entry.note, entry.data["reason"]) == (
        "system", "system", "timeout", "timeout",
    )  # fmt: skip
    task = play.task("approve")
    assert (task.state, task.outcome, task.approval["by"], task.approval["reason"]) == (
        "rejected", TIMEOUT, "system", "timeout",
    )  # fmt: skip
    assert play.state == "failed"
    assert not Vote.objects.exists()
    # Every card, mail and badge is closed with it.
    assert (inbox.badge(liaison), list(inbox.TO_DECIDE.rows(liaison))) == ("", [])
    jobs.tick()
    assert not Notification.objects.filter(request=request, state="due").exists()
    with pytest.raises((AlreadyDecided, WrongState)):
        approve(request, liaison)


def test_t11_the_agent_that_asked_sees_that_nobody_answered(api_for, validator):
    api = api_for(validator)
    play = Play(agent("work", policy={"time": {"expires": "1h"}}), agent("after"))
    lease = play.claim("work")
    answer = api.post(f"/acts/tasks/{lease.task.pk}/request-approval", {"token": lease.token, "reason": "May I?"})
    play.tick(hours=1, seconds=1)
    shown = api.get(f"/hitl/requests/{answer.json()['request_id']}").json()
    assert (shown["status"], shown["fulfilled_by"], shown["rejection_reason"]) == ("expired", None, "")
    task = api.get(f"/acts/tasks/{lease.task.pk}").json()
    assert (task["status"], task["outcome"]) == ("rejected", TIMEOUT)


def test_a_default_of_reject_is_nobodys_no_either():
    more = [agent("after")]
    play, request = asked(*more, expires="1h", on_timeout="reject")
    play.tick(hours=1, seconds=1)
    closed = now(request)
    assert (closed.state, closed.outcome, closed.decided_how, closed.decided_by) == (
        "rejected",
        "FAIL",
        "timeout",
        None,
    )
    assert (closed.rejection_reason, play.state) == ("timeout", "failed")
    assert play.entries(actions.REQUEST_REJECTED)[0].actor_name == "system"
    assert not Vote.objects.exists()


def test_silence_approves_where_the_policy_says_so_and_nothing_is_lost_by_it():
    play, request = asked(severity="low", expires="1h", on_timeout="approve")
    play.tick(hours=1, seconds=1)
    closed = now(request)
    assert (closed.state, closed.outcome, closed.decided_how, closed.decided_by) == (
        "fulfilled", "PASS", "timeout", None,
    )  # fmt: skip
    assert play.open == {"after"}
    assert play.entries(actions.REQUEST_FULFILLED)[0].note == "timeout"


@pytest.mark.parametrize(
    ("severity", "more"), [("medium", agent("after")), ("low", service("charge"))], ids=["severe", "irreversible"]
)
def test_silence_approves_nothing_severe_and_nothing_that_cannot_be_undone(severity, more):
    play, request = asked(more, severity=severity, expires="1h", on_timeout="approve")
    play.tick(hours=1, seconds=1)
    assert (now(request).state, play.state) == ("expired", "failed")


def test_a_request_that_waits_for_ever_only_becomes_overdue(liaison):
    play, request = asked(due="1h")
    play.tick(days=30)
    assert now(request).state == "pending"
    assert approve(request, liaison).state == "fulfilled"


def test_a_rerouted_request_asks_the_fallback_and_the_clock_begins_anew_once():
    board = user("board", "human", "human:board")
    play, request = asked(expires="1h", on_timeout="reroute", fallback="human:board")
    play.tick(hours=1, seconds=1)
    again = now(request)
    assert (again.state, told(request, "escalated")) == ("pending", ["board"])
    assert again.expires_at > request.expires_at + HOUR - timedelta(minutes=1)
    (entry,) = play.entries(actions.REQUEST_REROUTED)
    assert (entry.actor_name, entry.note) == ("system", "timeout")
    assert inbox.bar_of(again, User.objects.get(pk=board.pk)) is None

    play.tick(hours=1, seconds=1)
    assert now(request).state == "expired"


def test_a_claim_neither_keeps_the_clock_nor_loses_the_reminder(liaison):
    play, request = asked(due="30m", expires="10h", reminders=["50%"])
    claim_request(request_id=request.pk, actor=liaison)
    play.tick(minutes=16)
    assert told(request, "reminder") == ["liaison"]
    play.tick(hours=10)
    assert now(request).state == "expired"


@pytest.mark.django_db(transaction=True)
def test_a_decision_and_the_clock_at_the_same_moment_are_one_or_the_other():
    for _ in range(3):
        play, request = asked(expires="1h")
        liaison = User.objects.get(username="liaison")
        later(minutes=59, seconds=59, milliseconds=900)
        results = at_once(
            lambda asked=request, who=liaison: approve(asked, who),
            *[lambda asked=request: deadlines.check_request(request_id=asked.pk)] * 4,
        )
        later(seconds=1)
        deadlines.check_request(request_id=request.pk)
        closed, votes = now(request), Vote.objects.filter(request=request).count()
        assert (closed.state, votes, play.open) in (("fulfilled", 1, {"after"}), ("expired", 0, set()))
        assert len(losers(results)) == (closed.state == "expired")


@pytest.mark.django_db(transaction=True)
def test_of_several_sweepers_one_lets_it_expire():
    play, request = asked(expires="1h", reminders=["50%"])
    later(hours=2)
    at_once(*[lambda: deadlines.check_request(request_id=request.pk)] * 5)
    assert now(request).state == "expired"
    assert len(play.entries(actions.REQUEST_EXPIRED)) == 1
    assert len(play.entries(actions.TASK_REJECTED)) == 1


def test_t12_a_run_that_is_cancelled_needs_no_answer_and_the_badge_says_what_the_list_says(liaison):
    play, request = asked(due="1h")
    other, _ = asked(due="1h")
    assert (inbox.badge(liaison), len(inbox.TO_DECIDE.rows(liaison))) == ("2", 2)
    stopping.cancel_run(run_id=play.run_id, actor=play.run.started_by)
    assert now(request).state == "not_required"
    assert (inbox.badge(liaison), [one.run_id for one in inbox.TO_DECIDE.rows(liaison)]) == ("1", [other.run_id])


def test_t12_a_task_that_ends_by_force_needs_no_answer(liaison):
    play = Play(human("approve", policy={"time": {"due": "1h"}}, timeouts={"schedule_to_close": "2h"}), agent("after"))
    request = play.question("approve")
    play.tick(hours=2, seconds=1)
    assert now(request).state == "expired"
    assert (inbox.badge(liaison), list(inbox.TO_DECIDE.rows(liaison))) == ("", [])


# The clock stands -----------------------------------------------------------------------------------------


def test_while_the_requester_is_asked_the_clock_stands_and_then_all_is_as_far_away(liaison):
    play, request = asked(due="2h", expires="4h", reminders=["75%"])
    later(hours=1)
    request_info(request_id=request.pk, actor=liaison, question="Which bridge?")
    play.tick(days=3)
    paused = now(request)
    assert (paused.state, told(request, "reminder")) == ("info_requested", [])

    answer_info(request_id=request.pk, actor=play.run.started_by, answer="The old one.")
    resumed = now(request)
    assert (resumed.state, resumed.paused_at) == ("pending", None)
    stood = resumed.due_at - request.due_at
    assert abs(stood - timedelta(days=3)) < timedelta(minutes=1)
    assert resumed.expires_at - request.expires_at == stood
    assert abs(timedelta(seconds=resumed.paused_seconds) - stood) < timedelta(minutes=1)
    play.tick(minutes=31)
    assert told(request, "reminder") == ["liaison"]
    play.tick(hours=3)
    assert now(request).state == "expired"


# More time ------------------------------------------------------------------------------------------------


def test_more_time_moves_the_deadline_and_is_recorded(administrator):
    play, request = asked(due="2h", expires="4h", reminders=["50%"])
    deadlines.extend_request(request_id=request.pk, actor=administrator, by="2h", reason="The expert is ill.")
    moved = now(request)
    assert (moved.due_at, moved.expires_at) == (request.due_at + 2 * HOUR, request.expires_at + 2 * HOUR)
    (entry,) = play.entries(actions.REQUEST_EXTENDED)
    assert (entry.actor_name, entry.data["by"], entry.note) == ("administrator", 7200, "The expert is ill.")
    play.tick(hours=2)
    assert told(request, "reminder") == []
    play.tick(hours=1, seconds=1)
    assert told(request, "reminder") == ["liaison"]


def test_more_time_ends_at_the_cap_of_the_policy(administrator):
    _, request = asked(expires="4h", extend="3h")
    deadlines.extend_request(request_id=request.pk, actor=administrator, by="2h")
    with pytest.raises(deadlines.ExtensionTooLong, match="1:00:00 are left"):
        deadlines.extend_request(request_id=request.pk, actor=administrator, by="2h")
    assert now(request).expires_at == request.expires_at + 2 * HOUR


def test_without_a_cap_of_its_own_that_of_the_installation_holds(administrator, settings):
    settings.EXTENSION_CAP_SECONDS = 3600
    _, request = asked(expires="4h")
    with pytest.raises(deadlines.ExtensionTooLong):
        deadlines.extend_request(request_id=request.pk, actor=administrator, by="61m")


def test_more_time_is_given_by_whoever_may_and_to_what_is_due(administrator, liaison):
    _, request = asked(expires="4h")
    with pytest.raises(Forbidden):
        deadlines.extend_request(request_id=request.pk, actor=liaison, by="2h")
    with pytest.raises(Invalid, match="no length"):
        deadlines.extend_request(request_id=request.pk, actor=administrator, by="soon")
    later(hours=4)
    with pytest.raises(RequestExpired):
        deadlines.extend_request(request_id=request.pk, actor=administrator, by="2h")
    _, free = asked()
    with pytest.raises(WrongState, match="no deadline"):
        deadlines.extend_request(request_id=free.pk, actor=administrator, by="2h")


# The page -------------------------------------------------------------------------------------------------


def test_the_page_says_what_happens_if_nobody_answers(liaison, client_for):
    user("chief", "human", "human:chief")
    play, request = asked(
        due="2h", expires="4h", reminders=["50%"], escalation=[{"after": "75%", "add": "human:chief"}]
    )
    play.tick(hours=1, seconds=1)
    page = client_for(liaison).get(f"/admin/approvals/actionrequest/{request.pk}/decide/").content.decode()
    assert "If nobody answers" in page
    assert f"{request.expires_at:%-d %b %Y, %H:%M} UTC</time> it ends without an answer, as a time-out" in page
    assert "Whoever had not answered was reminded." in page
    assert page.index("human:chief is asked as well.") < page.index('<span class="chip">next</span>')


def test_a_page_about_a_request_without_any_deadline_says_nothing_of_time(liaison, client_for):
    _, request = asked()
    page = client_for(liaison).get(f"/admin/approvals/actionrequest/{request.pk}/decide/").content.decode()
    assert "If nobody answers" not in page
