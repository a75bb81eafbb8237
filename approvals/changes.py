# SPDX-License-Identifier: Apache-2.0
"""How two JSON values differ, place by place, and whether the difference only narrows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class Changed:
    """At `path` (`action.input.amount`); `has_before` and `has_after` tell null from nothing."""

    path: str
    before: Any = None
    after: Any = None
    has_before: bool = True
    has_after: bool = True

    def as_json(self) -> dict[str, Any]:
        said: dict[str, Any] = {"path": self.path}
        if self.has_before:
            said["before"] = self.before
        if self.has_after:
            said["after"] = self.after
        return said


def changes_between(before: Any, after: Any, path: str = "") -> list[Changed]:
    """In the order of the values' own keys. Lists that differ in length are one change, as are values of two types."""
    return list(_changes(before, after, path))


def _changes(before: Any, after: Any, path: str) -> Iterator[Changed]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            there = f"{path}.{name}" if path else str(name)
            yield from _changes(before.get(name, _MISSING), after.get(name, _MISSING), there)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _changes(old, new, f"{path}[{number}]")
    elif before is _MISSING:
        yield Changed(path, after=after, has_before=False)
    elif after is _MISSING:
        yield Changed(path, before=before, has_after=False)
    elif not _same(before, after):
        yield Changed(path, before, after)


def _same(before: Any, after: Any) -> bool:
    """True and 1 are two values, as they are in JSON."""
    return type(before) is type(after) and before == after


def only_narrows(before: Any, after: Any, narrowing: Mapping[str, str]) -> bool:
    """Whether every change is one that `narrowing` (dotted path → down | subset) allows. No change narrows nothing."""
    found = changes_between(before, after)
    places = {_place(change.path, narrowing) for change in found}
    return bool(found) and all(
        place is not None and _narrows(narrowing[place], _at(before, place), _at(after, place)) for place in places
    )


def _place(path: str, narrowing: Mapping[str, str]) -> str | None:
    return next((place for place in narrowing if path == place or path.startswith(f"{place}[")), None)


def _at(value: Any, place: str) -> Any:
    for name in place.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _narrows(how: str, before: Any, after: Any) -> bool:
    if how == "down":
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (before, after))
        return numbers and 0 <= after < before
    is_lists = isinstance(before, Sequence) and isinstance(after, Sequence) and not isinstance(after, str)
    return is_lists and bool(after) and all(one in before for one in after)
