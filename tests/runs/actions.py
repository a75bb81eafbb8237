# SPDX-License-Identifier: Apache-2.0
"""Service actions of the tests. Worker processes load this module by HMS_ACT_ACTIONS.

What an action did is written to the folder that `HMS_ACT_TEST_MARKS` names, one line a call, so that a test
can count calls made by other processes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from playbooks.catalogue import ActionCall, Permanent, Verdict, action


class Busy(Exception):
    """A fault that may pass."""


class NoSuchCard(Permanent):
    """A fault that will not."""


def marks(name: str = "calls") -> list[str]:
    file = Path(os.environ["HMS_ACT_TEST_MARKS"]) / name
    return file.read_text().splitlines() if file.exists() else []


def _mark(line: str, name: str = "calls") -> None:
    with (Path(os.environ["HMS_ACT_TEST_MARKS"]) / name).open("a") as file:
        file.write(f"{line}\n")


@action("tests.charge")
def charge(call: ActionCall) -> dict[str, Any]:
    _mark(call.effect_key)
    return {"charged": call.arguments, "for": dict(call.payload), "after": dict(call.data)}


@action("tests.busy_once")
def busy_once(call: ActionCall) -> dict[str, Any]:
    _mark(call.effect_key)
    if call.attempt == 1:
        raise Busy("the line is engaged")
    return {"attempt": call.attempt}


@action("tests.no_such_card")
def no_such_card(call: ActionCall) -> None:
    _mark(call.effect_key)
    raise NoSuchCard("card 4 does not exist")


@action("tests.says_no")
def says_no(call: ActionCall) -> None:
    raise Verdict("the account is closed")


@action("tests.not_json")
def not_json(call: ActionCall) -> Any:
    return {"when": object()}


@action("tests.slow")
def slow(call: ActionCall) -> dict[str, Any]:
    _mark(str(os.getpid()), "started")
    time.sleep(float(call.payload["seconds"]))
    _mark(call.effect_key)
    return {}


@action("tests.do")
def do(call: ActionCall) -> dict[str, Any]:
    """Goes well or not by its effect's key, so the same however often it is asked."""
    if call.effect_key[0] in "012":
        raise NoSuchCard("the key says so")
    if call.effect_key[0] in "34":
        raise Verdict("the key says so")
    return {"done": call.step}


@action("tests.undo")
def undo(call: ActionCall) -> dict[str, Any]:
    if call.effect_key[0] in "01":
        raise NoSuchCard("the bank is closed")
    return {"undone": call.step}
