# SPDX-License-Identifier: Apache-2.0
"""The description of the API as a test reads it: what it does not name is not there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from config.openapi import description


def closed_description() -> dict[str, Any]:
    """A copy in which no answer has a field but those that are named."""
    document: dict[str, Any] = copy.deepcopy(description())
    for component in _objects(document["components"]):
        component.setdefault("additionalProperties", False)
    return document


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("type") == "object" and "properties" in value:
            yield value
        for inner in value.values():
            yield from _objects(inner)
