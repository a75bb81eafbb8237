# SPDX-License-Identifier: Apache-2.0
"""The functions of a five-line script, over one client of this process made from the environment.

That client remembers the tokens of the tasks it claimed, so `complete_task(task.id)` needs no token.
"""

from __future__ import annotations

import os
from typing import Any

from hms_act.answers import Json, Task
from hms_act.client import DEFAULT_WAIT_SECONDS, Client

_clients: dict[tuple[str | None, str | None], Client] = {}


def default_client() -> Client:
    """The client for HMS_ACT_URL and HMS_ACT_TOKEN as they are now; the same one as long as they are the same."""
    environment = os.environ.get("HMS_ACT_URL"), os.environ.get("HMS_ACT_TOKEN")
    if environment not in _clients:
        _clients[environment] = Client()
    return _clients[environment]


def run_playbook(
    playbook: str | int,
    payload: Json | None = None,
    *,
    version: int | None = None,
    labels: Json | None = None,
    priority: str | None = None,
) -> int:
    """Start a run and return its number."""
    run = default_client().start_run(playbook, payload=payload, version=version, labels=labels, priority=priority)
    return run.id


def next_task(role: str, wait: int = DEFAULT_WAIT_SECONDS) -> Task | None:
    """Claim the next task of `role`; None if there was none within `wait` seconds."""
    return default_client().next_task(role, wait=wait)


def complete_task(task: int | Task, outcome: str = "PASS", output: Any = None, note: str = "") -> Task:
    """End a task that this process claimed, named by its number or handed in. On a human task this is the decision."""
    return default_client().complete_task(task, outcome=outcome, output=output, note=note)
