# SPDX-License-Identifier: Apache-2.0
"""How long a reading call may be kept waiting: `?wait=30`, or `Prefer: wait=30` (RFC 7240), which is a wish."""

from __future__ import annotations

import re
from typing import Any

from rest_framework.request import Request

LONGEST_WAIT_SECONDS = 60
WAIT_HEADER = "HMS-Act-Wait"  # asks the server around us to try again until so many seconds have passed
FOR_HEADER = "HMS-Act-Wait-For"  # … whenever a wake-up says one of these words; without it, whenever there is any
APPLIED_HEADER = "Preference-Applied"
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)


def wait_of(request: Request, in_query: float) -> float:
    """Seconds. What the address says goes before the header; a preference that is not understood is none."""
    return in_query or min(_preferred(request), LONGEST_WAIT_SECONDS)


def wait_headers(request: Request, seconds: float, *, is_empty_handed: bool, waits_for: str = "") -> dict[str, Any]:
    """What an answer says about its waiting: to the caller, and to the server around us if there is nothing yet.

    `waits_for` is a word of `config.wake`; without it, the answer may change with whatever happens.
    """
    applied = {APPLIED_HEADER: f"wait={int(seconds)}"} if seconds and _preferred(request) else {}
    return {**applied, **(asking_again(seconds, waits_for) if seconds and is_empty_handed else {})}


def asking_again(seconds: float, waits_for: str) -> dict[str, str]:
    return {WAIT_HEADER: str(seconds), **({FOR_HEADER: waits_for} if waits_for else {})}


def _preferred(request: Request) -> float:
    found = _WAIT.search(request.headers.get("Prefer", ""))
    return float(found[1]) if found else 0.0
