# SPDX-License-Identifier: Apache-2.0
"""Slack: what is said there, who is known there, and what a click may decide. The Slack is a server on this machine."""

from __future__ import annotations

import json

import pytest
from django.core import mail
from django.db import IntegrityError, connection, transaction

from approvals import message_services, services
from approvals.models import Notification, SeenMessage, SlackAccount, SlackCode, Vote
from approvals.routing import Reach, Wishes
from approvals.slack import code_of
from audit import actions
from audit.models import Entry, Result
from config import clock
from config.errors import WrongState
from config.mail import MailState
from runs import jobs
from tests.approvals.outside import (
    CANARY,
    SLACK_TOKEN,
    TITLE,
    a_slack,
    buttons,
    click_of,
    clicked,
    linked,
    question,
    value_of,
)
from tests.factories import later, reloaded
from tests.people import person

pytestmark = pytest.mark.django_db

MEMBER = "U024BE7LH"


@pytest.fixture
def slack(settings):
    with a_slack(settings) as service:
        yield service


@pytest.fixture
def member(liaison):
    """The liaison has linked Slack, and wishes to be told there."""
    linked(liaison, MEMBER)
    message_services.set_preferences(actor=liaison, wishes=Wishes(reach=Reach.SLACK))
    return liaison


def posted(slack):
    """Tick; what Slack has heard since the last look."""
    jobs.tick()
    heard = list(slack.heard)
    slack.heard.clear()
    return heard


def denied() -> list[tuple[str, str]]:
    return list(Entry.objects.filter(result=Result.DENIED).order_by("id").values_list("action", "code"))


# What is said ---------------------------------------------------------------------------------------------


def test_a_message_has_the_ask_and_buttons_and_no_argument(slack, validator, member):
    question(validator, policy={"notify": {"show": ["amount"]}, "reject_needs_reason": False})
    (heard,) = posted(slack)

    assert heard.path == "/api/chat.postMessage"
    assert heard.headers["authorization"] == f"Bearer {SLACK_TOKEN}"
    assert heard.json["channel"] == MEMBER
    assert TITLE in heard.json["text"]
    assert [button["text"]["text"] for button in buttons(heard)] == ["Open to review", "Approve", "Reject"]
    assert CANARY not in heard.body.decode()
    assert "amount" not in heard.body.decode()
    assert mail.outbox == []
    row = Notification.objects.get()
    assert (row.channel, row.state, row.reference) == ("slack", MailState.SENT, f"D{MEMBER}:1700000000.000001")


@pytest.mark.parametrize(
    "more",
    [{"severity": "high"}, {"severity": "critical"}, {"required_fields": {"key": "The key"}}],
)
def test_what_must_be_read_or_filled_in_has_no_button_that_decides(slack, validator, member, more):
    question(validator, **more)
    heard = posted(slack)[-1]

    assert [button["text"]["text"] for button in buttons(heard)] == ["Open to review"]


def test_text_of_others_is_no_markup_no_mention_and_no_link_in_slack(slack, validator, member):
    question(validator, title="<!channel> <https://evil.example|Pay> *now* & \u202ethen")
    (heard,) = posted(slack)

    assert heard.json["text"].startswith("[Medium] Decide: &lt;!channel&gt; &lt;https://evil.example|Pay&gt;")
    kinds = {text["type"] for text in _texts(heard.json["blocks"])}
    assert kinds == {"plain_text"}
    assert "\u202e" not in heard.body.decode()
    assert "\\u202e" not in heard.body.decode()


def _texts(value):
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value
        for each in value.values():
            yield from _texts(each)
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)


def test_the_message_is_closed_with_outcome_and_decider_and_loses_its_buttons(slack, validator, member):
    request = question(validator)
    posted(slack)
    services.decide(request_id=request.pk, actor=person("ada", "human:police_liaison"), outcome="PASS")
    (heard,) = posted(slack)

    assert heard.path == "/api/chat.update"
    assert (heard.json["channel"], heard.json["ts"]) == (f"D{MEMBER}", "1700000000.000001")
    assert "Approved by ada" in heard.body.decode()
    assert [button["action_id"] for button in buttons(heard)] == ["open"]


def test_with_both_channels_the_mail_follows_and_is_left_out_once_it_is_decided(slack, validator, member):
    message_services.set_preferences(actor=member, wishes=Wishes(reach=Reach.BOTH))
    first, second = question(validator), question(validator, title="Another")
    assert len(posted(slack)) == 2
    assert mail.outbox == []
    services.decide(request_id=first.pk, actor=member, outcome="PASS")
    later(minutes=11)
    jobs.tick()

    assert [message.subject for message in mail.outbox] == ["[Medium] Decide: Another"]
    assert second.is_open


def test_what_slack_never_takes_is_mailed(slack, validator, member):
    slack.think = lambda heard: (200, {"ok": False, "error": "account_inactive"})
    question(validator)
    posted(slack)
    jobs.tick()

    assert [message.to for message in mail.outbox] == [[member.email]]
    failed, mailed = Notification.objects.order_by("id")
    assert (failed.state, failed.error) == (MailState.FAILED, "Slack: account_inactive")
    assert (mailed.channel, mailed.state) == ("mail", MailState.SENT)


@pytest.mark.parametrize(
    "answer", [(429, {}), (500, {}), (200, {"ok": False, "error": "ratelimited"}), (200, []), None]
)
def test_what_slack_does_not_take_now_is_tried_again(slack, validator, member, answer):
    thinking, slack.think = slack.think, lambda heard: answer
    question(validator)
    posted(slack)
    row = Notification.objects.get()
    assert (row.state, row.attempts) == (MailState.DUE, 1)
    assert row.error

    slack.think = thinking
    later(minutes=5)
    assert len(posted(slack)) == 1
    assert reloaded(row).state == MailState.SENT


def test_the_token_stands_in_no_row_and_no_fault(slack, validator, member):
    slack.think = lambda heard: (500, {"said": SLACK_TOKEN})
    question(validator)
    posted(slack)

    assert SLACK_TOKEN not in Notification.objects.get().error


def test_without_slack_everybody_is_mailed(validator, member):
    question(validator)
    jobs.tick()

    assert [message.to for message in mail.outbox] == [[member.email]]


# Who is who -----------------------------------------------------------------------------------------------


def test_an_account_is_linked_by_the_code_that_its_owner_reads_in_slack(slack, liaison, client_for):
    browser, page = client_for(liaison), "/admin/approvals/preference/mine/slack/"
    assert browser.post(page, {"member": MEMBER})["Location"] == page
    (heard,) = posted(slack)
    code = code_of(SlackCode.objects.get())
    assert heard.json["channel"] == MEMBER
    assert code in heard.json["text"]

    assert browser.post(page, {"code": "00000000"}).status_code == 422
    assert browser.post(page, {"code": code})["Location"] == page
    account = SlackAccount.objects.get()
    assert (account.user, account.member, account.ended_at) == (liaison, MEMBER, None)
    assert "You are U024BE7LH in Slack" in browser.get("/admin/approvals/preference/mine/").content.decode()

    assert browser.post(page, {"reason": ""})["Location"] == page
    assert reloaded(account).ended_at is not None
    names = Entry.objects.filter(action__startswith="slack.").order_by("id").values_list("action", flat=True)
    assert list(names) == [actions.SLACK_CODE_ASKED, actions.SLACK_LINKED, actions.SLACK_UNLINKED]


def test_the_code_is_kept_nowhere(slack, liaison):
    message_services.ask_for_slack_code(actor=liaison, member=MEMBER)
    code = code_of(SlackCode.objects.get())
    posted(slack)

    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            assert code not in repr(cursor.fetchall()), table


def test_a_code_is_over_after_ten_minutes_and_after_five_wrong_ones(slack, liaison):
    for spoil in (lambda: later(minutes=11), _five_wrong(liaison)):
        message_services.ask_for_slack_code(actor=liaison, member=MEMBER)
        code = code_of(SlackCode.objects.latest("id"))
        spoil()
        with pytest.raises(message_services.WrongCode):
            message_services.link_slack(actor=liaison, typed=code)
    assert not SlackAccount.objects.exists()


def _five_wrong(liaison):
    def type_them() -> None:
        for _ in range(5):
            with pytest.raises(message_services.WrongCode):
                message_services.link_slack(actor=liaison, typed="1")

    return type_them


def test_codes_are_asked_for_five_times_an_hour_and_for_nobody_elses_account(slack, liaison):
    other = person("other")
    linked(other, "U0OTHERS1")
    with pytest.raises(WrongState, match="linked to another account"):
        message_services.ask_for_slack_code(actor=liaison, member="U0OTHERS1")
    for _ in range(5):
        message_services.ask_for_slack_code(actor=liaison, member=MEMBER)
    with pytest.raises(WrongState, match="5 codes an hour"):
        message_services.ask_for_slack_code(actor=liaison, member=MEMBER)


@pytest.mark.parametrize("typed", ["liaison", "u024be7lh", "U024", "U024BE7LH\n", "U024BE7LH; DROP"])
def test_only_a_member_id_is_taken_and_never_a_name(slack, liaison, client_for, typed):
    answer = client_for(liaison).post("/admin/approvals/preference/mine/slack/", {"member": typed})

    assert answer.status_code == 422


def test_one_member_is_one_user(slack, liaison):
    linked(liaison, MEMBER)

    with pytest.raises(IntegrityError), transaction.atomic():
        linked(person("other"), MEMBER)
    with pytest.raises(IntegrityError), transaction.atomic():
        linked(liaison, "U0SECOND1")


# Clicks ---------------------------------------------------------------------------------------------------


def test_a_click_is_the_members_decision_under_every_rule(slack, validator, member):
    request = question(validator)
    posted(slack)
    answer = clicked(click_of(MEMBER, value_of(request)))

    assert answer.json()["text"] == "Done: your decision is recorded."
    vote = Vote.objects.get()
    assert (vote.voter, vote.channel, vote.assurance) == (member, "slack", "session")
    entry = Entry.objects.get(action=actions.REQUEST_FULFILLED)
    assert (entry.actor_name, entry.channel) == ("liaison", "slack")


def test_t16_a_click_of_a_member_without_rights_is_refused_and_logged(slack, validator, member):
    bystander = person("bystander", "human:clerk")
    linked(bystander, "U0CHANNEL")
    request = question(validator)
    answer = clicked(click_of("U0CHANNEL", value_of(request)))

    assert "you may not see it" in answer.json()["text"]
    assert reloaded(request).is_open
    assert denied() == [(actions.REQUEST_DECIDE_DENIED, "not_found")]
    assert Entry.objects.get(result=Result.DENIED).channel == "slack"


def test_t16_a_click_of_a_user_who_took_the_name_of_another_is_refused_and_logged(slack, validator, member):
    request = question(validator)
    answer = clicked(click_of("U0RENAMED", value_of(request), name="liaison"))

    assert "Link your Slack account first" in answer.json()["text"]
    assert reloaded(request).is_open
    assert denied() == [(actions.OUTSIDE_DENIED, "not_linked")]


@pytest.mark.parametrize("age", [301, 3600, -330])
def test_t16_a_click_with_an_old_timestamp_is_refused_and_logged(slack, validator, member, age):
    request = question(validator)
    answer = clicked(click_of(MEMBER, value_of(request)), age=age)

    assert (answer.status_code, answer.json()["code"]) == (403, "stale_message")
    assert reloaded(request).is_open
    assert denied() == [(actions.OUTSIDE_DENIED, "stale_message")]


def test_t16_a_click_with_a_bad_signature_is_refused_and_logged(slack, validator, member, client):
    request = question(validator)
    forged = clicked(click_of(MEMBER, value_of(request)), secret="not the secret of the app")
    unsigned = client.post("/hitl/slack/interactive", "payload={}", content_type="application/x-www-form-urlencoded")

    for answer in (forged, unsigned):
        assert (answer.status_code, answer.json()["code"]) == (403, "bad_signature")
    assert reloaded(request).is_open
    assert denied() == [(actions.OUTSIDE_DENIED, "bad_signature")] * 2


def test_the_same_click_sent_again_is_refused_and_logged(slack, validator, member):
    request = question(validator, policy={"required_approvals": 2})
    at = clock.now()
    first, again = (clicked(click_of(MEMBER, value_of(request)), at=at) for _ in range(2))

    assert first.status_code == 200
    assert (again.status_code, again.json()["code"]) == (409, "replayed")
    assert Vote.objects.count() == SeenMessage.objects.count() == 1
    assert denied() == [(actions.OUTSIDE_DENIED, "replayed")]


def test_a_click_of_who_asked_is_refused(slack, member):
    request = question(member)
    answer = clicked(click_of(MEMBER, value_of(request)))

    assert "you asked for this" in answer.json()["text"].lower()
    assert reloaded(request).is_open
    assert denied() == [(actions.REQUEST_DECIDE_DENIED, "forbidden")]


@pytest.mark.parametrize(
    ("more", "outcome", "why"),
    [
        ({}, "FAIL", "Say why you reject."),
        ({"severity": "high"}, "PASS", "It has high severity."),
        ({"required_fields": {"key": "The key"}}, "PASS", "It asks for more than yes or no."),
        ({"policy": {"assurance": "step_up"}}, "PASS", "needs your password once more"),
        ({"policy": {"reasons": {"on_approve_from": "low"}}}, "PASS", "Say why."),
    ],
)
def test_what_needs_a_reason_or_more_certainty_is_answered_open_to_review(slack, validator, member, more, outcome, why):
    request = question(validator, **more)
    posted(slack)
    answer = clicked(click_of(MEMBER, value_of(request, outcome)))

    assert answer.json()["text"].startswith("Open to review: ")
    assert why in answer.json()["text"]
    assert reloaded(request).is_open
    told = posted(slack)[-1]
    assert told.path == "/api/chat.postMessage"
    assert buttons(told)[0]["text"]["text"] == "Open to review"


def test_a_click_on_what_has_changed_since_decides_nothing(slack, validator, member):
    request = question(validator)
    answer = clicked(click_of(MEMBER, value_of(request, digest="0" * 64)))

    assert "Open to review" in answer.json()["text"]
    assert reloaded(request).is_open


def test_a_second_click_says_who_has_decided(slack, validator, member):
    request = question(validator)
    services.decide(request_id=request.pk, actor=person("ada", "human:police_liaison"), outcome="PASS")

    assert "ada decided this" in clicked(click_of(MEMBER, value_of(request))).json()["text"]


def test_the_button_that_opens_the_page_changes_nothing(slack, validator, member):
    request = question(validator)
    payload = click_of(MEMBER, value_of(request))
    payload["actions"][0]["action_id"] = "open"
    del payload["actions"][0]["value"]

    assert clicked(payload).json()["text"] == ""
    assert not SeenMessage.objects.exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda payload: payload.pop("user"),
        lambda payload: payload.pop("actions"),
        lambda payload: payload.update(actions=[]),
        lambda payload: payload.update(actions="decide"),
        lambda payload: payload["actions"][0].update(value="no JSON"),
        lambda payload: payload["actions"][0].update(value="[]"),
        lambda payload: payload["actions"][0].update(value=json.dumps({"request": "har_1"})),
        lambda payload: payload["actions"][0].update(value=None),
        lambda payload: payload.update(user={"id": {"a": 1}}),
    ],
)
def test_a_signed_click_that_makes_no_sense_breaks_nothing(slack, validator, member, spoil):
    request = question(validator)
    payload = click_of(MEMBER, value_of(request))
    spoil(payload)
    answer = clicked(payload)

    assert answer.status_code in {200, 400, 422}
    assert reloaded(request).is_open


def test_while_slack_is_off_nothing_is_signed(db, settings):
    settings.SLACK_TOKEN = settings.SLACK_SIGNING_SECRET = ""

    assert clicked({"type": "block_actions"}, secret="").json()["code"] == "bad_signature"
