# SPDX-License-Identifier: Apache-2.0
"""What the validator agent finds in an application."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from demo.screening import Calendar, booking_of, screen

CITY = Calendar.load()
TODAY = date(2027, 3, 1)
PLAYBOOK = Path(__file__).parents[2] / "demo" / "protest_permit.json"

GOOD: dict[str, Any] = {
    "applicant_name": "Ana Ruiz",
    "email": "ana@example.org",
    "event_date": "2027-04-10",
    "place": "market-square",
    "crowd_size": 250,
    "purpose": "Clean air",
    "crowd_control_plan": "Ten stewards in yellow vests, first aid at the fountain, the square is swept at nine.",
    "is_true": True,
}


def screened(*, calendar: Calendar = CITY, **changes: Any) -> Any:
    application = {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}
    return screen(application, calendar, TODAY)


def weights(screening: Any) -> dict[str, str]:
    return {finding.check: finding.weight.value for finding in screening.findings}


def test_a_good_application_passes_and_every_check_says_why():
    screening = screened()
    assert screening.outcome == "PASS"
    assert weights(screening) == {"date": "ok", "place": "ok", "free": "ok", "crowd": "ok", "e-mail": "ok"}
    assert (screening.risk, screening.suggestion) == ("low", "APPROVE")
    assert screening.note == "Nothing speaks against this application."
    assert "40 days ahead" in screening.findings[0].says


@pytest.mark.parametrize(
    ("changes", "check", "says"),
    [
        ({"event_date": "2027-02-28"}, "date", "28 February 2027 is not in the future."),
        ({"event_date": "2027-03-01"}, "date", "not in the future"),
        ({"event_date": "2027-03-03"}, "date", "3 days' notice"),
        ({"event_date": "2028-03-05"}, "date", "more than 365 days ahead"),
        ({"event_date": "2027-07-04"}, "date", "Independence Day, a city holiday"),
        ({"event_date": "soon"}, "date", "names no date"),
        ({"event_date": None}, "date", "names no date"),
        ({"event_date": ...}, "date", "names no date"),
        ({"place": "the-moon"}, "place", "no place called “the-moon”"),
        ({"place": ["market-square"]}, "place", "no place called"),
        ({"place": ...}, "place", "no place called"),
        ({"crowd_size": 1201}, "crowd", "1,201 people are expected, and Market Square holds 1,200."),
        ({"crowd_size": 0}, "crowd", "does not say how many"),
        ({"crowd_size": True}, "crowd", "does not say how many"),
        ({"crowd_size": "250"}, "crowd", "does not say how many"),
        ({"crowd_size": ...}, "crowd", "does not say how many"),
        ({"email": "ana@example"}, "e-mail", "cannot be right"),
        ({"email": "ana"}, "e-mail", "cannot be right"),
        ({"email": "ana@example.org\nBcc: all@example.org"}, "e-mail", "cannot be right"),
        ({"email": ...}, "e-mail", "cannot be right"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_the_reason(changes, check, says):
    screening = screened(**changes)
    assert screening.outcome == "FAIL"
    assert (screening.risk, screening.suggestion) == ("high", "REJECT")
    assert weights(screening)[check] == "refused"
    assert says in screening.note


@pytest.mark.parametrize("days", [3, 365])
def test_the_first_and_the_last_day_that_may_be_asked_for_pass(days):
    day = date.fromordinal(TODAY.toordinal() + days)
    assert screened(event_date=day.isoformat()).outcome == "PASS"


@pytest.mark.parametrize(
    ("changes", "check", "says"),
    [
        ({"crowd_size": 1000}, "crowd", "It will be crowded"),
        ({"place": "riverside-park", "crowd_size": 3000}, "plan", "plan is short for 3,000 people"),
    ],
)
def test_what_is_only_risky_is_left_to_the_person_who_decides(changes, check, says):
    screening = screened(**changes)
    assert screening.outcome == "PASS"
    assert (screening.risk, screening.suggestion) == ("medium", "APPROVE WITH CARE")
    assert weights(screening)[check] == "noted"
    assert says in screening.note


def test_a_place_that_is_taken_that_day_is_refused_and_one_asked_for_earlier_is_noted():
    wanted = booking_of(GOOD)
    assert wanted is not None
    taken = CITY.knowing(granted={wanted: 7}, asked_for={})
    asked = CITY.knowing(granted={}, asked_for={wanted: 8})

    assert "taken: application 7 was approved" in screened(calendar=taken).note
    assert screened(calendar=taken).outcome == "FAIL"
    assert "also asked for by application 8" in screened(calendar=asked).note
    assert screened(calendar=asked).outcome == "PASS"
    assert screened(calendar=taken, event_date="2027-04-11").outcome == "PASS"
    assert screened(calendar=taken, place="memorial-lawn").outcome == "PASS"


def test_an_application_of_another_kind_is_refused_and_not_a_crash():
    assert screen({"form_id": 123}, CITY, TODAY).outcome == "FAIL"
    assert screen({}, CITY, TODAY).outcome == "FAIL"


def test_the_output_is_json():
    output = screened(crowd_size=1000).as_output()
    assert json.loads(json.dumps(output)) == output
    assert (
        "Crowd, noted: It will be crowded: 1,000 people are expected, and Market Square holds 1,200."
        in output["findings"]
    )


def test_the_form_offers_the_citys_places_with_their_capacity():
    options = json.loads(PLAYBOOK.read_text())["payload_schema"]["properties"]["place"]["oneOf"]
    titles = {key: f"{place.name} (up to {place.capacity:,} people)" for key, place in CITY.places.items()}
    assert {option["const"]: option["title"] for option in options} == titles
