# SPDX-License-Identifier: Apache-2.0
"""Contestants: processes that each do the same work when they are told to, one after another, round by round.

A contestant is a program that calls `serve`. It says that it is ready, plays a round for each line it reads, and
ends when there is nothing more to read; so it ends with whoever started it. Nothing here needs more than Python,
because peers run in environments of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.taken import cpu_seconds, family

ROOT = Path(__file__).resolve().parent.parent
END_SECONDS = 30


class Contestant:
    """One such process, as its caller sees it."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def __enter__(self) -> Contestant:
        try:
            self.about = self._answer()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def play(self, **asked: Any) -> dict[str, Any]:
        """What came of one round, and `cpu`: the seconds of processor time that its processes took for it."""
        assert self._process.stdin is not None
        everybody = family(self._process.pid)
        before = cpu_seconds(everybody)
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        answer = self._answer()
        return {**answer, "cpu": cpu_seconds(everybody) - before}

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: {self.name} ended by itself; {self.log} says:\n{self.log.read_text()[-3000:]}")
        return dict(json.loads(line))

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def serve(play: Callable[..., Mapping[str, Any]], **about: Any) -> None:
    """Be a contestant: `play` is called with what is asked for each round. Returns when there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(play(**json.loads(line))), file=answers, flush=True)


def alternate(contestants: Iterable[Contestant], rounds: int, **asked: Any) -> dict[str, list[dict[str, Any]]]:
    """Name → what came of each round; the contestants take turns, so that a slow minute meets them all."""
    in_turn = list(contestants)
    played: dict[str, list[dict[str, Any]]] = {each.name: [] for each in in_turn}
    for _ in range(rounds):
        for each in in_turn:
            played[each.name].append(each.play(**asked))
    return played


def drive(callers: ThreadPoolExecutor, count: int, seconds: float, once: Callable[[], float]) -> dict[str, Any]:
    """Let `count` callers do `once` over and over for so long; {per_second, done, p50_ms, p99_ms}.

    `once` returns how many seconds it took. What has begun in time is waited for, and counts.
    """
    began = time.monotonic()
    end = began + seconds

    def call() -> list[float]:
        took = []
        while time.monotonic() < end:
            took.append(once())
        return took

    each = [callers.submit(call) for _ in range(count)]
    took = sorted(one for caller in each for one in caller.result())
    passed = time.monotonic() - began
    return {
        "done": len(took),
        "per_second": len(took) / passed,
        "p50_ms": 1000 * took[len(took) // 2],
        "p99_ms": 1000 * took[len(took) * 99 // 100],
    }
