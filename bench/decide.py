# SPDX-License-Identifier: Apache-2.0
"""`decide`: twenty people decide one request at the same moment, two hundred times; and what one decision costs.

One wins, and nineteen are told that it is decided. The statements of a decision on a human step are held against those
of a completed agent step.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from approvals.asking import create_request
from approvals.models import ActionRequest, Vote
from approvals.services import decide
from audit import actions
from audit.models import Entry
from bench import figures, world
from config.errors import AlreadyDecided, Refused
from runs.models import TaskState
from runs.services import complete_task

ROUNDS = 200
AT_ONCE = 20
ROLE = "human:panel"
WON, LOST = "won", "409"


def main() -> None:
    world.migrate()
    people = world.people()
    panel = [world._user(f"judge-{number}", "human", ROLE) for number in range(AT_ONCE)]
    rounds = [contest(people, panel, number) for number in range(ROUNDS)]
    mine, theirs = statements(people)
    figures.finish(
        figures.Report(
            "decide",
            bars=[
                figures.Bar(f"p95 of a round of {AT_ONCE}", "ms", [figures.percentile([t for t, _ in rounds], 95)]),
                figures.Bar(
                    "decide()", "statements", [mine], at_most=1.5, other=figures.Other("complete_task()", [theirs])
                ),
            ],
            beside={"rounds": ROUNDS, "deciders": AT_ONCE},
            faults=faults([told for _, told in rounds]),
        )
    )


def contest(people: world.World, panel: list[User], number: int) -> tuple[float, Counter[str]]:
    """(how long the round took in ms, what the deciders were told)."""
    request = create_request(actor=people.validator, title=f"Round {number}", role=ROLE)
    told: Counter[str] = Counter()
    gate = threading.Barrier(len(panel) + 1)

    def vote(judge: User) -> None:
        gate.wait(60)
        try:
            decide(request_id=request.pk, actor=judge, outcome="PASS", reason=judge.username)
            told[WON] += 1
        except AlreadyDecided as refused:
            told[str(refused.status)] += 1
        except Refused as refused:
            told[refused.code] += 1
        finally:
            connections.close_all()

    threads = [threading.Thread(target=vote, args=[judge]) for judge in panel]
    for thread in threads:
        thread.start()
    gate.wait(60)
    began = time.perf_counter()
    for thread in threads:
        thread.join(120)
    return 1000 * (time.perf_counter() - began), told


def statements(people: world.World) -> tuple[float, float]:
    """How many statements (a decision on a human step, the completion of an agent step) take, once warm."""
    tasks = iter(world.leased(world.publish(world.PERMIT3), people.validator, 6))

    def complete() -> None:
        complete_task(task_id=next(tasks), actor=people.validator, token=world.TOKEN, outcome="PASS", output={})

    def answer() -> None:
        waiting = ActionRequest.objects.filter(task__state=TaskState.AWAITING_APPROVAL, state="pending")
        pk = waiting.values_list("pk", flat=True)[0]
        with CaptureQueriesContext(connection) as seen:
            decide(request_id=pk, actor=people.liaison, outcome="PASS")
        answered.append(float(len(seen)))

    answered: list[float] = []
    completed = [_counted(complete) for _ in range(6)]
    for _ in range(6):
        answer()
    return answered[-1], completed[-1]


def _counted(act: Callable[[], None]) -> float:
    with CaptureQueriesContext(connection) as seen:
        act()
    return float(len(seen))


def faults(told: list[Counter[str]]) -> list[str]:
    odd = [dict(each) for each in told if each != Counter({WON: 1, LOST: AT_ONCE - 1})]
    panel = ActionRequest.objects.filter(role=ROLE)
    wanted = {
        "fulfilled requests": (panel.filter(state="fulfilled").count(), ROUNDS),
        "votes": (Vote.objects.filter(request__role=ROLE).count(), ROUNDS),
        "decisions in the log": (
            Entry.objects.filter(action=actions.REQUEST_FULFILLED, request_id__in=panel.values("pk")).count(), ROUNDS,
        ),
    }  # fmt: skip
    wrong = [f"{found} {name}, and not {right}" for name, (found, right) in wanted.items() if found != right]
    return [*(f"a round ended with {each}" for each in odd[:3]), *wrong]
