# SPDX-License-Identifier: Apache-2.0
"""Conditional approval: what an approver narrows is enforced where the approval is used."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from approvals.constraints import can_have_ceiling, checked, departure, fields, in_words
from config.errors import Invalid

AT = datetime(2025, 11, 3, 14, tzinfo=UTC)
ALL = ("ceiling", "allowed", "not_after", "uses")
PAY = {"call": "pay", "input": {"amount": "500.00", "currency": "USD", "order": {"lines": 3}, "note": "x"}}


def kept(given, *, permitted=ALL, action=PAY, is_ours=False):
    return checked(given, permitted=permitted, action=action, is_ours=is_ours, at=AT)


def with_input(**changed):
    return {**PAY, "input": {**PAY["input"], **changed}}


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"ceiling": {"amount": "400"}}, {"ceiling": {"amount": "400"}}),
        ({"ceiling": {"amount": 400.5}}, {"ceiling": {"amount": "400.5"}}),
        ({"ceiling": {"order.lines": 5}}, {"ceiling": {"order.lines": "5"}}),
        ({"ceiling": {"amount": 1e3}}, {"ceiling": {"amount": "1000.0"}}),
        ({"allowed": {"currency": ["USD", "EUR"]}}, {"allowed": {"currency": ["USD", "EUR"]}}),
        ({"not_after": "2025-11-04T01:00:00+02:00"}, {"not_after": "2025-11-03T23:00:00Z"}),
        ({"uses": 3}, {"uses": 3}),
        ({"uses": 1}, {}),
        ({}, {}),
    ],
)
def test_conditions_are_kept_in_one_form(given, stored):
    assert kept(given) == stored


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"floor": {}}, "constraints.floor"),
        ({"ceiling": {"currency": 5}}, "constraints.ceiling.currency"),
        ({"ceiling": {"tip": 5}}, "constraints.ceiling.tip"),
        ({"ceiling": {"amount": "much"}}, "constraints.ceiling.amount"),
        ({"ceiling": {"amount": True}}, "constraints.ceiling.amount"),
        ({"ceiling": {"amount": "NaN"}}, "constraints.ceiling.amount"),
        ({"ceiling": {"amount": "1e999999"}}, "constraints.ceiling.amount"),
        ({"ceiling": 5}, "constraints.ceiling"),
        ({"allowed": {"currency": "USD"}}, "constraints.allowed.currency"),
        ({"allowed": {"currency": []}}, "constraints.allowed.currency"),
        ({"allowed": {"currency": ["USD", 7]}}, "constraints.allowed.currency"),
        ({"allowed": {"order.lines": [1, "two"]}}, "constraints.allowed.order.lines"),
        ({"allowed": {"order.lines": [True]}}, "constraints.allowed.order.lines"),
        ({"allowed": {"order": [{"lines": 3}]}}, "constraints.allowed.order"),
        ({"not_after": "2025-11-03T14:00:00Z"}, "constraints.not_after"),
        ({"not_after": "2026-11-03"}, "constraints.not_after"),
        ({"not_after": 5}, "constraints.not_after"),
        ({"uses": 0}, "constraints.uses"),
        ({"uses": True}, "constraints.uses"),
        ({"uses": 1001}, "constraints.uses"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(given, path):
    with pytest.raises(Invalid) as refused:
        kept(given)
    assert [problem.path for problem in refused.value.errors] == [path]


def test_a_policy_says_which_conditions_an_approver_may_set():
    with pytest.raises(Invalid) as refused:
        kept({"ceiling": {"amount": 5}, "uses": 2}, permitted=("uses",))
    assert [problem.path for problem in refused.value.errors] == ["constraints.ceiling"]


@pytest.mark.parametrize("given", [{"uses": 2}, {"ceiling": {"amount": "499.99"}}, {"allowed": {"currency": ["EUR"]}}])
def test_what_starts_at_once_as_proposed_cannot_be_narrowed_below_the_proposal(given):
    with pytest.raises(Invalid):
        kept(given, is_ours=True)
    assert kept({"ceiling": {"amount": 500}}, is_ours=True)


@pytest.mark.parametrize(
    ("constraints", "effective", "why"),
    [
        ({}, PAY, ""),
        ({}, with_input(amount="400.00"), "not what was approved"),
        ({"ceiling": {"amount": "450"}}, with_input(amount="450.00"), ""),
        ({"ceiling": {"amount": "450"}}, with_input(amount=12), ""),
        ({"ceiling": {"amount": "450"}}, PAY, "amount is more than 450"),
        ({"ceiling": {"amount": "450"}}, with_input(amount="450.01"), "amount is more than 450"),
        ({"ceiling": {"amount": "450"}}, with_input(amount="all of it"), "amount is more than 450"),
        ({"ceiling": {"amount": "450"}}, with_input(amount="NaN"), "amount is more than 450"),
        ({"ceiling": {"amount": "450"}}, with_input(amount=True), "amount is more than 450"),
        ({"ceiling": {"amount": "450"}}, with_input(amount="4.00", currency="BTC"), "not what was approved"),
        ({"ceiling": {"amount": "450"}}, {**PAY, "input": {}}, "it has no amount"),
        ({"ceiling": {"order.lines": "5"}}, with_input(order={"lines": 5}), ""),
        ({"ceiling": {"order.lines": "5"}}, with_input(order={"lines": 5, "more": 1}), "not what was approved"),
        ({"allowed": {"currency": ["USD", "EUR"]}}, with_input(currency="EUR"), ""),
        ({"allowed": {"currency": ["USD", "EUR"]}}, with_input(currency="BTC"), "not among what is allowed"),
        ({"allowed": {"order.lines": [1]}}, with_input(order={"lines": True}), "not among what is allowed"),
        ({"allowed": {"order.lines": [1, 2]}}, with_input(order={"lines": 2.0}), ""),
        ({"allowed": {"order.lines": [1, 2]}}, with_input(order={"lines": "2"}), "not among what is allowed"),
    ],
)  # fmt: skip
def test_the_effective_action_keeps_within_the_conditions_and_is_otherwise_the_same(constraints, effective, why):
    found = departure(constraints, PAY, effective)
    assert (why in found) if why else (found == "")


def test_what_is_approved_is_left_as_it_is():
    departure({"ceiling": {"order.lines": "5"}}, PAY, with_input(order={"lines": 1}))
    assert PAY["input"]["order"] == {"lines": 3}


def test_the_other_tool_is_another_action_whatever_the_conditions_say():
    assert departure({"ceiling": {"amount": "900"}}, PAY, {**PAY, "call": "refund"})


def test_true_is_not_one():
    one, true = ({"call": "x", "input": {"flags": [value, {"a": value}]}} for value in (1, True))
    assert departure({}, one, true)


def test_places_of_numbers_and_words_for_people():
    places = dict(fields({**PAY["input"], "urgent": True, "none": None, "tags": ["a"], "a.b": 1}))
    assert places == {"amount": "500.00", "currency": "USD", "order.lines": 3, "note": "x"}
    assert [place for place, value in places.items() if can_have_ceiling(value)] == ["amount", "order.lines"]
    said = in_words({"ceiling": {"amount": "5"}, "allowed": {"currency": ["USD"]}, "not_after": "2025", "uses": 2})
    assert said == ["amount at most 5", "currency one of USD", "before 2025", "2 times"]
