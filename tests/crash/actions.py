# SPDX-License-Identifier: Apache-2.0
"""Service actions of processes that die. They load this module by HMS_ACT_ACTIONS."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
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


def what_came_of_it(call: ActionCall) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(f"{os.environ['HMS_ACT_TEST_RECEIVER']}/{call.effect_key}") as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as no:
        if no.code == 404:
            return None
        raise


@action("crash.charge_and_tell", query=what_came_of_it)
def charge_and_tell(call: ActionCall) -> dict[str, Any]:
    """The same, of a receiver that can be asked what came of a request."""
    return charge(call)


@action("crash.poison")
def poison(call: ActionCall) -> None:
    """Kills whoever performs it."""
    os.kill(os.getpid(), signal.SIGKILL)


@action("crash.note")
def note(call: ActionCall) -> dict[str, Any]:
    """Write down what it was called with."""
    with open(os.environ["HMS_ACT_TEST_NOTE"], "w") as file:
        json.dump(dict(call.arguments), file)
    return {}
