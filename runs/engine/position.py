# SPDX-License-Identifier: Apache-2.0
"""How far a run has come: a value as large as what is open, however many tasks there have been.

In JSON:

    {"v": 1, "blocks": {"": 2, "check": [200, 64, 16, "ffff0000ffff", "0"]}, "undo": ["charge"]}

`blocks[""]` is the index of the playbook's step that is under way. Each parallel or foreach step that is open has a
`Fan` under its path: total, next, running, and the numbers of the branches that have passed and failed, as bits.
Within a branch, the path of what happens says all there is to know, so nothing is kept of it. `undo` are the paths of
completed steps that have a `compensate`, the last completed last: it alone grows with the run, by those steps only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runs.engine.moves import Cancelled, Fail
from runs.engine.paths import ROOT

VERSION = 1


@dataclass(frozen=True, slots=True)
class Fan:
    """How far a parallel or foreach step has come. `passed` and `failed` are sets of branch numbers, as bits."""

    total: int
    next: int = 0  # branches from here on have not begun
    running: int = 0
    passed: int = 0
    failed: int = 0

    @property
    def arrivals(self) -> int:
        return (self.passed | self.failed).bit_count()

    @property
    def following(self) -> int | None:
        """The branch to begin next: the first that has not begun and has not passed in an earlier try."""
        number = self.next
        while self.passed >> number & 1:
            number += 1
        return number if number < self.total else None

    def is_running(self, number: int) -> bool:
        return self.running > 0 and number < self.next and not (self.passed | self.failed) >> number & 1

    def begun(self, number: int) -> Fan:
        return replace(self, next=number + 1, running=self.running + 1)

    def arrived(self, number: int, *, passed: bool) -> Fan:
        assert self.is_running(number), f"branch {number} has arrived already, or never began"
        if passed:
            return replace(self, running=self.running - 1, passed=self.passed | 1 << number)
        return replace(self, running=self.running - 1, failed=self.failed | 1 << number)

    def stopped(self) -> Fan:
        """No branch runs any more, and none begins."""
        return replace(self, next=self.total, running=0)

    def again(self) -> Fan:
        """From the start, but for the branches that have passed."""
        return replace(self, next=0, running=0, failed=0)

    def as_json(self) -> list[int | str]:
        return [self.total, self.next, self.running, f"{self.passed:x}", f"{self.failed:x}"]

    @classmethod
    def from_json(cls, data: list[Any]) -> Fan:
        total, following, running, passed, failed = data
        return cls(total, following, running, int(passed, 16), int(failed, 16))


@dataclass(frozen=True, slots=True)
class Undoing:
    """The step at `path` is being undone; when all is undone, the run ends by `then`."""

    path: str
    then: Fail | Cancelled

    def as_json(self) -> list[str]:
        then = [] if isinstance(self.then, Cancelled) else [self.then.step_id, self.then.path, self.then.reason]
        return [self.path, *then]

    @classmethod
    def from_json(cls, data: list[str]) -> Undoing:
        path, *then = data
        return cls(path, Fail(*then) if then else Cancelled())


@dataclass(frozen=True, slots=True)
class Position:
    blocks: Mapping[str, int | Fan] = field(default_factory=dict)
    undo: tuple[str, ...] = ()
    undoing: Undoing | None = None

    def fan(self, path: str) -> Fan | None:
        found = self.blocks.get(path)
        return found if isinstance(found, Fan) else None

    def as_json(self) -> dict[str, Any]:
        blocks = {path: block.as_json() if isinstance(block, Fan) else block for path, block in self.blocks.items()}
        document: dict[str, Any] = {"v": VERSION, "blocks": blocks}
        if self.undo:
            document["undo"] = list(self.undo)
        if self.undoing is not None:
            document["undoing"] = self.undoing.as_json()
        return document

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Position:
        """Also of runs that were begun when a position was no more than `{"": index}`."""
        if "v" not in data:
            return cls({ROOT: data[ROOT]} if ROOT in data else {})
        assert data["v"] == VERSION, f"a position of version {data['v']} was written by a newer HMS-ACT"
        blocks = {
            path: block if isinstance(block, int) else Fan.from_json(block) for path, block in data["blocks"].items()
        }
        undoing = Undoing.from_json(data["undoing"]) if "undoing" in data else None
        return cls(blocks, tuple(data.get("undo", ())), undoing)
