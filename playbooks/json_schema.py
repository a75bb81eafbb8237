# SPDX-License-Identifier: Apache-2.0
"""The part of JSON Schema (Draft 2020-12) that forms and payloads may use.

A schema comes from an author we do not know, and it is applied to data from people we do not know. So only what
stays harmless is allowed: no `$ref`, which validators fetch over the network; no `pattern` and no `uniqueItems`,
which a crafted value can keep busy for minutes; bounds on size, depth and number of parts.

JSON objects have no order, and PostgreSQL does keep none, but forms have one. `ordered()` writes it down once, as
`x-order` beside `properties`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from playbooks.places import Flaw, Path, did_you_mean, listed, shown

MAX_CHARACTERS = 64 * 1024
MAX_DEPTH = 8  # schemas within schemas
MAX_SCHEMAS = 500
MAX_NAMES = 500
MAX_FLAWS = 20  # each costs a search for the word that was meant
LESS = "Ask for less in one form."

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
FORMATS = ("date", "time", "date-time", "email", "uri", "uuid", "tel", "password", "textarea")

REASONS = {
    "pattern": "A regular expression can be made to run for minutes; use `enum`, `format` and `maxLength`.",
    "patternProperties": "A regular expression can be made to run for minutes; name the `properties`.",
    "$ref": "References are not followed; write the schema out in place.",
    "$dynamicRef": "References are not followed; write the schema out in place.",
    "$defs": "References are not followed; write the schema out in place.",
    "definitions": "References are not followed; write the schema out in place.",
    "uniqueItems": "Comparing every item with every other can take minutes; use `maxItems` and `enum`.",
}


def flaws(schema: Any) -> list[Flaw]:
    """Why `schema` cannot describe a form or a payload; empty if it can."""
    return list(islice(_flaws(schema), MAX_FLAWS))


def _flaws(schema: Any) -> Iterator[Flaw]:
    if not isinstance(schema, Mapping):
        yield Flaw((), "The schema is not a mapping.", 'Begin with `{"type": "object", "properties": {…}}`.')
        return
    if len(json.dumps(schema)) > MAX_CHARACTERS:
        yield Flaw((), f"The schema is longer than {MAX_CHARACTERS} characters.", LESS)
        return
    if schema.get("type") != "object":
        yield Flaw((), "The schema does not describe an object.", 'Add `"type": "object"` at its top.')
    for count, (path, depth, part) in enumerate(parts_of(schema), start=1):
        if count > MAX_SCHEMAS:
            yield Flaw((), f"The schema has more than {MAX_SCHEMAS} parts.", LESS)
            return
        if depth > MAX_DEPTH:
            yield Flaw(path, "The schema is nested too deeply.", f"At most {MAX_DEPTH} levels.")
            return
        for flaw in _part_flaws(part):
            yield Flaw((*path, *flaw.at), flaw.message, flaw.remedy)


def ordered(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with the order of its properties written down wherever there is one to keep."""
    result = {key: _ordered_value(key, value) for key, value in schema.items()}
    names = list(schema.get("properties", ()))
    if len(names) > 1:
        given = schema.get("x-order", ())
        result["x-order"] = [*given, *(name for name in names if name not in given)]
    return result


def _ordered_value(key: str, value: Any) -> Any:
    shape = KEYWORDS[key].shape
    if shape == "schema" and isinstance(value, Mapping):
        return ordered(value)
    if shape == "schemas":
        return [ordered(part) if isinstance(part, Mapping) else part for part in value]
    if shape == "named schemas":
        return {name: ordered(part) if isinstance(part, Mapping) else part for name, part in value.items()}
    return value


# --- Keywords and their shapes --------------------------------------------------------------------


def _is_names(value: Any) -> bool:
    is_texts = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return is_texts and len(value) <= MAX_NAMES and len(set(value)) == len(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_schema(value: Any) -> bool:
    return isinstance(value, Mapping | bool)


SHAPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "anything": (lambda value: True, ""),
    "text": (lambda value: isinstance(value, str), "text"),
    "flag": (lambda value: isinstance(value, bool), "true or false"),
    "count": (_is_count, "a whole number from 0"),
    "number": (_is_number, "a number"),
    "positive number": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "names": (_is_names, f"a list of at most {MAX_NAMES} different names"),
    "named names": (
        lambda value: isinstance(value, Mapping) and all(map(_is_names, value.values())),
        "a mapping of names to lists of names",
    ),
    "type": (
        lambda value: (
            value in TYPES if isinstance(value, str) else _is_names(value) and set(value) <= set(TYPES) and value
        ),
        f"one of {listed(TYPES)}, or a list of them",
    ),
    "format": (lambda value: isinstance(value, str) and value in FORMATS, f"one of {listed(FORMATS)}"),
    "values": (
        lambda value: isinstance(value, list) and 1 <= len(value) <= MAX_NAMES,
        f"a list of 1 to {MAX_NAMES} values",
    ),
    "dialect": (lambda value: value == DIALECT, f"`{DIALECT}`"),
    "schema": (_is_schema, "a schema"),
    "schemas": (
        lambda value: isinstance(value, list) and len(value) > 0 and all(map(_is_schema, value)),
        "a list of schemas",
    ),
    "named schemas": (
        lambda value: isinstance(value, Mapping) and all(map(_is_schema, value.values())),
        "a mapping of names to schemas",
    ),
}


class Keyword(NamedTuple):
    shape: str

    def accepts(self, value: Any) -> bool:
        return bool(SHAPES[self.shape][0](value))

    @property
    def wants(self) -> str:
        return SHAPES[self.shape][1]


def _keywords(shape: str, names: str) -> dict[str, Keyword]:
    return {name: Keyword(shape) for name in names.split()}


KEYWORDS: Mapping[str, Keyword] = {
    **_keywords("dialect", "$schema"),
    **_keywords("text", "title description $comment x-autocomplete"),
    **_keywords("type", "type"),
    **_keywords("format", "format"),
    **_keywords("flag", "readOnly writeOnly deprecated"),
    **_keywords("anything", "default const"),
    **_keywords("values", "enum examples"),
    **_keywords("count", "minLength maxLength minItems maxItems minProperties maxProperties"),
    **_keywords("number", "minimum maximum exclusiveMinimum exclusiveMaximum"),
    **_keywords("positive number", "multipleOf"),
    **_keywords("names", "required x-order"),
    **_keywords("named names", "dependentRequired"),
    **_keywords("named schemas", "properties"),
    **_keywords("schema", "items additionalProperties if then else"),
    **_keywords("schemas", "oneOf anyOf allOf"),
}


def parts_of(schema: Mapping[str, Any]) -> Iterator[tuple[Path, int, Mapping[str, Any]]]:
    """The schema and every schema within it, each with its path and depth."""
    pending: list[tuple[Path, int, Mapping[str, Any]]] = [((), 1, schema)]
    while pending:
        path, depth, part = pending.pop()
        yield path, depth, part
        inner = [((*path, *at), depth + 1, value) for at, value in _inner(part) if isinstance(value, Mapping)]
        pending += reversed(inner)


def _inner(part: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    for key, value in part.items():
        shape = KEYWORDS[key].shape if key in KEYWORDS else ""
        if shape == "schema":
            yield (key,), value
        elif shape == "schemas" and isinstance(value, list):
            yield from (((key, position), inner) for position, inner in enumerate(value))
        elif shape == "named schemas" and isinstance(value, Mapping):
            yield from (((key, name), inner) for name, inner in value.items())


def _part_flaws(part: Mapping[str, Any]) -> Iterator[Flaw]:
    for key, value in part.items():
        if key not in KEYWORDS:
            remedy = REASONS.get(key) or did_you_mean(key, KEYWORDS) or f"Allowed are {listed(KEYWORDS)}."
            yield Flaw((key,), f"The keyword {shown(key)} is not allowed in a schema.", remedy)
        elif not KEYWORDS[key].accepts(value):
            yield Flaw((key,), f"`{key}` is {shown(value)}, which it cannot be.", f"Write {KEYWORDS[key].wants}.")
    properties = part.get("properties")
    if isinstance(properties, Mapping):
        for key in ("required", "x-order"):
            yield from _unknown_names(key, part.get(key), properties)


def _unknown_names(key: str, names: Any, properties: Mapping[str, Any]) -> Iterator[Flaw]:
    if not KEYWORDS[key].accepts(names):
        return
    for position, name in enumerate(names):
        if name not in properties:
            remedy = did_you_mean(name, properties) or f"Add {shown(name)} to `properties`."
            yield Flaw((key, position), f"{shown(name)} is not among the `properties`.", remedy)
