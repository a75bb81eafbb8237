# SPDX-License-Identifier: Apache-2.0
"""Service actions of processes that die. They load this module by HMS_ACT_ACTIONS."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from typing import Any

from playbooks.catalogue import ActionCall, action


@action("crash.charge")
def charge(call: ActionCall) -> dict[str, Any]:
    """Charge at the receiver under the effect's key; busy for `payload.busy_seconds` before and after."""
    busy_seconds = float(call.payload.get("busy_seconds", 0))
    time.sleep(busy_seconds)
    headers = {"Idempotency-Key": call.effect_key, "X-Process": str(os.getpid())}
    request = urllib.request.Request(os.environ["HMS_ACT_TEST_RECEIVER"], b"{}", headers, method="POST")
    with urllib.request.urlopen(request) as answer:
        charged: dict[str, Any] = json.load(answer)
    time.sleep(busy_seconds)
    return charged


@action("crash.poison")
def poison(call: ActionCall) -> None:
    """Kills whoever performs it."""
    os.kill(os.getpid(), signal.SIGKILL)
