# SPDX-License-Identifier: Apache-2.0
"""What people are told by mail, when, and what a mail never holds."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from email import message_from_bytes, policy

import pytest
from django.core import mail
from django.db import IntegrityError, connection, transaction

from approvals import cancelling, message_services, revising, services
from approvals.models import Broadcast, Notification, Preference, Summary
from approvals.routing import Reach, Rhythm, Wishes
from audit import actions
from audit.models import Entry
from config import clock
from config.errors import Forbidden, Invalid, WrongState
from config.mail import MailState
from runs import jobs
from tests.approvals.outside import CANARY, TITLE, question
from tests.factories import later, reloaded, waiting_for_a_person
from tests.people import person

pytestmark = pytest.mark.django_db


def wishing(user, **wishes):
    return message_services.set_preferences(actor=user, wishes=Wishes(**wishes))


def at_hour(hour: int) -> None:
    """Move time on to the next moment at which the clock in UTC shows this hour, at half past."""
    now = clock.now()
    then = now.replace(hour=hour, minute=30, second=0, microsecond=0)
    clock.move(then - now + (timedelta(days=1) if then <= now else timedelta(0)))


def told() -> list[str]:
    """Tick; the subjects of all mails that have been sent since the last look."""
    jobs.tick()
    subjects = [message.subject for message in mail.outbox]
    mail.outbox.clear()
    return subjects


def html_of(message) -> str:
    return str(message.alternatives[0][0])


# What stands in a mail ------------------------------------------------------------------------------------


def test_a_mail_says_how_grave_what_is_asked_by_whom_and_what_happens_if_nobody_answers(validator, liaison):
    request = question(validator, severity="high")
    jobs.tick()

    (message,) = mail.outbox
    assert message.subject == f"[High] Decide: {TITLE}"
    for text in (message.body, html_of(message)):
        assert "a decision is waiting for you" in text
        assert TITLE in text
        assert "validator" in text
        assert "Nothing happens until somebody decides." in text
        assert f"/admin/approvals/actionrequest/{request.pk}/decide/" in text
        assert text.count("Open to review") == 1


def test_a_deadline_is_told_in_the_readers_own_time(validator, liaison):
    wishing(liaison, zone="Asia/Tokyo")
    request = question(validator)
    request.due_at = datetime(2030, 1, 15, 18, 0, tzinfo=UTC)
    request.expires_at = datetime(2030, 1, 16, 18, 0, tzinfo=UTC)
    request.save(update_fields=["due_at", "expires_at"])
    jobs.tick()

    (message,) = mail.outbox
    assert message.subject == f"[Medium] Decide: {TITLE} · by Wed 16 Jan 2030, 03:00 JST"
    assert "If nobody answers by Thu 17 Jan 2030, 03:00 JST, it ends unanswered, and nothing is done." in message.body


def test_no_argument_stands_in_a_mail_but_those_that_the_policy_shows(validator, liaison):
    question(validator)
    question(validator, title="Another", policy={"notify": {"show": ["amount", "nowhere", "why.deeper"]}})
    jobs.tick()

    plain, showing = [each.body + html_of(each) for each in mail.outbox]
    assert "amount" not in plain
    assert "amount: 40\n" in showing
    assert "nowhere" not in showing
    assert CANARY not in plain + showing


@pytest.mark.parametrize(
    "section",
    [{"show": ["api_key"]}, {"show": ["card.password"]}, {"show": "amount"}, {"show": [""]}, {"showing": ["amount"]},
     {"show": ["a"] * 21}],
)  # fmt: skip
def test_a_policy_that_would_show_a_secret_or_says_nonsense_is_refused(validator, liaison, section):
    with pytest.raises(Invalid):
        question(validator, policy={"notify": section})


@pytest.mark.parametrize(
    "title",
    [
        "Pay\r\nBcc: all@example.org",
        "Pay\nContent-Type: text/html\n\n<script>alert(1)</script>",
        "<b>Pay</b> & <a href='https://evil.example'>look</a>",
        "Pay \u202eexe.lacol\u2066 \u200bnow",
        "{{ 7 }}{% load static %}",
        "Pay =?utf-8?q?x?= \x07" + "x" * 150,
    ],
)
def test_a_hostile_title_is_shown_as_what_it_is_and_reaches_no_header(validator, liaison, title):
    question(validator, title=title[:200])
    jobs.tick()

    (message,) = mail.outbox
    parsed = message_from_bytes(message.message().as_bytes(), policy=policy.default)
    assert parsed["Bcc"] is None
    assert parsed.get_all("Content-Type") == [parsed["Content-Type"]]
    assert message.recipients() == [liaison.email]
    assert "\n" not in parsed["Subject"]
    assert len(message.subject) <= 200
    seen = message.subject + message.body + html_of(message)
    assert not set(seen) & set("\u202e\u2066\u200b\x07")
    assert "<script>" not in html_of(message)
    assert "<b>Pay" not in html_of(message)
    assert "href='https://evil" not in html_of(message)


def test_mails_about_one_request_are_one_thread_that_ends_with_outcome_and_decider(validator, liaison):
    colleague = person("colleague", "human:police_liaison", first_name="Ada", last_name="Quill")
    request = question(validator)
    jobs.tick()
    services.decide(request_id=request.pk, actor=colleague, outcome="PASS")
    jobs.tick()

    first, last = [each for each in mail.outbox if each.to == [liaison.email]]
    root = first.message()["Message-ID"]
    assert root == f"<{request.pk}.{liaison.pk}@localhost>"
    assert last.message()["In-Reply-To"] == last.message()["References"] == root
    assert last.message()["Message-ID"] != root
    assert last.subject == f"[Medium] Decided: {TITLE}"
    assert "Approved by Ada Quill on" in last.body
    assert "Nothing happens" not in last.body
    assert {first.message()["Auto-Submitted"], last.message()["Auto-Submitted"]} == {"auto-generated"}


def test_what_was_decided_before_anybody_was_told_is_told_to_nobody(validator, liaison):
    request = question(validator)
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")

    assert told() == []
    assert {row.state for row in Notification.objects.all()} == {MailState.NOT_NEEDED}


def test_a_run_that_ends_closes_the_thread_of_its_question(validator, liaison):
    from runs import stopping
    from tests.factories import founder

    request = waiting_for_a_person(validator)
    told()
    stopping.cancel_run(run_id=request.run_id, actor=founder(), reason="rained off")

    assert told() == [f"[Medium] Closed: {request.title}"]


def test_who_was_told_of_a_question_is_told_that_it_was_taken_back(validator, liaison):
    request = question(validator)
    told()
    cancelling.cancel_request(request_id=request.pk, actor=validator)
    jobs.tick()

    (message,) = mail.outbox
    assert message.subject == f"[Medium] Closed: {TITLE}"
    assert "Its requester has taken it back." in message.body


def test_who_has_voted_is_not_asked_again_and_others_still_are(validator, liaison):
    colleague = person("colleague", "human:police_liaison")
    request = question(validator, policy={"required_approvals": 2})
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    jobs.tick()

    assert [each.to for each in mail.outbox] == [[colleague.email]]


def test_a_new_revision_is_told_in_the_same_thread(validator, liaison):
    request = question(validator)
    told()
    changes = {"context": {"amount": 50}}
    revising.revise_request(request_id=request.pk, actor=validator, changes=changes, reason="the fee has risen")
    jobs.tick()

    (message,) = mail.outbox
    assert message.subject == f"[Medium] Changed, decide: {TITLE}"
    assert message.message()["References"] == f"<{request.pk}.{liaison.pk}@localhost>"


def test_who_asks_outside_a_run_as_a_person_hears_how_it_ended(liaison):
    asker = person("asker", "human:clerk")
    request = question(asker)
    told()
    services.decide(request_id=request.pk, actor=liaison, outcome="FAIL", reason="no budget")
    jobs.tick()

    assert sorted(each.to[0] for each in mail.outbox) == [asker.email, liaison.email]


# When -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("severity", "count"), [("low", 0), ("medium", 0), ("high", 0), ("critical", 1)])
def test_only_what_is_critical_wakes_anybody(validator, liaison, severity, count):
    wishing(liaison, quiet_from=time(22), quiet_until=time(7))
    at_hour(23)
    question(validator, severity=severity)

    assert len(told()) == count
    at_hour(7)
    assert len(told()) == 1 - count


def test_what_is_decided_in_the_night_is_not_told_in_the_morning(validator, liaison):
    wishing(liaison, quiet_from=time(22), quiet_until=time(7))
    at_hour(23)
    request = question(validator)
    told()
    services.decide(request_id=request.pk, actor=person("night_shift", "human:police_liaison"), outcome="PASS")
    at_hour(7)

    assert told() == []


def test_low_and_medium_wait_for_the_summary_and_high_does_not(validator, liaison):
    wishing(liaison, rhythm=Rhythm.DAILY, summary_at=time(9))
    at_hour(12)
    for title, severity in [("Low", "low"), ("Medium", "medium"), ("High", "high"), ("Settled", "low")]:
        question(validator, title=title, severity=severity)
    assert told() == ["[High] Decide: High"]
    settled = Notification.objects.get(request__title="Settled")
    services.decide(request_id=settled.request_id, actor=person("colleague", "human:police_liaison"), outcome="PASS")
    at_hour(9)
    jobs.tick()

    (message,) = mail.outbox
    assert message.subject == "[Summary] 2 to decide, 0 settled"
    assert "[Low] Decide: Low" in message.body
    assert "[Medium] Decide: Medium" in html_of(message)
    assert "Settled" not in message.body
    assert CANARY not in message.body + html_of(message)
    assert reloaded(settled).state == MailState.NOT_NEEDED
    assert Summary.objects.get().state == MailState.SENT
    listed = Notification.objects.filter(summary__isnull=False).exclude(pk=settled.pk)
    assert {row.state for row in listed} == {MailState.SENT}


def test_a_summary_of_which_nothing_is_left_is_not_sent(validator, liaison):
    wishing(liaison, rhythm=Rhythm.HOURLY)
    request = question(validator)
    told()
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    later(hours=2)

    assert told() == []
    assert Summary.objects.get().state == MailState.NOT_NEEDED
    assert Notification.objects.get().state == MailState.NOT_NEEDED


def test_a_summary_that_is_given_up_gives_up_what_it_lists_and_an_operator_sends_it_again(
    validator, liaison, administrator, settings
):
    wishing(liaison, rhythm=Rhythm.HOURLY)
    question(validator)
    sending = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9  # nobody listens there
    for _ in range(10):
        later(hours=2)
        jobs.tick()
    row = Notification.objects.get()
    assert row.state == MailState.FAILED
    assert "ConnectionRefusedError" in row.error

    settings.EMAIL_BACKEND = sending
    with pytest.raises(Forbidden):
        message_services.resend(actor=liaison, notification_id=row.pk)
    message_services.resend(actor=administrator, notification_id=row.pk)

    assert told() == [f"[Medium] Decide: {TITLE}"]
    with pytest.raises(WrongState):
        message_services.resend(actor=administrator, notification_id=row.pk)
    recorded = Entry.objects.filter(subject_type="notification").order_by("id").values_list("action", flat=True)
    assert list(recorded) == [actions.RESEND_DENIED, actions.NOTIFICATION_RESENT, actions.RESEND_DENIED]


def test_a_row_whose_sender_keeps_dying_is_given_up_in_the_open(validator, liaison):
    question(validator)
    Notification.objects.update(attempts=6)

    assert told() == []
    row = Notification.objects.get()
    assert (row.state, row.error) == (MailState.FAILED, "the process that was sending it ended")


def test_who_has_no_address_is_told_nothing_and_the_list_says_why(validator, liaison):
    liaison.email = ""
    liaison.save(update_fields=["email"])
    question(validator)

    assert told() == []
    row = Notification.objects.get()
    assert (row.state, row.error) == (MailState.NOT_NEEDED, "there is no address to send it to")


def test_an_address_that_no_mail_can_have_is_given_up_at_once(validator, liaison):
    liaison.email = "liaison@example.org\nBcc: all@example.org"
    liaison.save(update_fields=["email"])
    question(validator)

    assert told() == []
    assert Notification.objects.get().state == MailState.FAILED


# Wishes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wishes", "path"),
    [
        ({"zone": "Europe/Atlantis"}, "zone"),
        ({"zone": "../../etc/passwd"}, "zone"),
        ({"quiet_from": time(22)}, "quiet_until"),
        ({"quiet_from": time(22), "quiet_until": time(22)}, "quiet_until"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_its_field(liaison, wishes, path):
    with pytest.raises(Invalid) as refused:
        wishing(liaison, **wishes)

    assert [problem.path for problem in refused.value.errors] == [path]
    assert not Preference.objects.exists()


def test_a_change_of_wishes_is_recorded_and_a_repetition_is_not(liaison):
    for _ in range(2):
        wishing(liaison, zone="Europe/Berlin", reach=Reach.BOTH)

    (entry,) = Entry.objects.filter(action=actions.PREFERENCES_CHANGED)
    assert entry.actor_name == "liaison"
    assert Preference.objects.get().history.count() == 1


def test_programs_have_no_wishes(validator):
    with pytest.raises(Forbidden):
        wishing(validator, zone="Europe/Berlin")


# What the database holds ----------------------------------------------------------------------------------


def test_one_act_tells_one_person_once_by_one_channel(validator, liaison):
    question(validator)
    row = Notification.objects.get()
    row.pk = None

    with pytest.raises(IntegrityError), transaction.atomic():
        row.save(force_insert=True)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE approvals_notification SET channel = 'pigeon'",
        "UPDATE approvals_notification SET state = 'sent', sent_at = NULL",
        "UPDATE approvals_notification SET purpose = 'reminder'",
        "DELETE FROM approvals_notification",
        "UPDATE approvals_broadcast SET purpose = 'decided'",
        "DELETE FROM approvals_broadcast",
        "UPDATE approvals_preference SET reach = 'pigeon'",
        "UPDATE approvals_preference SET rhythm = 'never'",
        "UPDATE approvals_preference SET quiet_from = '22:00'",
        "DELETE FROM approvals_preference",
    ],
)
def test_what_was_told_and_wished_cannot_be_falsified(validator, liaison, change):
    wishing(liaison, zone="Europe/Berlin")
    question(validator)
    assert Broadcast.objects.exists()

    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change)
