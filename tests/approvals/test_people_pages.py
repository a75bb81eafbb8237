# SPDX-License-Identifier: Apache-2.0
"""Calendars and delegations in the admin, and the pages around a decision."""

import pytest

from approvals import calendar_services
from approvals.calendar_services import DEFAULT, Terms, change_calendar, create_calendar
from approvals.claiming import claim_request
from approvals.models import ActionRequest, Calendar, Delegation
from audit import actions
from audit.models import Entry
from config.errors import Forbidden, Invalid, NotFound
from tests.approvals.test_delegation import lent
from tests.factories import user
from tests.people import person
from tests.runs.play import LIAISON, Play, agent, human

pytestmark = pytest.mark.django_db

CALENDARS = "/admin/approvals/calendar/"
DELEGATIONS = "/admin/approvals/delegation/"
BERLIN = {
    "title": "Berlin",
    "zone": "Europe/Berlin",
    "monday": "09:00-12:00, 13:00-17:00",
    "friday": "09:00-13:00",
    "holidays": "2026-12-25 Christmas Day\n2026-12-26\n",
}
OFFICE = Terms("Office", "Europe/Berlin", {"monday": ["09:00-17:00"]}, {"2026-12-25": "Christmas Day"})


# Calendars ------------------------------------------------------------------------------------------------


def test_every_installation_has_office_hours_from_the_beginning_and_keeps_what_was_made_of_them(administrator):
    assert Calendar.objects.get().slug == DEFAULT
    change_calendar(actor=administrator, slug=DEFAULT, terms=OFFICE)
    calendar_services.seed()
    assert (Calendar.objects.get().title, Calendar.objects.get().zone) == ("Office", "Europe/Berlin")


def test_a_calendar_is_made_and_changed_in_the_admin(administrator, client_for):
    client = client_for(administrator)
    made = client.post(f"{CALENDARS}add/", {**BERLIN, "slug": "berlin"}, follow=True)
    assert b"The calendar berlin is made." in made.content
    calendar = Calendar.objects.get(slug="berlin")
    assert calendar.hours == {"monday": ["09:00-12:00", "13:00-17:00"], "friday": ["09:00-13:00"]}
    assert calendar.holidays == {"2026-12-25": "Christmas Day", "2026-12-26": ""}

    form = client.get(f"{CALENDARS}{calendar.pk}/terms/").content.decode()
    assert "09:00-12:00, 13:00-17:00" in form
    assert "2026-12-25 Christmas Day" in form
    client.post(f"{CALENDARS}{calendar.pk}/terms/", {**BERLIN, "zone": "Asia/Tokyo"})
    calendar.refresh_from_db()
    assert (calendar.zone, calendar.history.count()) == ("Asia/Tokyo", 2)
    told = list(Entry.objects.filter(action__startswith="calendar.").order_by("id").values_list("action", flat=True))
    assert told == [actions.CALENDAR_CREATED, actions.CALENDAR_CHANGED]
    assert b"11" in client.get(CALENDARS).content  # hours a week


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"zone": "Mars/Olympus"}, "no time zone"),
        ({"monday": "9-5"}, "no span of hours"),
        ({"monday": "", "friday": ""}, "no working hours"),
        ({"holidays": "Christmas"}, "no date"),
        ({"holidays": "2026-12-25 A\n2026-12-25 B"}, "stands here twice"),
        ({"slug": DEFAULT}, "already"),
    ],
)
def test_what_no_calendar_can_be_comes_back_with_what_was_typed(administrator, client_for, wrong, said):
    answer = client_for(administrator).post(f"{CALENDARS}add/", {**BERLIN, "slug": "berlin", **wrong})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Calendar.objects.filter(slug="berlin").exists()


def test_calendars_are_for_administrators(liaison, auditor, client_for):
    with pytest.raises(Forbidden):
        create_calendar(actor=liaison, slug="mine", terms=OFFICE)
    assert client_for(auditor).get(CALENDARS).status_code == 200
    assert client_for(auditor).post(f"{CALENDARS}add/", {**BERLIN, "slug": "berlin"}).status_code == 403
    assert client_for(liaison).get(CALENDARS).status_code == 403


def test_a_calendar_that_is_not_there_or_says_the_same_changes_nothing(administrator):
    with pytest.raises(NotFound):
        change_calendar(actor=administrator, slug="nowhere", terms=OFFICE)
    create_calendar(actor=administrator, slug="office", terms=OFFICE)
    change_calendar(actor=administrator, slug="office", terms=OFFICE)
    assert not Entry.objects.filter(action=actions.CALENDAR_CHANGED).exists()
    with pytest.raises(Invalid, match="already"):
        create_calendar(actor=administrator, slug="office", terms=OFFICE)


# Delegations ----------------------------------------------------------------------------------------------

GIVEN = {
    "giver": "liaison",
    "to": "ben",
    "starts_at_0": "2031-01-01",
    "starts_at_1": "00:00",
    "ends_at_0": "2031-01-08",
    "ends_at_1": "00:00",
    "is_away": "on",
    "max_severity": "high",
    "reason": "Holidays <script>",
}


def test_somebody_who_will_be_away_delegates_in_the_admin_and_revokes(liaison, client_for):
    user("ben", "human")
    client = client_for(liaison)
    assert b'value="liaison"' in client.get(f"{DELEGATIONS}add/").content
    client.post(f"{DELEGATIONS}add/", GIVEN)
    given = Delegation.objects.get()
    assert (given.giver, given.delegate.username, given.is_away, given.max_severity) == (liaison, "ben", True, "high")

    page = client.get(f"{DELEGATIONS}{given.pk}/change/").content.decode()
    assert "Holidays &lt;script&gt;" in page
    assert "to come" in page
    client.post(f"{DELEGATIONS}{given.pk}/revoke/", {"reason": "The trip is off."})
    given.refresh_from_db()
    assert given.revoked_by == liaison


def test_people_see_their_own_delegations_and_auditors_all(liaison, auditor, client_for):
    ben, stranger = person("ben", "human:other"), person("stranger", "human:other")
    given = lent(liaison, ben)
    page = f"{DELEGATIONS}{given.pk}/change/"
    assert [client_for(who).get(page).status_code for who in (liaison, ben, auditor)] == [200, 200, 200]
    assert client_for(stranger).get(page).status_code in (302, 404)
    assert b"liaison" not in client_for(stranger).get(DELEGATIONS).content
    assert client_for(auditor).post(f"{DELEGATIONS}{given.pk}/revoke/", {}).status_code == 403


def test_who_delegates_for_another_without_the_permission_is_told_so(liaison, client_for):
    ben = person("ben", "human:other")
    answer = client_for(ben).post(f"{DELEGATIONS}add/", GIVEN)
    assert answer.status_code == 403
    assert b"for yourself alone" in answer.content
    assert not Delegation.objects.exists()


# Around a decision ----------------------------------------------------------------------------------------


@pytest.fixture
def request_(liaison):
    return Play(human("approve", policy={"time": {"expires": "4h"}}), agent("after")).question("approve")


def at(request, page):
    return f"/admin/approvals/actionrequest/{request.pk}/{page}/"


def test_the_decision_page_offers_what_this_person_may_do(request_, liaison, administrator, client_for):
    anna = person("anna", LIAISON)
    claim_request(request_id=request_.pk, actor=liaison)
    offered = {
        who: {name for name in ("takeover", "assign", "delegate", "extend") if at(request_, name) in page}
        for who, page in (
            (who.username, client_for(who).get(at(request_, "decide")).content.decode())
            for who in (liaison, anna, administrator)
        )
    }
    assert offered == {
        "liaison": {"delegate"},
        "anna": {"takeover", "delegate"},
        "administrator": {"assign", "extend"},
    }


def test_the_pages_do_what_they_offer(request_, liaison, administrator, client_for):
    anna = person("anna", LIAISON)
    user("ben", "human")
    claim_request(request_id=request_.pk, actor=liaison)
    before = request_.expires_at
    client_for(anna).post(at(request_, "takeover"), {"reason": "He was called away."})
    client_for(administrator).post(at(request_, "assign"), {"to": "anna"})
    client_for(administrator).post(at(request_, "extend"), {"by": "2h"})
    client_for(liaison).post(at(request_, "delegate"), {"to": "ben"})
    now = ActionRequest.objects.get()
    assert (now.claimed_by, now.assigned_to) == (anna, anna)
    assert (now.expires_at - before).total_seconds() == 7200
    assert Delegation.objects.get().delegate.username == "ben"
    page = client_for(liaison).get(at(request_, "decide")).content.decode()
    assert "Assigned to anna." in page


def test_a_refusal_stands_on_the_page_with_what_was_typed(request_, administrator, liaison, client_for):
    answer = client_for(administrator).post(at(request_, "extend"), {"by": "300d", "reason": "why not"})
    assert answer.status_code == 409
    assert b"why not" in answer.content
    assert client_for(liaison).post(at(request_, "assign"), {"to": "liaison"}).status_code == 403
    assert client_for(person("nobody", "human:other")).get(at(request_, "extend")).status_code == 404
