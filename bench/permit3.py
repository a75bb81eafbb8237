# SPDX-License-Identifier: Apache-2.0
"""`permit3`: runs of three steps (an agent's, a person's decided in a second process, a service's), 16 at a time.

HMS-ACT through its service functions, held against DBOS on the same PostgreSQL server and against Restate; what
HMS-ACT does over HTTP, with its real web and worker processes, is told beside it.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from statistics import median
from typing import Any

from bench import figures, inside, places
from bench.contest import Contestant, alternate
from bench.peers import install

ROUNDS = 5
CONCURRENCY = 16
SECONDS = 6.0
WARM_UP_SECONDS = 3.0

DATABASES = ("permit3", "permit3_http", "permit3_dbos")
OURS, OVER_HTTP, DBOS, RESTATE = "HMS-ACT", "HMS-ACT over HTTP", "DBOS", "Restate"


def main() -> None:
    with ExitStack() as stack:
        contestants = [stack.enter_context(contestant) for contestant in _contestants()]
        alternate(contestants, 1, concurrency=CONCURRENCY, seconds=WARM_UP_SECONDS)
        places.analyze(*DATABASES)
        played = alternate(contestants, ROUNDS, concurrency=CONCURRENCY, seconds=SECONDS)
        about = {each.name: each.about for each in contestants if each.about}
    rates = {name: [one["per_second"] for one in rounds] for name, rounds in played.items()}
    peer = {name: figures.Other(name, rates[name], is_peer=True) for name in (DBOS, RESTATE)}
    figures.finish(
        figures.Report(
            "permit3",
            bars=[
                figures.Bar("against DBOS", "runs/s", rates[OURS], at_least=2.5, aim=5, other=peer[DBOS]),
                figures.Bar("against Restate", "runs/s", rates[OURS], at_least=1.0, aim=2, other=peer[RESTATE]),
            ],
            beside={
                "concurrency": CONCURRENCY,
                "over HTTP": {**figures.spread(rates[OVER_HTTP]), "unit": "runs/s"},
                "processor time of a run, ms, without PostgreSQL's": {
                    name: figures.rounded(median(1000 * one["cpu"] / one["done"] for one in rounds))
                    for name, rounds in played.items()
                },
                "latency of a run, ms": {name: _latency(rounds) for name, rounds in played.items()},
                "versions": about,
            },
            faults=[f"{name}: {fault}" for name, rounds in played.items() for fault in rounds[-1]["faults"]],
        )
    )


def _contestants() -> list[Contestant]:
    logs = places.var() / "log"
    of_ours, of_http, of_dbos = map(places.new_database, DATABASES)
    ours, over_http = places.environment(of_ours), places.environment(of_http)
    dbos = {**os.environ, "DBOS_URL": of_dbos}
    return [
        Contestant(OURS, inside.command("engine"), ours, logs / "engine.log"),
        Contestant(DBOS, install.dbos(), dbos, logs / "dbos.log"),
        Contestant(RESTATE, install.restate(), os.environ, logs / "restate.log"),
        Contestant(OVER_HTTP, inside.command("over_http"), over_http, logs / "over_http.log"),
    ]


def _latency(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: figures.rounded(median(one[name] for one in rounds)) for name in ("p50_ms", "p99_ms")}
