# SPDX-License-Identifier: Apache-2.0
"""`transition`: one process, one thread; a task is completed and the next one opened, entry and hash included.

Held against psycopg doing the least of it in one prepared statement, on the same server; and on both databases
against the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from django.db import connection

from audit import actions
from bench import figures, inside, places, world
from bench.floor import statement
from runs.services import complete_task

ROUNDS = 5
EACH = 500  # transitions in a round
SLICE = 50  # of a round, between which the sides take turns: a slow second meets them both
WARM_UP = 100

Rounds = list[list[float]]  # the seconds of each transition, round by round


def main() -> None:
    world.migrate()
    if connection.vendor == "sqlite":
        print(json.dumps(_p50s(alone(ROUNDS, EACH))))
        return
    with psycopg.connect(places.new_database("floor"), autocommit=True, prepare_threshold=0) as floor:
        mine, least = side_by_side(floor, ROUNDS, EACH)
    on_sqlite = _on_sqlite()
    figures.finish(
        figures.Report(
            "transition",
            bars=[
                figures.Bar(
                    "complete_task on PostgreSQL",
                    "transitions/s",
                    _rates(mine),
                    at_least=0.5,
                    aim=0.75,
                    other=figures.Other("psycopg, one prepared statement", _rates(least)),
                ),
                figures.Bar("p50 on PostgreSQL", "ms", _p50s(mine), at_most=1.0),
                figures.Bar("p50 on SQLite", "ms", on_sqlite, at_most=1.0),
            ],
            faults=faults(ROUNDS, EACH),
        )
    )


def side_by_side(
    floor: psycopg.Connection[tuple[object]], rounds: int, each: int, size: int = SLICE
) -> tuple[Rounds, Rounds]:
    """(our rounds, the floor's), each played in slices by turns."""
    least, mine = _least(floor, rounds * each), _complete(rounds * each)
    sides: tuple[Rounds, Rounds] = [], []
    for _ in range(rounds):
        slices = [(_timed(mine, size), _timed(least, size)) for _ in range(each // size)]
        for side, played in zip(sides, zip(*slices, strict=True), strict=True):
            side.append([took for part in played for took in part])
    return sides


def alone(rounds: int, each: int) -> Rounds:
    once = _complete(rounds * each)
    return [_timed(once, each) for _ in range(rounds)]


def faults(rounds: int, each: int) -> list[str]:
    wanted, found = rounds * each + WARM_UP, world.entries(actions.TASK_COMPLETED, world.TWO_AGENTS)
    return [] if found == wanted else [f"{found} entries of {wanted} completed tasks"]


def _complete(count: int) -> Callable[[], None]:
    """Complete the next of so many tasks; warmed up."""
    people = world.people()
    numbers = iter(world.leased(world.publish(world.TWO_AGENTS), people.validator, count + WARM_UP))

    def once() -> None:
        complete_task(
            task_id=next(numbers),
            actor=people.validator,
            token=world.TOKEN,
            outcome="PASS",
            output=world.OUTPUT,
            note="ok",
        )

    _timed(once, WARM_UP)
    return once


def _least(floor: psycopg.Connection[tuple[object]], count: int) -> Callable[[], None]:
    """The same for the floor."""
    statement.make_tables(floor)
    numbers = iter(statement.claimed(floor, count + WARM_UP))
    once = lambda: statement.transition(floor, next(numbers))  # noqa: E731
    _timed(once, WARM_UP)
    return once


def _timed(once: Callable[[], None], times: int) -> list[float]:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        once()
        took.append(time.perf_counter() - began)
    return took


def _rates(rounds: Rounds) -> list[float]:
    return [len(took) / sum(took) for took in rounds]


def _p50s(rounds: Rounds) -> list[float]:
    return [1000 * figures.percentile(took, 50) for took in rounds]


def _on_sqlite() -> list[float]:
    """The same in a process of its own, whose database is a file."""
    with tempfile.TemporaryDirectory(prefix="hms-act-bench-") as folder:
        environment = {**os.environ, "DATABASE_URL": f"sqlite:///{Path(folder) / 'bench.sqlite3'}"}
        said = subprocess.run(
            inside.command("transition"), env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
    return list(json.loads(said.stdout))
