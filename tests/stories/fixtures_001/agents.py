# SPDX-License-Identifier: Apache-2.0
"""The two agents of the export-licence story: one spots risks, the other drafts the letter. They know the SDK alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hms_act import Client, Task, Worker

EMBARGOED = frozenset({"CU", "IR", "KP", "SY"})
CLOSE_ALLIES = frozenset({"AU", "CA", "GB", "NZ"})
UNCONTROLLED = "EAR99"


def analyse(licence: Mapping[str, Any]) -> dict[str, Any]:
    """The risk in one word, with the reasons for it."""
    destination = licence["destination"]
    controlled = sorted(goods["eccn"] for goods in licence["goods"] if goods["eccn"] != UNCONTROLLED)
    if destination in EMBARGOED:
        return {"risk": "high", "reasons": [f"{destination} is under embargo"]}
    if controlled and destination not in CLOSE_ALLIES:
        return {"risk": "medium", "reasons": [f"{', '.join(controlled)} to {destination} needs a closer look"]}
    return {"risk": "low", "reasons": ["nothing controlled goes where it should not"]}


def letter(licence: Mapping[str, Any], risk: str, number: int) -> str:
    goods = ", ".join(item["what"] for item in licence["goods"])
    return f"To {licence['applicant']}: licence {number} for {goods} is renewed. Risk as assessed: {risk}."


def analyst(client: Client) -> Worker:
    """High risk is the agent's no: its step ends with FAIL, and nobody need be asked."""
    worker = Worker(client)

    @worker.handles("agent:ai_analysis")
    def spot_risks(task: Task) -> dict[str, Any]:
        found = analyse(task.data["fetch_data"])
        return {"outcome": "FAIL" if found["risk"] == "high" else "PASS", "output": found, "note": found["reasons"][0]}

    return worker


def writer(client: Client) -> Worker:
    worker = Worker(client)

    @worker.handles("agent:draft_letter")
    def draft(task: Task) -> dict[str, Any]:
        text = letter(task.data["fetch_data"], task.data["ai_analysis"]["risk"], task.payload["license_id"])
        return {"outcome": "PASS", "output": {"letter": text}}

    return worker
