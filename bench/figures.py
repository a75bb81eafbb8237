# SPDX-License-Identifier: Apache-2.0
"""What a case says at its end: one JSON line, its figures held against what was measured beside them.

A figure is one value of each round; what is told is their median and their spread. A ratio is between medians,
and its spread between the two values of each round, which were measured right after one another.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DIGITS = 4  # that are told of a figure


@dataclass(frozen=True)
class Other:
    """What a figure is held against: a floor, or a peer, measured in the same run in alternating rounds."""

    name: str
    rounds: Sequence[float]
    is_peer: bool = False

    @property
    def word(self) -> str:
        return "peer" if self.is_peer else "floor"


@dataclass(frozen=True)
class Bar:
    """A figure, and the bar it has to take: by itself, or in proportion to another's."""

    name: str
    unit: str
    rounds: Sequence[float]
    at_least: float | None = None
    at_most: float | None = None
    other: Other | None = None
    aim: float | None = None

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.rounds) / statistics.median(self.other.rounds) if self.other else None

    @property
    def ok(self) -> bool:
        judged = statistics.median(self.rounds) if self.ratio is None else self.ratio
        return (self.at_least is None or judged >= self.at_least) and (self.at_most is None or judged <= self.at_most)

    def told(self) -> dict[str, Any]:
        said: dict[str, Any] = {"name": self.name, **spread(self.rounds), "unit": self.unit}
        if self.other is not None:
            said[self.other.word] = {"name": self.other.name, **spread(self.other.rounds)}
            said["ratio"] = rounded(self.ratio)
            said["ratio_spread"] = self._ratio_spread()
        return {**said, "bar": self._bar(), **({} if self.aim is None else {"aim": self.aim}), "ok": self.ok}

    def _ratio_spread(self) -> list[float]:
        assert self.other is not None
        pairs = [mine / theirs for mine, theirs in zip(self.rounds, self.other.rounds, strict=True)]
        return [rounded(min(pairs)), rounded(max(pairs))]

    def _bar(self) -> str:
        judged = self.unit if self.other is None else "x"
        limits = [(">=", self.at_least), ("<=", self.at_most)]
        return " and ".join(f"{sign} {limit:g} {judged}" for sign, limit in limits if limit is not None) or "none"


@dataclass
class Report:
    """The first bar is what the case is about. `faults` are wrong results: then no figure counts."""

    case: str
    bars: Sequence[Bar]
    beside: Mapping[str, Any] = field(default_factory=dict)
    faults: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        return not self.faults and all(bar.ok for bar in self.bars)

    def line(self) -> str:
        main, *also = (bar.told() for bar in self.bars)
        told = {"case": self.case, **main, "also": also, "beside": self.beside}
        return json.dumps({**told, "faults": list(self.faults), "machine": machine(), "ok": self.ok})


def finish(report: Report) -> None:
    """Say it, and end with 1 if a bar is missed or a result was wrong."""
    print(report.line(), flush=True)
    sys.exit(0 if report.ok else 1)


def spread(rounds: Sequence[float]) -> dict[str, Any]:
    return {
        "figure": rounded(statistics.median(rounds)),
        "min": rounded(min(rounds)),
        "max": rounded(max(rounds)),
        "rounds": len(rounds),
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]


def rounded(value: float | None) -> Any:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "load": [rounded(load) for load in os.getloadavg()],
        "python": platform.python_version(),
    }
