# SPDX-License-Identifier: Apache-2.0
"""The person of `permit3`, in a process of her own: she approves whatever comes into her inbox, until stdin ends."""

from __future__ import annotations

import os
import queue
import sys
import threading

from approvals.models import ActionRequest
from approvals.services import decide
from audit.context import coming_from
from bench import world
from bench.waking import Bell
from config import wake
from config.prepared import Reading

THREADS = 4
INBOX = 200


def main() -> None:
    liaison, bell = world.known().liaison, Bell(wake.INBOX)
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()

    def approve() -> None:
        with coming_from("api"):
            while True:
                decide(request_id=todo.get(), actor=liaison, outcome="PASS", reason="fine")

    for work in [approve] * THREADS:
        threading.Thread(target=work, daemon=True).start()
    threading.Thread(target=_end_with_caller, daemon=True).start()

    inbox = Reading(lambda: ActionRequest.objects.decidable_by(liaison).in_inbox_order().only("pk")[:INBOX])
    seen: set[str] = set()
    while True:
        new = [request.pk for request in inbox() if request.pk not in seen]
        seen.update(new)
        for request_id in new:
            todo.put(request_id)
        if not new:
            bell.wait()


def _end_with_caller() -> None:
    sys.stdin.read()
    os._exit(0)
