# SPDX-License-Identifier: Apache-2.0
"""The values of a document: what each may be, and what to write where it is not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
)

from playbooks import durations, expressions, json_schema
from playbooks.calls import ACTION, MAX_WORDS, service_call, worded_call
from playbooks.definition import Call
from playbooks.expressions import MAX_CHARACTERS
from playbooks.places import Flaw, Flawed, shown

MAX_MAPPINGS = 100


def _condition(text: str) -> str:
    try:
        expressions.check(text)
    except expressions.BadExpression as bad:
        raise Flawed(Flaw((), bad.message, bad.remedy))
    return text


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _condition(text)
    if moment.tzinfo is None:
        raise Flawed(Flaw((), f"{shown(text)} has no time zone.", "Write for example `2026-06-01T09:00:00-04:00`."))
    return text


def _mappings(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) > MAX_MAPPINGS:
        raise Flawed(Flaw((), f"There are more than {MAX_MAPPINGS} names.", "Map whole objects instead."))
    flaws: list[Flaw] = []
    for name, entry in value.items():
        if isinstance(entry, Mapping | list):
            remedy = "A CEL expression can make one: `{'form': payload.form_id}`."
            flaws.append(Flaw((name,), "A mapping or list stands where an expression is expected.", remedy))
        elif isinstance(entry, str):
            flaws += _mapping_flaws(name, entry)
    if flaws:
        raise Flawed(*flaws)
    return value


def _mapping_flaws(name: str, text: str) -> list[Flaw]:
    try:
        _condition(text)
    except Flawed as error:
        return [Flaw((name, *flaw.at), flaw.message, flaw.remedy) for flaw in error.flaws]
    return []


def _schema_subset(value: Any) -> Any:
    if found := json_schema.flaws(value):
        raise Flawed(*found)
    return value


def _seconds(value: Any) -> Any:
    return durations.seconds(value) if isinstance(value, str) else value


def _whole_seconds(value: Any) -> Any:
    found = _seconds(value)
    if isinstance(value, str) and not float(found).is_integer():
        raise Flawed(Flaw((), f"{shown(value)} is not a whole number of seconds.", durations.REMEDY))
    return int(found) if isinstance(value, str) else found


def unique_keys(items: list[Any]) -> list[Any]:
    seen: set[str] = set()
    flaws = []
    for position, item in enumerate(items):
        key = item if isinstance(item, str) else item.key
        if key in seen:
            flaws.append(Flaw((position,), f"The key {shown(key)} is used twice.", "Give each its own key."))
        if key is not None:
            seen.add(key)
    if flaws:
        raise Flawed(*flaws)
    return items


def once_each(names: list[str]) -> list[str]:
    flaws = [
        Flaw((position,), f"{shown(name)} is named twice.", "Name each rule set once.")
        for position, name in enumerate(names)
        if name in names[:position]
    ]
    if flaws:
        raise Flawed(*flaws)
    return names


def outcomes_as_engine(options: list[Any]) -> list[Any]:
    """PASS goes on and FAIL ends the run failed, whatever an option says: nobody shall read one and get the other."""
    flaws = []
    for position, option in enumerate(options):
        ends = None if isinstance(option, str) else option.ends
        if not isinstance(option, str) and (option.key, ends) in {("PASS", "fail"), ("FAIL", "")}:
            message = f"The outcome {option.key} cannot mean the opposite."
            flaws.append(Flaw((position, "ends"), message, "Leave `ends` out, or use a key of your own."))
    if flaws:
        raise Flawed(*flaws)
    return options


def _duration_schema(number: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": number, "minimum": 0}, {"type": "string", "examples": ["15m", "PT15M"]}]})


def _call_schema(action: dict[str, Any]) -> WithJsonSchema:
    as_object = {
        "type": "object",
        "properties": {"action": action, "arguments": {"type": ["object", "null"]}},
        "required": ["action"],
        "additionalProperties": False,
    }
    return WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, as_object]})


SLUG = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
ROLE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,80}$"

Slug = Annotated[str, Field(pattern=SLUG)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Title = Annotated[str, Field(max_length=200)]
Prose = Annotated[str, Field(max_length=20_000)]
Condition = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS), AfterValidator(_condition)]
Moment = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS), AfterValidator(_moment)]
Mappings = Annotated[dict[str, Any], AfterValidator(_mappings)]
SchemaSubset = Annotated[
    dict[str, Any], AfterValidator(_schema_subset), Field(examples=[{"type": "object", "properties": {}}])
]
WholeSeconds = Annotated[
    int, BeforeValidator(_whole_seconds), Field(ge=1, le=durations.MAX_SECONDS), _duration_schema("integer")
]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=durations.MAX_SECONDS), _duration_schema("number")]
ServiceCall = Annotated[Call, PlainValidator(service_call), _call_schema({"type": "string", "pattern": ACTION})]
WordedCall = Annotated[
    Call, PlainValidator(worded_call), _call_schema({"type": "string", "minLength": 1, "maxLength": MAX_WORDS})
]
RuleSetName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}(@[1-9][0-9]{0,8})?$", examples=["privacy", "privacy@3"])
]
Level = Literal["low", "medium", "high", "critical"]


class Part(BaseModel):
    """A mapping of the document. Unknown keys are errors, and values keep the type they were written with."""

    # Built when the first document is read, which many processes never do.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
