# SPDX-License-Identifier: Apache-2.0
"""`idle`: what web and worker take of the machine with nothing to do, all of their processes together.

Memory is PSS: pages that processes share count once, divided among them. Linux only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import ExitStack

from bench import figures, servers, world
from bench.calling import Caller
from bench.peers import install
from bench.taken import cpu_seconds, family, pss

ROUNDS = 5
SECONDS = 6.0  # of a round
SETTLE_SECONDS = 10.0


def main() -> None:
    world.migrate()
    key = world.key_of(world.people().validator)
    with ExitStack() as stack:
        python = str(install.product())  # libraries use whatever others are there, so it has to be just these
        address, web = stack.enter_context(servers.web(os.environ, python=python))
        worker = stack.enter_context(servers.worker(os.environ, python=python))
        Caller(address, key).get("/acts/tasks")  # it has worked before
        time.sleep(SETTLE_SECONDS)
        roots = {"web": web.pid, "worker": worker.pid}
        rounds = [idle(roots.values(), SECONDS) for _ in range(ROUNDS)]
        parts = {
            name: {"MiB": figures.rounded(pss(family(pid))), "processes": len(family(pid))}
            for name, pid in roots.items()
        }
    figures.finish(
        figures.Report(
            "idle",
            bars=[
                figures.Bar("memory, PSS", "MiB", [memory for memory, _ in rounds], at_most=250),
                figures.Bar("time", "% of one core", [percent for _, percent in rounds], at_most=2),
            ],
            beside=parts,
        )
    )


def idle(roots: Iterable[int], seconds: float) -> tuple[float, float]:
    """(MiB, percent of one core) of these processes and all that they started, over so long."""
    everybody = {pid for root in roots for pid in family(root)}
    before, began = cpu_seconds(everybody), time.monotonic()
    time.sleep(seconds)
    used = cpu_seconds(everybody) - before
    return pss(everybody), 100 * used / (time.monotonic() - began)
