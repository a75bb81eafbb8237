# SPDX-License-Identifier: Apache-2.0
"""What became of the requests: totals, times, shares; exact however late the sweep is, and cheap however many."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Kind
from approvals import statistics, tallying
from approvals.asking import create_request
from approvals.calendars import WEEKDAYS
from approvals.cancelling import cancel_request
from approvals.claiming import claim_request
from approvals.models import ActionRequest, RequestState, RequestTally
from approvals.revising import revise_request
from approvals.services import decide
from config import clock
from config.errors import Forbidden
from runs import jobs
from runs.models import Priority
from tests.contract.answers import json_of, paths_of, problem
from tests.factories import later, user, waiting_for_a_person
from tests.people import agent, person

pytestmark = pytest.mark.django_db

ROLE = "human:police_liaison"
STATISTICS = "/hitl/statistics"
_numbers = iter(range(1, 1_000_000))


def asked(by: Any, **more: Any) -> ActionRequest:
    return create_request(actor=by, title=f"Question {next(_numbers)}", role=ROLE, **more)


def answered(by: Any, liaison: Any, *, seconds: float = 60, outcome: str = "PASS", **more: Any) -> ActionRequest:
    request = asked(by, **more)
    later(seconds=seconds)
    return decide(request_id=request.pk, actor=liaison, outcome=outcome, reason="because")


def stored() -> dict[Any, Any]:
    """The tallies as they stand, without what only counts the counting."""
    rows = {(row.scope, row.name, row.period): dict(row.figures) for row in RequestTally.objects.all()}
    rows.get(("all", "", ""), {}).pop("folds", None)
    return {key: figures for key, figures in rows.items() if figures}


def swept() -> int:
    return tallying.tally_closed(clock.now())


def all_of(user: Any, **more: Any) -> dict[str, Any]:
    found = statistics.report(user, **more)
    found.pop("as_of")
    return found


# The figures of the field's contract --------------------------------------------------------------------------


def test_totals_by_status_priority_and_type_and_the_average_of_hours(api_for, auditor, validator, liaison):
    answered(validator, liaison, seconds=3600, request_type="account_creation", priority=Priority.HIGH)
    answered(validator, liaison, seconds=3 * 3600, outcome="FAIL", request_type="account_creation")
    asked(validator)

    told = json_of(api_for(auditor).get(STATISTICS))

    assert (told["scope"], told["total_requests"], told["pending"]) == ("all", 3, 1)
    assert {k: v for k, v in told["by_status"].items() if v} == {"pending": 1, "fulfilled": 1, "rejected": 1}
    assert {k: v for k, v in told["by_type"].items() if v} == {"account_creation": 2, "custom": 1}
    assert {k: v for k, v in told["by_priority"].items() if v} == {"high": 1, "medium": 2}
    assert told["average_response_hours"] == 2.0


def test_with_nothing_asked_there_is_nothing_to_tell_and_no_fault(api_for, auditor):
    told = json_of(api_for(auditor).get(STATISTICS))

    assert (told["total_requests"], told["pending"], told["average_response_hours"]) == (0, 0, None)
    assert set(told["shares"].values()) == {None}


def test_the_questions_of_steps_count_as_well(auditor, validator, liaison):
    request = waiting_for_a_person(validator)
    decide(request_id=request.pk, actor=liaison, outcome="PASS")

    assert all_of(auditor)["by_status"]["fulfilled"] == 1


# Times and shares -----------------------------------------------------------------------------------------


def test_percentiles_are_within_a_bucket_of_the_exact_ones(auditor, validator, liaison):
    for minutes in range(1, 101):
        answered(validator, liaison, seconds=60 * minutes)

    wall = all_of(auditor)["times"]["decide"]["wall"]

    assert wall["count"] == 100
    assert wall["average"] == pytest.approx(60 * 50.5, rel=0.001)
    for name, minutes in (("p50", 50), ("p90", 90), ("p95", 95)):
        assert wall[name] == pytest.approx(60 * minutes, rel=0.03), "a bucket is 5 % wide"


def test_the_time_to_claim_is_told_apart_from_the_time_to_decide(auditor, validator, liaison):
    request = asked(validator)
    later(minutes=10)
    claim_request(request_id=request.pk, actor=liaison)
    later(minutes=5)
    decide(request_id=request.pk, actor=liaison, outcome="PASS")

    times = all_of(auditor)["times"]

    assert times["claim"]["wall"]["p50"] == pytest.approx(600, rel=0.03)
    assert times["decide"]["wall"]["p50"] == pytest.approx(900, rel=0.03)
    assert times["view"]["wall"] is None, "nobody opened its page"


def test_working_time_is_told_where_the_policy_has_a_calendar(auditor, validator, liaison):
    """Asked before a week-end, decided after it: a long wait by the clock on the wall, a short one at work."""
    week = {"zone": "UTC", "hours": {day: ["09:00-17:00"] for day in WEEKDAYS[:5]}, "holidays": []}
    later(seconds=_until_friday_at_16().total_seconds())
    request = asked(validator)
    ActionRequest.objects.filter(pk=request.pk).update(timetable={"calendar": {"name": "office", **week}})
    later(days=2, hours=18)  # Monday at 10
    row = ActionRequest.objects.get(pk=request.pk)
    row.fulfill(by=liaison, outcome="PASS", response_data=None, notes="", at=clock.now())
    row.save()

    times = all_of(auditor)["times"]["decide"]

    assert times["wall"]["average"] == pytest.approx(66 * 3600, abs=5)
    assert times["working"]["average"] == pytest.approx(2 * 3600, abs=5)


def _until_friday_at_16() -> timedelta:
    now = clock.now()
    friday = (now + timedelta(days=(4 - now.weekday()) % 7)).replace(hour=16, minute=0, second=0, microsecond=0)
    return friday - now + (timedelta(days=7) if friday < now else timedelta(0))


def test_who_was_in_time_counts_only_where_something_was_due(auditor, validator, liaison):
    answered(validator, liaison)
    for seconds in (60, 120, 7200):
        request = asked(validator)
        ActionRequest.objects.filter(pk=request.pk).update(due_at=clock.now() + timedelta(hours=1))
        later(seconds=seconds)
        decide(request_id=request.pk, actor=liaison, outcome="PASS")

    assert all_of(auditor)["shares"]["sla_met"] == pytest.approx(2 / 3, abs=0.001)


def test_a_silence_is_a_time_out_and_no_decision(auditor, validator, liaison):
    answered(validator, liaison)
    request = asked(validator)
    expired(request)

    told = all_of(auditor)
    assert told["by_status"]["expired"] == 1
    assert told["shares"]["timed_out"] == 0.5
    assert told["times"]["decide"]["wall"]["count"] == 1


def expired(request: ActionRequest) -> None:
    row = ActionRequest.objects.get(pk=request.pk)
    row.expire(at=clock.now())
    row.save()


def test_a_rejection_and_an_edit_by_another_than_who_asked_are_overrides(auditor, validator, liaison):
    answered(validator, liaison)
    answered(validator, liaison, outcome="FAIL")
    own = asked(validator)
    revise_request(request_id=own.pk, actor=validator, changes={"title": "Better said"})
    decide(request_id=own.pk, actor=liaison, outcome="PASS")

    shares = all_of(auditor)["shares"]

    assert shares["overridden"] == pytest.approx(1 / 3, abs=0.001), "what its own requester changed is none"
    assert shares["revised"] == pytest.approx(1 / 3, abs=0.001)


def test_an_approval_that_was_taken_back_is_counted_again_as_undone(auditor, validator, liaison):
    request = answered(validator, liaison)
    answered(validator, liaison)
    swept()
    assert all_of(auditor)["shares"]["undone"] == 0.0

    row = ActionRequest.objects.get(pk=request.pk)
    row.supersede(at=clock.now())
    row.save()
    for _ in range(2):  # as it stands, then as it is counted
        told = all_of(auditor)
        assert told["shares"]["undone"] == 0.5
        assert (told["by_status"]["fulfilled"], told["by_status"]["superseded"]) == (1, 1)
        swept()
    assert stored() == tallying.Recount.made().figures


# Exact, whenever ------------------------------------------------------------------------------------------


def some_of_everything(validator: Any, liaison: Any) -> None:
    other = user("other_agent", Kind.AGENT)
    for number in range(6):
        by = validator if number % 2 else other
        answered(
            by, liaison, seconds=30 * (number + 1), outcome="FAIL" if number == 4 else "PASS", request_type="custom"
        )
    cancel_request(request_id=asked(validator).pk, actor=validator)
    expired(asked(other, priority=Priority.LOW))
    asked(validator)
    claim_request(request_id=asked(other).pk, actor=liaison)


def test_a_report_is_the_same_before_and_after_the_sweep(auditor, validator, liaison):
    some_of_everything(validator, liaison)
    before = all_of(auditor)

    assert swept() == 8
    assert swept() == 0
    assert all_of(auditor) == before


def test_the_tallies_equal_a_recount_in_whatever_batches_they_were_made(monkeypatch, validator, liaison):
    monkeypatch.setattr(tallying, "BATCH", 3)
    some_of_everything(validator, liaison)
    swept()
    some_of_everything(validator, liaison)
    swept()

    assert stored() == tallying.Recount.made().figures
    assert not ActionRequest.objects.exclude(state__in=RequestState.values[:4]).filter(tallying.UNTALLIED).exists()


def test_the_sweep_of_every_room_counts(validator, liaison):
    answered(validator, liaison)
    later(hours=1)
    asked(validator)
    later(hours=30)

    jobs.tick()

    assert stored() == tallying.Recount.made().figures != {}


def test_a_report_counts_a_backlog_only_so_far_and_says_how_many_are_missing(monkeypatch, auditor, validator, liaison):
    monkeypatch.setattr(statistics, "MOST_UNCOUNTED", 2)
    for _ in range(5):
        answered(validator, liaison)

    assert (all_of(auditor)["uncounted"], all_of(auditor)["by_status"]["fulfilled"]) == (3, 2)
    swept()
    assert (all_of(auditor)["uncounted"], all_of(auditor)["by_status"]["fulfilled"]) == (0, 5)


def test_what_is_counted_between_two_readings_is_not_counted_twice(monkeypatch, auditor, validator, liaison):
    for _ in range(3):
        answered(validator, liaison)
    told, real = [], statistics._add_uncounted

    def late(*given: Any) -> None:
        if not told:
            told.append(swept())
        real(*given)

    monkeypatch.setattr(statistics, "_add_uncounted", late)

    assert all_of(auditor)["by_status"]["fulfilled"] == 3
    assert told == [3]


# Periods --------------------------------------------------------------------------------------------------


def test_a_period_tells_of_what_was_asked_in_it(api_for, auditor, validator, liaison):
    first = clock.now()
    answered(validator, liaison)
    later(days=40)
    answered(validator, liaison)
    asked(validator)
    swept()
    api = api_for(auditor)

    def total(period: str) -> int:
        return int(json_of(api.get(STATISTICS, {"period": period}))["total_requests"])

    assert total(f"{first:%Y-%m-%d}") == total(f"{first:%Y-%m}") == 1
    assert total(f"{clock.now():%Y-%m-%d}") == 2
    assert total("1999") == 0
    assert json_of(api.get(STATISTICS))["total_requests"] == 3


@pytest.mark.parametrize("period", ["x", "20", "2025-13", "2025-02-30", "2025-1", "0000", "٢٠٢٥", "2025-01-01T00"])
def test_what_is_no_period_is_refused(api_for, auditor, period):
    assert paths_of(problem(api_for(auditor).get(STATISTICS, {"period": period}), 422, "invalid")) == ["period"]


# Who sees what --------------------------------------------------------------------------------------------


def test_an_agent_sees_the_figures_of_its_own_requests(api_for, validator, liaison):
    answered(validator, liaison)
    other = agent("other_agent")
    answered(other, liaison)
    asked(other)
    for _ in range(2):
        told = json_of(api_for(validator).get(STATISTICS))
        assert (told["scope"], told["total_requests"], told["pending"]) == ("own", 1, 0)
        assert told["by_agent"] == {}
        assert told["by_role"] == {}
        swept()


def test_people_see_the_figures_of_their_roles(api_for, validator, liaison):
    answered(validator, liaison)
    asked(validator)
    stranger = person("stranger", "human:other")

    for _ in range(2):
        mine = json_of(api_for(liaison).get(STATISTICS))["by_role"]
        assert (set(mine), mine[ROLE]["open"], mine[ROLE]["closed"]) == ({ROLE}, 1, 1)
        assert json_of(api_for(stranger).get(STATISTICS))["by_role"] == {}
        swept()


def test_single_people_are_shown_with_a_permission_and_from_a_minimum_count_on(
    settings, api_for, auditor, superuser, validator, liaison
):
    settings.PERSON_STATISTICS_MINIMUM = 3
    colleague = person("colleague", ROLE)
    for _ in range(3):
        answered(validator, liaison)
    answered(validator, colleague)

    assert "by_person" not in json_of(api_for(superuser).get(STATISTICS))
    assert set(json_of(api_for(superuser).get(STATISTICS, {"people": "true"}))["by_person"]) == {"liaison"}
    problem(api_for(auditor).get(STATISTICS, {"people": "true"}), 403, "forbidden")
    with pytest.raises(Forbidden):
        statistics.report(liaison, people=True)


# What it costs --------------------------------------------------------------------------------------------


def test_it_takes_fewer_than_twenty_statements_however_many_there_are(auditor, superuser, validator, liaison):
    def statements() -> int:
        with CaptureQueriesContext(connection) as seen:
            statistics.report(superuser, people=True)
        return len(seen)

    some_of_everything(validator, liaison)
    few = statements()
    for _ in range(5):
        some_of_everything(validator, liaison)
    swept()

    assert max(few, statements()) < 20


def test_nothing_that_was_counted_changes_any_more(validator, liaison):
    request = answered(validator, liaison)
    swept()

    for field, value in (
        ("due_at", clock.now()),
        ("priority", 0),
        ("role", "human:x"),
        ("first_viewed_at", clock.now()),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            ActionRequest.objects.filter(pk=request.pk).update(**{field: value})
