# SPDX-License-Identifier: Apache-2.0
"""The services of the census pipeline. Worker processes load this module by HMS_ACT_ACTIONS.

What each was asked is written to the folder that `HMS_ACT_TEST_MARKS` names, so that a test can read it in another
process: a line a call, as JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from playbooks.catalogue import ActionCall, action

RESPONSES = {"Northwest": 1280, "Delta": 212}


def asked(service: str, folder: Path) -> list[dict[str, Any]]:
    """What a service was asked, call by call."""
    file = folder / service
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _note(call: ActionCall, service: str) -> None:
    told = {"date": call.payload["date"], "data": dict(call.data)}
    with (Path(os.environ["HMS_ACT_TEST_MARKS"]) / service).open("a") as file:
        file.write(json.dumps(told) + "\n")


@action("ResponseService.fetchNew")
def fetch_new(call: ActionCall) -> dict[str, Any]:
    _note(call, "ResponseService")
    return {"responses": RESPONSES}


@action("PolicyService.update")
def update(call: ActionCall) -> dict[str, Any]:
    _note(call, "PolicyService")
    return {"policy": call.data["AnalyzeData"]["suggestion"]}


@action("DashboardService.refresh")
def refresh(call: ActionCall) -> dict[str, Any]:
    _note(call, "DashboardService")
    return {"refreshed": True}
