# SPDX-License-Identifier: Apache-2.0
"""Which parts of a JSON Schema ask for a secret: those marked `writeOnly`, or of `format: password`.

A value is secret as a whole, by the name it has in the answer: if any part of an object is to be kept secret, all of
it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from playbooks.json_schema import parts_of

Schema = Mapping[str, Any]
ALTERNATIVES = ("allOf", "anyOf", "oneOf")
CONDITIONS = ("if", "then", "else")


def is_secret(part: Schema) -> bool:
    return part.get("writeOnly") is True or part.get("format") == "password"


def holds_secret(schema: Any) -> bool:
    return isinstance(schema, Mapping) and any(is_secret(part) for _, _, part in parts_of(schema))


def secret_names(schema: Schema, names: Iterable[str]) -> frozenset[str]:
    """Those of the names of an object's members whose values are secret under this schema."""
    sides = list(_sides(schema))
    return frozenset(name for name in names if any(_is_secret_in(side, name) for side in sides))


def _sides(schema: Schema) -> Iterator[Schema]:
    """The schema, and all that say something of the same object."""
    yield schema
    beside = [*(part for key in ALTERNATIVES for part in schema.get(key, ())), *map(schema.get, CONDITIONS)]
    for part in beside:
        if isinstance(part, Mapping):
            yield from _sides(part)


def _is_secret_in(side: Schema, name: str) -> bool:
    if is_secret(side):
        return True
    declared = side.get("properties", {})
    return holds_secret(declared[name] if name in declared else side.get("additionalProperties"))
