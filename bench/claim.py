# SPDX-License-Identifier: Apache-2.0
"""`claim`: a claim takes as long from a million due tasks as from ten thousand.

Beside the million stand 200,000 more urgent tasks that are not yet due: a queue that looked at the clock would read
past all of them each time. Each queue has a database of its own; they are claimed from by turns.
"""

from __future__ import annotations

from contextlib import ExitStack

from bench import figures, inside, places
from bench.contest import Contestant, alternate

ROUNDS = 5
CLAIMS = 300  # in a round
WARM_UP = 100
SHORT, LONG = "10,000 due", "1,000,000 due, 200,000 not yet"
ROWS = {SHORT: (10_000, 0), LONG: (1_000_000, 200_000)}


def main() -> None:
    with ExitStack() as stack:
        queues = {name: stack.enter_context(_queue(name)) for name in (SHORT, LONG)}
        for name, (due, not_yet_due) in ROWS.items():
            queues[name].play(due=due, not_yet_due=not_yet_due)
        alternate(queues.values(), 1, claims=WARM_UP)
        played = alternate(queues.values(), ROUNDS, claims=CLAIMS)
    p50s = {name: [one["p50_ms"] for one in rounds] for name, rounds in played.items()}
    short = figures.Other(f"p50 with {SHORT}", p50s[SHORT])
    figures.finish(
        figures.Report(
            "claim",
            bars=[figures.Bar(f"p50 with {LONG}", "ms", p50s[LONG], at_most=1.3, other=short)],
            faults=[f"{name}: {fault}" for name, rounds in played.items() for fault in rounds[-1]["faults"]],
        )
    )


def _queue(name: str) -> Contestant:
    database = "claim_" + name.partition(",")[0]
    environment = places.environment(places.new_database(database))
    return Contestant(name, inside.command("claimer"), environment, places.var() / "log" / f"{database}.log")
