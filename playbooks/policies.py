# SPDX-License-Identifier: Apache-2.0
"""How the rooms below reach what the room above knows of policies: what is wrong with one, and whom it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from playbooks.places import Flaw


@dataclass(frozen=True, slots=True)
class Needed:
    """So many people of a role must approve."""

    role: str
    approvals: int
    at: tuple[str | int, ...] = ()  # where the policy says so


@dataclass(frozen=True, slots=True)
class Reader:
    flaws: Callable[[Mapping[str, Any]], Sequence[Flaw]]
    """What is wrong with a written policy by itself; places are counted from the policy."""

    needs: Callable[[Mapping[str, Any], str], Sequence[Needed] | None]
    """(policy without flaws, role of its step) → who must approve; None: it names a policy that is not published."""


_readers: list[Reader] = []


def register(reader: Reader) -> None:
    _readers[:] = [reader]


def reader() -> Reader | None:
    return _readers[0] if _readers else None
