# SPDX-License-Identifier: Apache-2.0
"""Conditional approval: what an approver narrows, carried in the receipt and enforced where it is spent. Pure.

    {"ceiling": {"amount": "500.00"},        a number of the input, at most so much
     "allowed": {"currency": ["USD"]},       a value of the input, one of these
     "not_after": "2025-11-04T00:00:00Z",    spent before then
     "uses": 3}                              so many times

A field that a condition names may be another than proposed, within the condition; every other must be the same.
Fields are named by their place in the input, as `invoice.amount`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from config.errors import Invalid, Problem

CEILING, ALLOWED, NOT_AFTER, USES = "ceiling", "allowed", "not_after", "uses"
KINDS = (CEILING, ALLOWED, NOT_AFTER, USES)
WORDS = {
    CEILING: "a ceiling", ALLOWED: "the values that are allowed", NOT_AFTER: "until when", USES: "how often",
}  # fmt: skip
REMEDIES = {
    CEILING: "Give a number, for a field that is one.",
    ALLOWED: "Give a list of values of the kind that is proposed: texts, or numbers.",
}  # fmt: skip
MOST_USES = 1000
MOST_VALUES = 100
ABSENT = object()


def checked(
    given: Mapping[str, Any], *, permitted: tuple[str, ...], action: Mapping[str, Any], is_ours: bool, at: datetime
) -> dict[str, Any]:
    """The conditions as they are kept: numbers as texts, moments in UTC. Raises Invalid with every fault.

    `permitted` kinds are those of the policy. `is_ours`: this installation does it, at once and as proposed, so what
    is proposed must keep within the conditions.
    """
    problems = list(_problems(given, permitted, action, at))
    if problems:
        raise Invalid("These conditions cannot be set.", errors=problems)
    kept = _kept(given)
    if is_ours and kept.get(USES, 1) != 1:
        told = Problem("constraints.uses", "starts once", "Leave it out: an approval starts what was proposed once.")
        raise Invalid("These conditions cannot be set.", errors=[told])
    if is_ours and (why := departure(kept, action, action)):
        remedy = "Ask for changes, or change the proposal first."
        raise Invalid(f"What is proposed breaks your condition: {why}.", errors=[Problem("constraints", why, remedy)])
    return kept


def departure(constraints: Mapping[str, Any], approved: Mapping[str, Any], effective: Mapping[str, Any]) -> str:
    """How what is about to be done departs from what was approved under these conditions; "" if it does not."""
    expected = deepcopy(dict(approved))
    for field in (*constraints.get(CEILING, {}), *constraints.get(ALLOWED, {})):
        value = value_at(material(effective), field)
        if value is ABSENT:
            return f"it has no {field}"
        if why := _breach(constraints, field, value):
            return why
        _put(material(expected), field, value)
    return "" if expected == effective and _same_kinds(expected, effective) else "it is not what was approved"


def material(action: Mapping[str, Any]) -> Any:
    """The part of an action that conditions speak of."""
    return action["input"] if "input" in action else action.get("payload", {})


def value_at(value: Any, field: str) -> Any:
    for part in field.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return ABSENT
        value = value[part]
    return value


def fields(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """(place, value) of the texts and numbers within an input, for whoever offers conditions.

    A name with a dot in it names no place.
    """
    for name, each in value.items() if isinstance(value, Mapping) else ():
        here = f"{place}{name}"
        if "." in name:
            continue
        if isinstance(each, Mapping):
            yield from fields(each, f"{here}.")
        elif is_number(each) or isinstance(each, str):
            yield here, each


def can_have_ceiling(value: Any) -> bool:
    """A number, or a text that is one."""
    return _number(value) is not None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def in_words(constraints: Mapping[str, Any]) -> list[str]:
    said = [f"{field} at most {most}" for field, most in constraints.get(CEILING, {}).items()]
    said += [f"{field} one of {', '.join(map(str, values))}" for field, values in constraints.get(ALLOWED, {}).items()]
    if constraints.get(NOT_AFTER):
        said.append(f"before {constraints[NOT_AFTER]}")
    if constraints.get(USES, 1) != 1:
        said.append(f"{constraints[USES]} times")
    return said


# What may be set ------------------------------------------------------------------------------------------


def _problems(
    given: Mapping[str, Any], permitted: tuple[str, ...], action: Mapping[str, Any], at: datetime
) -> Iterator[Problem]:
    for kind in given:
        if kind not in KINDS:
            yield Problem(f"constraints.{kind}", "not a condition", f"Use one of {', '.join(KINDS)}.")
        elif kind not in permitted:
            yield Problem(f"constraints.{kind}", f"the policy lets no approver set {WORDS[kind]}", "Leave it out.")
    yield from _field_problems(given, action)
    if NOT_AFTER in given and ((until := _moment(given[NOT_AFTER])) is None or until <= at):
        yield Problem("constraints.not_after", "not a moment to come", "Write it as 2025-11-04T00:00:00Z.")
    if USES in given and (type(given[USES]) is not int or not 1 <= given[USES] <= MOST_USES):
        yield Problem("constraints.uses", "not a number of uses", f"Give a whole number from 1 to {MOST_USES}.")


def _field_problems(given: Mapping[str, Any], action: Mapping[str, Any]) -> Iterator[Problem]:
    for kind, is_fit in ((CEILING, _is_ceiling), (ALLOWED, _is_choice)):
        fields = given.get(kind, {})
        if not isinstance(fields, Mapping):
            yield Problem(f"constraints.{kind}", "not an object", "Name fields of the input and their conditions.")
            continue
        for field, condition in fields.items():
            value = value_at(material(action), field)
            if value is ABSENT:
                yield Problem(f"constraints.{kind}.{field}", "not in the input", "Name a field that is proposed.")
            elif not is_fit(condition, value):
                remedy = REMEDIES[kind]
                yield Problem(f"constraints.{kind}.{field}", "does not fit", remedy)


def _is_ceiling(condition: Any, value: Any) -> bool:
    return _number(condition) is not None and _number(value) is not None


def _is_choice(condition: Any, value: Any) -> bool:
    is_list = isinstance(condition, list) and 0 < len(condition) <= MOST_VALUES and not isinstance(value, dict | list)
    return is_list and (value is None or all(_kind(one) is _kind(value) for one in condition))


def _kind(value: Any) -> type:
    """Of a JSON value; its numbers are of one kind."""
    return float if is_number(value) else type(value)


def _kept(given: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if given.get(CEILING):
        kept[CEILING] = {field: format(_decimal(most), "f") for field, most in given[CEILING].items()}
    if given.get(ALLOWED):
        kept[ALLOWED] = {field: list(values) for field, values in given[ALLOWED].items()}
    if given.get(NOT_AFTER):
        until = _moment(given[NOT_AFTER])
        assert until is not None, "it has been checked"
        kept[NOT_AFTER] = until.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if given.get(USES, 1) != 1:
        kept[USES] = given[USES]
    return kept


# Values ---------------------------------------------------------------------------------------------------


def _breach(constraints: Mapping[str, Any], field: str, value: Any) -> str:
    most, choice = constraints.get(CEILING, {}).get(field), constraints.get(ALLOWED, {}).get(field)
    if most is not None and ((number := _number(value)) is None or number > Decimal(most)):
        return f"{field} is more than {most}"
    if choice is not None and not any(value == one and _kind(value) is _kind(one) for one in choice):
        return f"{field} is not among what is allowed"
    return ""


def _decimal(value: Any) -> Decimal:
    number = _number(value)
    assert number is not None, "it has been checked"
    return number


def _number(value: Any) -> Decimal | None:
    """A number, or a text that is one (`"40.00"`), exactly; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 100 else None


def _moment(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _put(value: Any, field: str, new: Any) -> None:
    *way, last = field.split(".")
    for part in way:
        value = value[part]
    value[last] = new


def _same_kinds(one: Any, other: Any) -> bool:
    """Python holds 1, 1.0 and True for equal; JSON does not hold True for 1."""
    if isinstance(one, Mapping):
        return all(_same_kinds(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return all(map(_same_kinds, one, other))
    return isinstance(one, bool) == isinstance(other, bool)
