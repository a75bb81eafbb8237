# SPDX-License-Identifier: Apache-2.0
"""`composite`: a step costs the same in a run of 200 branches, of 1,000 items or of 500 steps as in one of three.

Time and statements of a whole run (its start, every claim, every completion) are divided by its steps. The shapes take
turns in one process. What every step sees of earlier outputs is part of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from django.db import connection

from bench import figures, world
from playbooks.models import Version
from runs.models import Run
from runs.services import claim_tasks, complete_task, start_run

ROUNDS = 5
BATCH = 20  # tasks in one claim, as an agent with much to do asks for
AT_MOST = 1.5  # of what a step of the smallest run costs
SMALL = "3 steps"


def _agent(name: str) -> dict[str, Any]:
    return {"id": name, "role": world.AGENT}


def shapes(branches: int = 200, items: int = 1000, steps: int = 500) -> Mapping[str, tuple[dict[str, Any], int]]:
    """Name → (document, how many steps its agents do)."""
    fan = {"id": "fan", "type": "parallel", "branches": [{"steps": [_agent(f"b{n}")]} for n in range(branches)]}
    each = {"id": "each", "type": "foreach", "items": "payload.items", "steps": [_agent("item")]}
    return {
        SMALL: ({"id": "small", "steps": [_agent(f"s{n}") for n in range(3)]}, 3),
        f"{branches} parallel branches": ({"id": "fan", "steps": [fan]}, branches),
        f"{items} foreach items": ({"id": "each", "steps": [each]}, items),
        f"{steps} steps": ({"id": "long", "steps": [_agent(f"s{n}") for n in range(steps)]}, steps),
    }


def main() -> None:
    world.migrate()
    people = world.people()
    wanted = shapes()
    times: dict[str, list[float]] = {name: [] for name in wanted}
    counts: dict[str, float] = {}
    versions = {name: world.publish(document) for name, (document, _) in wanted.items()}
    for name, (_, steps) in wanted.items():
        counts[name] = _counted(lambda name=name, steps=steps: play(versions[name], people, steps)) / steps  # type: ignore[misc]
    world.analyze()
    for _ in range(ROUNDS):
        for name, (_, steps) in wanted.items():
            times[name].append(per_step_ms(versions[name], people, steps))
    small = figures.Other(SMALL, times[SMALL])
    least = figures.Other(SMALL, [counts[SMALL]])
    large = [name for name in wanted if name != SMALL]
    figures.finish(
        figures.Report(
            "composite",
            bars=[
                *(figures.Bar(f"a step of {name}", "ms", times[name], at_most=AT_MOST, other=small) for name in large),
                *(
                    figures.Bar(f"statements a step of {name}", "", [counts[name]], at_most=AT_MOST, other=least)
                    for name in large
                ),
            ],
            faults=faults(),
        )
    )


def per_step_ms(version: Version, people: world.World, steps: int) -> float:
    """Of one run; of small ones so many that they are as many steps together as a large one has."""
    runs = max(1, 300 // steps)
    began = time.perf_counter()
    for _ in range(runs):
        play(version, people, steps)
    return (time.perf_counter() - began) * 1000 / (runs * steps)


def play(version: Version, people: world.World, steps: int) -> None:
    """One run from its start to its end."""
    start_run(actor=people.starter, playbook=version.playbook.slug, payload={"items": list(range(steps))})
    done = 0
    while done < steps:
        for lease in claim_tasks(role=world.AGENT, actor=people.validator, limit=BATCH):
            complete_task(
                task_id=lease.task.pk, actor=people.validator, token=lease.token, outcome="PASS", output=world.OUTPUT
            )
            done += 1


def faults() -> list[str]:
    unfinished = Run.objects.exclude(state="completed").count()
    return [f"{unfinished} runs are not completed"] if unfinished else []


def _counted(play_once: Callable[[], None]) -> int:
    count = 0

    def one(execute: Any, *args: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*args)

    with connection.execute_wrapper(one):
        play_once()
    return count
