# SPDX-License-Identifier: Apache-2.0
"""`http`: `POST /acts/tasks/{id}/complete` over 16 connections, held against a minimal DRF view with three writes.

Both are served by two forked processes of uvicorn with one thread each, on the same PostgreSQL server, and look up the
token of every request. Ours counts calls against its rate limits, records the entry and answers with the task.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import psycopg

from accounts.models import User
from audit import actions
from bench import figures, load, places, servers, world
from bench.floor import statement

ROUNDS = 5
CONNECTIONS = 16
SECONDS = 4.0
WARM_UP_SECONDS = 2.0
GUESS = 500.0  # requests a second, at least; a round may have met a minute in which the machine did something else

OURS, THREE_WRITES, ONE_STATEMENT = "HMS-ACT", "DRF view, three writes by the ORM", "DRF view, one statement"
BODY = json.dumps({"token": world.TOKEN, "outcome": "PASS", "output": world.OUTPUT, "note": "ok"}).encode()


@dataclass
class Side:
    """A view that completes tasks."""

    name: str
    address: str
    path: str
    authorization: str
    claimed: Callable[[int], Sequence[int]]  # makes so many tasks that can be completed
    loads: list[load.Load] = field(default_factory=list)  # the first of them warms up, and counts for nothing

    def play(self, seconds: float) -> None:
        fastest = max([GUESS, *(each.per_second for each in self.loads)])
        tasks = self.claimed(int(2 * fastest * seconds) + CONNECTIONS)
        requests = [load.request(self.address, self.path.format(n), self.authorization, BODY) for n in tasks]
        self.loads.append(load.post(self.address, iter(requests), connections=CONNECTIONS, seconds=seconds))

    def rates(self) -> list[float]:
        return [each.per_second for each in self.loads[1:]]

    def p99s(self) -> list[float]:
        return [1000 * figures.percentile(each.took, 99) for each in self.loads[1:]]

    def answered(self) -> int:
        return sum(len(each.took) for each in self.loads)


def main() -> None:
    world.migrate()
    validator = world.people().validator
    url = places.new_database("floor")
    with ExitStack() as stack:
        database = stack.enter_context(psycopg.connect(url, autocommit=True))
        address, _ = stack.enter_context(servers.web(os.environ))
        mine, least = ours(address, validator), stack.enter_context(floor(url, database))
        for seconds in (WARM_UP_SECONDS, *[SECONDS] * ROUNDS):
            for side in (mine, *least):
                side.play(seconds)
        wrong = faults(mine, least, database)
    three_writes, one_statement = least
    figures.finish(
        figures.Report(
            "http",
            bars=[
                figures.Bar("complete", "requests/s", mine.rates(), at_least=1.0, other=_rates(three_writes)),
                figures.Bar("p99", "ms", mine.p99s(), at_most=1.5, other=_p99s(three_writes)),
                figures.Bar("complete, the aim", "requests/s", mine.rates(), aim=0.75, other=_rates(one_statement)),
            ],
            beside={"connections": CONNECTIONS, "p50, ms": {side.name: _p50(side) for side in (mine, *least)}},
            faults=wrong,
        )
    )


def ours(address: str, validator: User) -> Side:
    version, key = world.publish(world.TWO_AGENTS), world.key_of(validator)

    def claimed(count: int) -> list[int]:
        return world.leased(version, validator, count)

    return Side(OURS, address, "/acts/tasks/{}/complete", f"Bearer {key}", claimed)


@contextmanager
def floor(url: str, database: psycopg.Connection[tuple[object]]) -> Iterator[list[Side]]:
    """The two views of the floor, behind one server."""
    environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "bench.floor.settings"}
    prepare = [sys.executable, "-m", "bench.floor.prepare"]
    made = subprocess.run(prepare, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    statement.make_tables(database)
    views = {THREE_WRITES: "/three-writes/{}/complete", ONE_STATEMENT: "/one-statement/{}/complete"}

    def claimed(count: int) -> range:
        return statement.claimed(database, count)

    with servers.web(environment, "bench.floor.asgi:application") as (address, _):
        yield [Side(name, address, path, f"Token {made.stdout.strip()}", claimed) for name, path in views.items()]


def faults(mine: Side, least: Sequence[Side], database: psycopg.Connection[tuple[object]]) -> list[str]:
    found = []
    for side in (mine, *least):
        statuses = load.taken_together(side.loads)
        if set(statuses) != {200}:
            found.append(f"{side.name} answered {dict(statuses)}")
    if (entries := world.entries(actions.TASK_COMPLETED, world.TWO_AGENTS)) != mine.answered():
        found.append(f"{entries} entries of {mine.answered()} completed tasks")
    done = database.execute("SELECT count(*) FROM task WHERE state = 'done'").fetchone()
    if done != (wanted := sum(side.answered() for side in least),):
        found.append(f"the floor has {done} done tasks of {wanted}")
    return found


def _rates(side: Side) -> figures.Other:
    return figures.Other(side.name, side.rates())


def _p99s(side: Side) -> figures.Other:
    return figures.Other(side.name, side.p99s())


def _p50(side: Side) -> float:
    took = [one for each in side.loads[1:] for one in each.took]
    return float(figures.rounded(1000 * figures.percentile(took, 50)))
