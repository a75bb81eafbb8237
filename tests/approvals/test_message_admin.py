# SPDX-License-Identifier: Apache-2.0
"""The pages about messages: what was told, what was given up, one's own wishes, and systems outside."""

from __future__ import annotations

from datetime import time

import pytest

from approvals.models import ExternalNotice, ExternalSystem, ExternalUser, Notification, Preference
from approvals.routing import Reach, Rhythm, Wishes
from config import clock
from config.mail import MailState
from runs import jobs
from tests.approvals.outside import connected, linked, question
from tests.approvals.pages import Page, page_of
from tests.people import person

pytestmark = pytest.mark.django_db

MINE = "/admin/approvals/preference/mine/"
SYSTEMS = "/admin/approvals/externalsystem/"
LIST, OUTSIDE_LIST = "/admin/approvals/notification/", "/admin/approvals/externalnotice/"
TYPED = {
    "zone": "Europe/Berlin", "reach": "both", "rhythm": "daily", "summary_at": "08:30", "quiet_from": "22:00",
    "quiet_until": "07:00",
}  # fmt: skip


def words_of(response) -> str:
    page = Page()
    page.feed(response.content.decode())
    return page.words


# One's own wishes -----------------------------------------------------------------------------------------


def test_everybody_who_enters_the_admin_says_how_they_wish_to_be_told(liaison, client_for):
    browser = client_for(liaison)
    assert "How you are told" in words_of(browser.get("/admin/"))
    assert browser.post(MINE, TYPED).status_code == 302

    wishes = Wishes("Europe/Berlin", time(22), time(7), Reach.BOTH, Rhythm.DAILY, time(8, 30))
    assert Preference.objects.get(user=liaison).wishes == wishes
    form = browser.get(MINE).context["form"]
    assert {name: str(form[name].value())[:5] for name in ("quiet_from", "zone")} == {
        "quiet_from": "22:00", "zone": "Europ",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"zone": "Berlin"}, "That is no time zone: write it as Europe/Berlin"),
        ({"quiet_until": ""}, "Quiet hours have a beginning and an end."),
        ({"quiet_until": "22:00"}, "Quiet hours end at another time than they begin."),
        ({"quiet_from": "25:00"}, "Enter a valid time."),
        ({"reach": "pigeon"}, "Select a valid choice."),
    ],
)
def test_a_wish_that_cannot_be_comes_back_with_the_reason_and_what_was_typed(liaison, client_for, wrong, words):
    answer = client_for(liaison).post(MINE, TYPED | wrong)

    assert answer.status_code == 422
    assert words in words_of(answer)
    assert answer.context["form"]["summary_at"].value() == "08:30"
    assert not Preference.objects.exists()


def test_the_wishes_of_others_are_seen_by_who_may_and_changed_by_nobody(liaison, client_for, auditor, administrator):
    client_for(liaison).post(MINE, TYPED)

    assert client_for(liaison).get("/admin/approvals/preference/").status_code == 403
    for reader in (auditor, administrator):
        assert "Europe/Berlin" in words_of(client_for(reader).get("/admin/approvals/preference/"))
        page = f"/admin/approvals/preference/{liaison.pk}/change/"
        assert client_for(reader).post(page, TYPED | {"zone": "UTC"}).status_code == 403
    assert Preference.objects.get().zone == "Europe/Berlin"


def test_where_slack_is_off_its_page_is_not_to_be_had(liaison, client_for):
    assert client_for(liaison).get(f"{MINE}slack/").status_code == 403
    assert "Slack account" not in words_of(client_for(liaison).get(MINE))


def test_where_slack_is_on_the_page_leads_to_linking(liaison, client_for, settings):
    settings.SLACK_TOKEN = settings.SLACK_SIGNING_SECRET = "x" * 20

    assert "Link your Slack account" in words_of(client_for(liaison).get(MINE))
    linked(liaison)
    assert "You are U024BE7LH in Slack" in words_of(client_for(liaison).get(MINE))


# Messages -------------------------------------------------------------------------------------------------


@pytest.fixture
def given_up(validator, liaison):
    question(validator, title="<i>Pay</i>")
    Notification.objects.update(state="failed", attempts=6, error="Refused: \u202enobody\nlistens " + "x" * 200)
    return Notification.objects.get()


def test_the_list_shows_what_was_told_to_whom_and_what_went_wrong(given_up, auditor, client_for):
    page = words_of(client_for(auditor).get(LIST))

    assert "liaison" in page
    assert "not delivered" in page.lower()
    assert "Refused: <U+202E>nobody" in page
    assert "x" * 100 not in page
    detail = words_of(client_for(auditor).get(f"{LIST}{given_up.pk}/change/"))
    assert "x" * 200 in detail
    assert given_up.request_id in detail
    assert "Send again" not in detail  # which an auditor may not


def test_an_operator_sends_again_what_was_given_up(given_up, administrator, auditor, client_for):
    page = f"{LIST}{given_up.pk}/send-again/"
    assert client_for(auditor).post(page).status_code == 403
    browser = client_for(administrator)
    assert "Send again" in words_of(browser.get(f"{LIST}{given_up.pk}/change/"))
    assert browser.get(page).status_code == 200
    assert Notification.objects.get().state == MailState.FAILED

    assert browser.post(page).status_code == 302
    jobs.tick()
    assert Notification.objects.get().state == MailState.SENT
    assert browser.post(page).status_code == 409


@pytest.mark.parametrize("who", ["liaison", "staff_member", "playbook_author"])
def test_who_may_not_see_messages_does_not(who, request, given_up, client_for):
    browser = client_for(request.getfixturevalue(who))

    for path in (LIST, f"{LIST}{given_up.pk}/change/", OUTSIDE_LIST, SYSTEMS):
        assert browser.get(path).status_code == 403


def test_the_page_of_a_request_says_who_was_told_when_and_whether_it_arrived(validator, liaison, client_for):
    person("colleague", "human:police_liaison", email="")
    request = question(validator)
    waiting = words_of(client_for(liaison).get(page_of(request)))
    assert "Who was told" in waiting
    assert "liaison waits asked to decide, by mail" in waiting
    jobs.tick()

    page = words_of(client_for(liaison).get(page_of(request)))
    assert "liaison delivered asked to decide, by mail" in page
    assert "colleague not needed any more asked to decide, by mail" in page
    assert "there is no address to send it to" in page


# Systems outside ------------------------------------------------------------------------------------------


@pytest.fixture
def system(administrator, settings, monkeypatch):
    settings.CONNECTOR_HOSTS = frozenset({("clearance.example.gov", None)})
    return connected(administrator, settings, monkeypatch)


def test_a_system_is_connected_as_typed(administrator, client_for, system):
    typed = {
        "name": "archive", "title": "The <archive>", "url": "https://clearance.example.gov/told",
        "roles": "human:clerk\n\n human:police_liaison ", "secret_ref": "env:CLEARANCE_SECRET",
    }  # fmt: skip
    assert client_for(administrator).post(f"{SYSTEMS}add/", typed)["Location"] == SYSTEMS

    made = ExternalSystem.objects.get(name="archive")
    assert (made.title, made.url) == ("The <archive>", "https://clearance.example.gov/told")
    assert made.roles == ["human:clerk", "human:police_liaison"]
    page = words_of(client_for(administrator).get(f"{SYSTEMS}{made.pk}/change/"))
    assert "POST /hitl/external/archive" in page
    assert "The <archive>" in page


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": "clearance"}, "There is a system named clearance already."),
        ({"name": "two words"}, "Enter a valid"),
        ({"url": "https://elsewhere.example/"}, "is not on the list of HMS_ACT_CONNECTOR_HOSTS"),
        ({"secret_ref": "whsec_abc"}, "the secret itself is never written here"),
        ({"roles": "agent:validator"}, "is no role of people"),
    ],
)
def test_a_system_that_cannot_be_comes_back_with_the_reason(administrator, client_for, system, wrong, words):
    typed = {"name": "archive", "title": "", "url": "", "roles": "", "secret_ref": "env:CLEARANCE_SECRET"}
    answer = client_for(administrator).post(f"{SYSTEMS}add/", typed | wrong)

    assert answer.status_code == 422
    assert words in words_of(answer)
    assert ExternalSystem.objects.count() == 1


def test_a_person_is_linked_and_the_link_is_ended(administrator, client_for, system, liaison):
    browser, page = client_for(administrator), f"{SYSTEMS}{system.pk}/"
    assert browser.post(f"{page}link/", {"outside_id": "4711\u202e", "username": "liaison"}).status_code == 422
    assert browser.post(f"{page}link/", {"outside_id": "4711", "username": "nobody"}).status_code == 422
    assert browser.post(f"{page}link/", {"outside_id": "4711", "username": "liaison"}).status_code == 302
    link = ExternalUser.objects.get()
    assert "4711" in words_of(browser.get(f"{page}change/"))

    end = f"{SYSTEMS}people/{link.pk}/end/"
    assert "4711 is liaison" in words_of(browser.get(end))
    assert browser.post(end, {"reason": "has left"}).status_code == 302
    assert ExternalUser.objects.get().ended_at is not None
    assert browser.post(end, {"reason": "again"}).status_code == 409
    assert browser.get(f"{SYSTEMS}people/{link.pk + 1}/end/").status_code == 404


def test_a_system_is_changed_disabled_and_enabled(administrator, client_for, system):
    browser, page = client_for(administrator), f"{SYSTEMS}{system.pk}/"
    form = browser.get(f"{page}terms/").context["form"]
    typed = {name: form[name].value() for name in form.fields}
    assert browser.post(f"{page}terms/", typed | {"title": "The office"}).status_code == 302
    assert browser.post(f"{page}disable/", {"reason": ""}).status_code == 422
    for act in ("disable", "enable"):
        assert browser.post(f"{page}{act}/", {"reason": "moving"}).status_code == 302
        assert browser.post(f"{page}{act}/", {"reason": "twice"}).status_code == 409

    assert ExternalSystem.objects.get().title == "The office"
    assert "The office" in words_of(browser.get(f"{page}history/"))


def test_a_message_to_a_system_is_sent_again(validator, administrator, client_for, system):
    at = clock.now()
    row = ExternalNotice.objects.create(
        system=system, request=question(validator), purpose="asked", told_at=at, due_at=at, state="failed", error="no"
    )
    browser = client_for(administrator)

    assert "clearance" in words_of(browser.get(OUTSIDE_LIST))
    assert browser.post(f"{OUTSIDE_LIST}{row.pk}/send-again/").status_code == 302
    assert ExternalNotice.objects.get().state == MailState.DUE


def test_auditors_see_systems_and_change_none(auditor, client_for, system):
    browser, page = client_for(auditor), f"{SYSTEMS}{system.pk}/"

    assert "clearance" in words_of(browser.get(SYSTEMS))
    assert browser.get(f"{page}change/").status_code == 200
    for act in ("terms", "link", "disable"):
        assert browser.get(f"{page}{act}/").status_code == 403
        assert browser.post(f"{page}{act}/", {"reason": "x"}).status_code == 403
