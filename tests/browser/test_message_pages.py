# SPDX-License-Identifier: Apache-2.0
"""Messages, one's own wishes, systems outside and links of mails, in a browser: by day, by night, at 320 px."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.core import mail
from playwright.sync_api import expect

from approvals import external_services
from approvals.asking import create_request
from approvals.channel_services import set_channel
from approvals.models import ActionRequest, ChannelPost, ExternalNotice, Notification, Preference
from config import clock
from runs import jobs
from tests.approvals.outside import connected
from tests.browser.test_run_pages import photograph
from tests.browser.visitor import Visitor
from tests.people import agent, person

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ROLE = "human:board"
MINE = "/admin/approvals/preference/mine/"


@pytest.fixture
def told(administrator, settings, monkeypatch) -> ActionRequest:
    """A question of which two people were told, one of them in vain, and a system outside."""
    settings.SLACK_TOKEN = settings.SLACK_SIGNING_SECRET = "of the fixture, and long enough"
    system = connected(administrator, settings, monkeypatch)
    person("bea", ROLE, "staff", first_name="Bea", last_name="Moor")
    bo = person("bo", ROLE, "staff")
    external_services.link_person(actor=administrator, system_id=system.pk, outside_id="4711", username="bea")
    request = create_request(
        actor=agent("asker", "agent:asker"),
        role=ROLE,
        title="Water the plants on the northern bank",
        description="They have had no rain for twelve days.",
        severity="low",
        context={"litres": 400},
        policy={"assurance": {"low": "link"}, "notify": {"show": ["litres"]}},
    )
    jobs.tick()
    fault = "SMTPServerDisconnected: Connection unexpectedly closed: timed out"
    in_vain = Notification.objects.create(
        request=request, recipient=bo, purpose="reminder", told_at=clock.now(), due_at=clock.now()
    )
    Notification.objects.filter(pk=in_vain.pk).update(state="failed", attempts=6, error=fault)
    at = clock.now()
    ExternalNotice.objects.create(
        system=system, request=request, purpose="asked", told_at=at, due_at=at, state="failed", error="answered 500"
    )
    channel = set_channel(actor=administrator, role=ROLE, channel="C024BE7LR")
    ChannelPost.objects.create(
        channel=channel, request=request, purpose="asked", told_at=at, due_at=at, state="failed", error="Slack: no"
    )
    return request


def test_no_page_about_messages_is_hard_to_read(told, administrator, visitor, client_for):
    visitor.come_in_as(client_for(administrator))
    failed, outside = Notification.objects.get(state="failed"), ExternalNotice.objects.get()
    system, post = outside.system_id, ChannelPost.objects.get()
    faults = []
    for name, path in {
        "messages": "/admin/approvals/notification/",
        "message": f"/admin/approvals/notification/{failed.pk}/change/",
        "message-again": f"/admin/approvals/notification/{failed.pk}/send-again/",
        "messages-outside": "/admin/approvals/externalnotice/",
        "posts": "/admin/approvals/channelpost/",
        "post": f"/admin/approvals/channelpost/{post.pk}/change/",
        "post-again": f"/admin/approvals/channelpost/{post.pk}/send-again/",
        "channels": "/admin/approvals/slackchannel/",
        "channel": f"/admin/approvals/slackchannel/{post.channel_id}/change/",
        "channel-new": "/admin/approvals/slackchannel/add/",
        "channel-end": f"/admin/approvals/slackchannel/{post.channel_id}/end/",
        "systems": "/admin/approvals/externalsystem/",
        "system": f"/admin/approvals/externalsystem/{system}/change/",
        "system-new": "/admin/approvals/externalsystem/add/",
        "system-link": f"/admin/approvals/externalsystem/{system}/link/",
        "wishes": MINE,
        "wishes-slack": f"{MINE}slack/",
    }.items():
        visitor.open(path)
        faults += [f"{name}: {each}" for each in visitor.faults_by_day_and_night()]
        photograph(visitor, name)

    assert faults == []


def test_everybody_finds_their_own_wishes_and_changes_them(told, visitor: Visitor, client_for):
    from accounts.models import User

    visitor.come_in_as(client_for(User.objects.get(username="bea")))
    visitor.open(MINE)
    visitor.page.get_by_label("Time zone").fill("Europe/Berlin")
    visitor.page.get_by_label("Quiet hours from").fill("22:00")
    visitor.page.get_by_label("Quiet hours until").fill("07:00")
    visitor.press("Save")

    expect(visitor.page.get_by_text("From now on you are told like this.")).to_be_visible()
    assert Preference.objects.get().zone == "Europe/Berlin"


def test_a_link_of_a_mail_is_answered_without_a_log_in(told, visitor: Visitor):
    (message,) = [each for each in mail.outbox if each.to == ["bea@example.org"]]
    letter = str(message.alternatives[0][0])
    visitor.page.set_content(letter)
    photograph(visitor, "mail")
    path = next(each for each in message.body.split() if "/forms/answer/" in each).removeprefix(settings.SITE_ROOT)
    visitor.open(path)
    faults = visitor.faults_by_day_and_night()
    photograph(visitor, "answer")
    expect(visitor.page.get_by_text("You answer as Bea Moor")).to_be_visible()
    visitor.press("Approve")

    expect(visitor.page.get_by_role("heading", name="Your answer is recorded")).to_be_visible()
    assert faults == []
    assert ActionRequest.objects.get().decided_by.username == "bea"
