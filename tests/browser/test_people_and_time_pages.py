# SPDX-License-Identifier: Apache-2.0
"""Calendars, delegations, and what the decision page says of time, in a browser: by day, by night, at 320 px."""

from __future__ import annotations

import pytest

from approvals.asking import create_request
from approvals.claiming import claim_request
from approvals.models import Calendar
from tests.approvals.test_delegation import lent
from tests.browser.test_run_pages import photograph
from tests.browser.visitor import NARROW, TOO_WIDE
from tests.people import person
from tests.runs.play import LIAISON, Play, agent, human

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TIME = {
    "calendar": "default",
    "due": "2d",
    "expires": "4d",
    "reminders": ["1m", "-1h"],
    "escalation": [{"after": "75%", "add": ["human:legal_lead", "anna"]}],
    "fallback": "human:director",
}


@pytest.fixture
def request_(liaison):
    play = Play(human("approve", policy={"time": TIME}, title="Close the bridge for the march"), agent("after"))
    play.tick(days=3, minutes=2)
    request = play.question("approve")
    claim_request(request_id=request.pk, actor=liaison)
    return request


def test_no_page_of_people_and_time_is_hard_to_read(request_, administrator, liaison, visitor, client_for):
    given = lent(liaison, person("ben", "human:clerk"), is_away=True, reason="Holidays.")
    calendar = Calendar.objects.get()
    at = f"/admin/approvals/actionrequest/{request_.pk}"
    visitor.come_in_as(client_for(administrator))
    faults = []
    for name, path in {
        "time-decide": f"{at}/decide/",
        "time-extend": f"{at}/extend/",
        "time-assign": f"{at}/assign/",
        "calendars": "/admin/approvals/calendar/",
        "calendar": f"/admin/approvals/calendar/{calendar.pk}/change/",
        "calendar-change": f"/admin/approvals/calendar/{calendar.pk}/terms/",
        "delegations": "/admin/approvals/delegation/",
        "delegation": f"/admin/approvals/delegation/{given.pk}/change/",
        "delegation-new": "/admin/approvals/delegation/add/",
    }.items():
        visitor.open(path)
        faults += [f"{name}: {fault}" for fault in visitor.faults_by_day_and_night()]
        photograph(visitor, name)
    assert not faults, "\n".join(faults)


def test_what_happens_if_nobody_answers_is_read_on_a_telephone(request_, visitor, client_for):
    anna = person("anna", LIAISON, "staff")
    visitor.come_in_as(client_for(anna))
    visitor.open(f"/admin/approvals/actionrequest/{request_.pk}/decide/")
    assert "If nobody answers" in visitor.words
    assert "it ends without an answer, as a time-out" in visitor.words
    visitor.page.set_viewport_size(NARROW)
    assert visitor.page.evaluate(TOO_WIDE) == []


def test_a_title_that_is_one_long_word_fits_every_screen(validator, liaison, visitor, client_for):
    asked = create_request(actor=validator, title="x" * 200, role=LIAISON)
    visitor.come_in_as(client_for(liaison))
    for page in ("ask", "changes", "delegate"):
        visitor.open(f"/admin/approvals/actionrequest/{asked.pk}/{page}/")
        assert visitor.page.evaluate(TOO_WIDE) == []
        photograph(visitor, f"long-{page}")
