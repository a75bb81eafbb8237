# SPDX-License-Identifier: Apache-2.0
"""`timers`: ten thousand sleeping waits cost an idle worker next to nothing, and a due one starts at once."""

from __future__ import annotations

import os
import time
from datetime import timedelta

from bench import figures, servers, world
from bench.taken import cpu_seconds, family
from config import clock
from runs.models import Task, TaskState
from runs.services import start_run

ROUNDS = 5
SECONDS = 6.0  # of a round
SETTLE_SECONDS = 5.0
SLEEPING = 10_000
DUE = 200  # timers that end in a round, spread over DUE_SECONDS
DUE_SECONDS = 5.0

SLEEPER = {"id": "sleeper", "steps": [{"id": "rest", "type": "wait", "duration": "30d"}]}
ALARM = {"id": "alarm", "steps": [{"id": "rest", "type": "wait", "until": "payload.at"}]}


def main() -> None:
    world.migrate()
    people = world.people()
    world.publish(SLEEPER)
    world.publish(ALARM)
    put_to_sleep(people, SLEEPING)
    with servers.worker(os.environ) as worker:
        time.sleep(SETTLE_SECONDS)
        idle = [busy_percent(worker.pid, SECONDS) for _ in range(ROUNDS)]
        late = [lateness_ms(people, DUE, DUE_SECONDS) for _ in range(ROUNDS)]
    figures.finish(
        figures.Report(
            "timers",
            bars=[
                figures.Bar("p99 of a due timer's delay", "ms", [p99(one) for one in late], at_most=250),
                figures.Bar(f"a worker with {SLEEPING:,} sleeping waits", "% of one core", idle, at_most=5),
            ],
            beside={"p50, ms": figures.rounded(figures.percentile([each for one in late for each in one], 50))},
            faults=faults(SLEEPING),
        )
    )


def put_to_sleep(people: world.World, count: int) -> None:
    for _ in range(count):
        start_run(actor=people.starter, playbook="sleeper", payload={})
    Task.objects.filter(step="rest", next_check_at__lte=clock.now()).update(
        next_check_at=clock.now() + timedelta(hours=6)  # as the timer's first look leaves them
    )
    world.analyze()


def busy_percent(pid: int, seconds: float) -> float:
    everybody = family(pid)
    before, began = cpu_seconds(everybody), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_seconds(everybody) - before) / (time.monotonic() - began)


def lateness_ms(people: world.World, count: int, seconds: float) -> list[float]:
    """How long after their moment so many waits ended, which the worker is not told of otherwise."""
    first = clock.now() + timedelta(seconds=3 + count / 100)  # after all of them have been started
    runs = []
    for number in range(count):
        at = first + timedelta(seconds=seconds * number / count)
        runs.append(start_run(actor=people.starter, playbook="alarm", payload={"at": at.isoformat()}).pk)
    waiting = Task.objects.filter(run__in=runs)
    end = time.monotonic() + seconds + 60
    while waiting.filter(state=TaskState.PENDING).exists():
        assert time.monotonic() < end, "some timer never ended"
        time.sleep(0.2)
    ended = waiting.values_list("wake_at", "ended_at")
    return [(done - due).total_seconds() * 1000 for due, done in ended if due is not None and done is not None]


def p99(values: list[float]) -> float:
    return figures.percentile(values, 99)


def faults(sleeping: int) -> list[str]:
    still = Task.objects.filter(run__version__playbook__slug="sleeper", state=TaskState.PENDING).count()
    return [] if still == sleeping else [f"{still} of {sleeping} waits still sleep"]
