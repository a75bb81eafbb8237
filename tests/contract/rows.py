# SPDX-License-Identifier: Apache-2.0
"""What a row of the table of addresses is, and the words that its parts share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.contract.world import World
from tests.factories import PERMIT

ADMINISTRATORS = ("administrator", "superuser")
AUTHORS = ("author", *ADMINISTRATORS)
STARTERS = ("agent", "foreign_agent", *ADMINISTRATORS)
ASKERS = ("agent", "foreign_agent", "service", "liaison", *ADMINISTRATORS)

NEW_PASSWORD = "another-horse-battery"
WHY = {"reason": "It was lost."}
FRESH = {**PERMIT, "id": "fresh"}

Path = Callable[[World], str]
Body = Callable[[World, str], Mapping[str, Any]]  # of the world and the caller's name


@dataclass(frozen=True)
class Act:
    method: str
    to: Sequence[str]
    body: Body | Mapping[str, Any]
    at: Path | None = None  # where it is another object's than the row's first

    def sent(self, world: World, caller: str) -> Mapping[str, Any]:
        return self.body(world, caller) if callable(self.body) else self.body


@dataclass(frozen=True)
class Row:
    route: str  # as the resolver has it
    at: tuple[Path, ...]  # the addresses it is tried at
    acts: tuple[Act, ...] = ()
    is_public: bool = False  # read without any credential

    @property
    def is_page(self) -> bool:
        return self.route.startswith(("admin/", "forms/")) or self.route in {"", "healthz", "readyz"}


def row(route: str, *acts: Act, at: Path | str | Sequence[Path] | None = None, public: bool = False) -> Row:
    if at is None:
        at = f"/{route}"
    places: Sequence[Path] = [_constant(at)] if isinstance(at, str) else [at] if callable(at) else at
    return Row(route, tuple(places), acts, public)


def _constant(path: str) -> Path:
    return lambda world: path
