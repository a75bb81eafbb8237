# SPDX-License-Identifier: Apache-2.0
"""Slack channels: the requests of a role are posted there, once, and kept up to date; a click there is a decision."""

from __future__ import annotations

import pytest
from django.db import Error, IntegrityError, transaction

from approvals import services
from approvals.cancelling import cancel_request
from approvals.channel_services import end_channel, set_channel
from approvals.models import Broadcast, ChannelPost, SlackChannel, Vote
from approvals.revising import revise_request
from audit import actions
from audit.models import Entry, Result
from config import clock
from config.errors import Forbidden, Invalid, WrongState
from config.mail import MailState
from runs import jobs
from tests.approvals.outside import CANARY, TITLE, a_slack, buttons, click_of, clicked, linked, question, value_of
from tests.factories import later, reloaded
from tests.people import person

pytestmark = pytest.mark.django_db

ROLE = "human:police_liaison"
CHANNEL = "C024BE7LR"
PAGE = "/admin/approvals/slackchannel/"


@pytest.fixture
def slack(settings):
    with a_slack(settings) as service:
        yield service


@pytest.fixture
def channel(slack, administrator):
    return set_channel(actor=administrator, role=ROLE, channel=CHANNEL)


def posted(slack):
    """Tick until nothing is due; what Slack has heard since the last look."""
    jobs.tick()
    jobs.tick()
    heard = list(slack.heard)
    slack.heard.clear()
    return heard


def rows() -> list[tuple[str, str]]:
    return list(ChannelPost.objects.order_by("id").values_list("purpose", "state"))


# What is posted -------------------------------------------------------------------------------------------


def test_a_new_request_is_posted_once_with_buttons_and_no_argument(slack, validator, liaison, channel):
    question(validator, policy={"notify": {"show": ["amount"]}, "reject_needs_reason": False})
    (heard,) = posted(slack)

    assert (heard.path, heard.json["channel"]) == ("/api/chat.postMessage", CHANNEL)
    assert TITLE in heard.json["text"]
    assert [button["text"]["text"] for button in buttons(heard)] == ["Open to review", "Approve", "Reject"]
    assert CANARY not in heard.body.decode()
    assert "amount" not in heard.body.decode()
    assert posted(slack) == []
    assert rows() == [("asked", MailState.SENT)]


def test_the_news_told_twice_is_one_post(slack, validator, liaison, channel):
    question(validator)
    posted(slack)
    Broadcast.objects.update(state=MailState.DUE, sent_at=None)

    assert posted(slack) == []
    assert ChannelPost.objects.count() == 1


@pytest.mark.parametrize("more", [{"severity": "high"}, {"required_fields": {"key": "The key"}}])
def test_what_must_be_read_or_filled_in_has_no_button_that_decides(slack, validator, liaison, channel, more):
    question(validator, **more)
    (heard,) = posted(slack)

    assert [button["text"]["text"] for button in buttons(heard)] == ["Open to review"]


def test_requests_of_other_roles_are_not_posted(slack, validator, channel):
    person("clerk", "human:clerk")
    question(validator, role="human:clerk")

    assert posted(slack) == []
    assert rows() == []


def test_the_post_is_closed_with_outcome_and_decider_and_loses_its_buttons(slack, validator, liaison, channel):
    request = question(validator)
    posted(slack)
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    (heard,) = posted(slack)

    assert heard.path == "/api/chat.update"
    assert (heard.json["channel"], heard.json["ts"]) == (f"D{CHANNEL}", "1700000000.000001")
    assert "Approved by liaison" in heard.body.decode()
    assert [button["action_id"] for button in buttons(heard)] == ["open"]
    assert rows() == [("asked", MailState.SENT), ("decided", MailState.SENT)]


def test_a_question_that_is_taken_back_is_closed_in_its_post(slack, validator, liaison, channel):
    request = question(validator)
    posted(slack)
    cancel_request(request_id=request.pk, actor=validator)
    (heard,) = posted(slack)

    assert heard.path == "/api/chat.update"
    assert "Its requester has taken it back" in heard.body.decode()


def test_a_revision_gives_the_post_the_buttons_of_what_is_asked_now(slack, validator, liaison, channel):
    request = question(validator)
    old = value_of(request)
    posted(slack)
    linked(liaison, "U024BE7LH")
    revise_request(request_id=request.pk, actor=validator, changes={"title": "Close another road"})
    (heard,) = [each for each in posted(slack) if each.path == "/api/chat.update"]
    assert "Close another road" in heard.body.decode()

    assert clicked(click_of("U024BE7LH", old)).json()["text"].startswith("Open to review")
    assert reloaded(request).is_open
    new = value_of(reloaded(request))
    assert clicked(click_of("U024BE7LH", new)).json()["text"] == "Done: your decision is recorded."


def test_what_is_decided_before_it_was_posted_is_not_posted(slack, validator, liaison, channel):
    request = question(validator)
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")

    assert posted(slack) == []
    assert ("asked", MailState.SENT) not in rows()


def test_without_slack_nothing_is_posted_and_people_are_mailed(
    slack, settings, validator, liaison, channel, mailoutbox
):
    settings.SLACK_TOKEN = ""
    question(validator)
    posted(slack)

    assert rows() == []
    assert [message.to for message in mailoutbox] == [[liaison.email]]


# When it does not arrive ----------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [(429, {}), (500, {}), (200, {"ok": False, "error": "ratelimited"}), None])
def test_what_slack_does_not_take_now_is_tried_again(slack, validator, liaison, channel, answer):
    thinking, slack.think = slack.think, lambda heard: answer
    question(validator)
    posted(slack)
    row = ChannelPost.objects.get()
    assert (row.state, row.attempts) == (MailState.DUE, 1)
    assert row.error

    slack.think = thinking
    later(minutes=5)
    assert len(posted(slack)) == 1
    assert reloaded(row).state == MailState.SENT


def test_what_is_settled_while_the_post_is_on_its_way_waits_for_the_post(slack, validator, liaison, channel):
    thinking, slack.think = slack.think, lambda heard: None
    request = question(validator)
    posted(slack)
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    posted(slack)
    slack.think = thinking
    ChannelPost.objects.filter(purpose="asked").update(state=MailState.SENT, sent_at=clock.now(), reference="D1:17.1")
    later(minutes=5)

    (heard,) = posted(slack)
    assert (heard.path, heard.json["ts"]) == ("/api/chat.update", "17.1")


def test_what_was_given_up_is_sent_again_by_operators_alone(
    slack, validator, liaison, channel, administrator, client_for
):
    thinking, slack.think = slack.think, lambda heard: (200, {"ok": False, "error": "channel_not_found"})
    question(validator)
    posted(slack)
    row = ChannelPost.objects.get()
    assert (row.state, row.error) == (MailState.FAILED, "Slack: channel_not_found")
    page = f"/admin/approvals/channelpost/{row.pk}/send-again/"
    assert client_for(liaison).post(page).status_code in {302, 403}
    assert reloaded(row).state == MailState.FAILED

    slack.think = thinking
    client_for(administrator).post(page)
    assert len(posted(slack)) == 1
    assert reloaded(row).state == MailState.SENT
    assert Entry.objects.filter(action=actions.NOTIFICATION_RESENT).exists()


def test_the_page_of_the_request_shows_what_was_posted(slack, validator, liaison, channel, client_for):
    request = question(validator)
    posted(slack)

    shown = client_for(liaison).get(f"/admin/approvals/actionrequest/{request.pk}/decide/").content.decode()
    assert CHANNEL in shown
    assert "slack channel" in shown


# Clicks in the channel ------------------------------------------------------------------------------------


def test_a_click_is_the_decision_of_whoever_linked_their_account(slack, validator, liaison, channel):
    linked(liaison, "U024BE7LH")
    request = question(validator)
    posted(slack)
    assert clicked(click_of("U024BE7LH", value_of(request))).json()["text"] == "Done: your decision is recorded."

    vote = Vote.objects.get()
    assert (vote.voter, vote.channel) == (liaison, "slack")
    assert [heard.path for heard in posted(slack) if heard.json["channel"] == f"D{CHANNEL}"] == ["/api/chat.update"]


@pytest.mark.parametrize(("role", "why"), [("human:clerk", "you may not see it"), (None, "Link your Slack account")])
def test_who_is_in_the_channel_without_the_right_decides_nothing(slack, validator, liaison, channel, role, why):
    request = question(validator)
    posted(slack)
    if role:
        linked(person("bystander", role), "U0CHANNEL")

    assert why in clicked(click_of("U0CHANNEL", value_of(request))).json()["text"]
    assert reloaded(request).is_open
    assert Entry.objects.filter(result=Result.DENIED).exists()


# Who says where -------------------------------------------------------------------------------------------


def test_an_administrator_sets_changes_and_ends_a_channel_on_its_pages(slack, administrator, client_for):
    browser = client_for(administrator)
    browser.post(f"{PAGE}add/", {"role": ROLE, "channel": CHANNEL})
    browser.post(f"{PAGE}add/", {"role": ROLE, "channel": "C0ANOTHER"})
    first, second = SlackChannel.objects.order_by("id")
    assert (first.ended_at is None, second.ended_at is None) == (False, True)
    assert CHANNEL in browser.get(PAGE).content.decode()

    assert browser.post(f"{PAGE}{second.pk}/end/", {"reason": ""}).status_code == 422
    browser.post(f"{PAGE}{second.pk}/end/", {"reason": "too loud"})
    assert reloaded(second).ended_at is not None
    done = Entry.objects.filter(action__startswith="slack.channel_").order_by("id").values_list("action", flat=True)
    assert [*done] == [actions.SLACK_CHANNEL_SET] * 2 + [actions.SLACK_CHANNEL_ENDED]


def test_nothing_new_is_posted_in_a_channel_that_has_ended_and_what_was_is_closed(
    slack, validator, liaison, channel, administrator
):
    request = question(validator)
    posted(slack)
    end_channel(actor=administrator, channel_id=channel.pk, reason="too loud")
    question(validator, title="Another")
    assert posted(slack) == []

    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    assert [heard.path for heard in posted(slack)] == ["/api/chat.update"]


@pytest.mark.parametrize(
    ("role", "channel"),
    [("agent:x", CHANNEL), ("nobody", CHANNEL), (ROLE, "#general"), (ROLE, "U024BE7LH"), (ROLE, f"{CHANNEL}\n")],
)
def test_only_roles_of_people_and_ids_of_channels_are_taken(slack, administrator, role, channel):
    with pytest.raises(Invalid):
        set_channel(actor=administrator, role=role, channel=channel)
    assert not SlackChannel.objects.exists()


def test_only_administrators_say_where(liaison, administrator):
    with pytest.raises(Forbidden):
        set_channel(actor=liaison, role=ROLE, channel=CHANNEL)
    made = set_channel(actor=administrator, role=ROLE, channel=CHANNEL)
    with pytest.raises(WrongState, match="already"):
        set_channel(actor=administrator, role=ROLE, channel=CHANNEL)
    with pytest.raises(Forbidden):
        end_channel(actor=liaison, channel_id=made.pk, reason="x")


# What can never be false ----------------------------------------------------------------------------------


def test_a_role_has_one_channel_and_a_request_one_post_in_it(slack, validator, liaison, channel, administrator):
    request, at = question(validator), clock.now()
    posted(slack)
    again = {"request": request, "channel": channel, "purpose": "asked", "due_at": at, "told_at": at}
    with pytest.raises(IntegrityError), transaction.atomic():
        ChannelPost.objects.create(**again)
    with pytest.raises(IntegrityError), transaction.atomic():
        SlackChannel.objects.create(role=ROLE, channel="C0ANOTHER", set_at=at, set_by=administrator)


@pytest.mark.parametrize("change", [{"reference": "D1:1"}, {"state": "due", "sent_at": None}, {"purpose": "decided"}])
def test_what_was_posted_stays_as_it_was(slack, validator, liaison, channel, change):
    question(validator)
    posted(slack)

    with pytest.raises(Error), transaction.atomic():
        ChannelPost.objects.update(**change)
    with pytest.raises(Error), transaction.atomic():
        SlackChannel.objects.update(channel="C0ANOTHER")
    for rows_ in (ChannelPost.objects, SlackChannel.objects):
        with pytest.raises(Error), transaction.atomic():
            rows_.all()._raw_delete("default")
