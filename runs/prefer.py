# SPDX-License-Identifier: Apache-2.0
"""How long a reading call may be kept waiting: `?wait=30`, or `Prefer: wait=30` (RFC 7240), which is a wish."""

from __future__ import annotations

import re
from typing import Any

from rest_framework.request import Request

LONGEST_WAIT_SECONDS = 60
WAIT_HEADER = "HMS-Act-Wait"  # asks the server around us to try again until so many seconds have passed
APPLIED_HEADER = "Preference-Applied"
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)


def wait_of(request: Request, in_query: float) -> float:
    """Seconds. What the address says goes before the header; a preference that is not understood is none."""
    return in_query or min(_preferred(request), LONGEST_WAIT_SECONDS)


def wait_headers(request: Request, seconds: float, *, is_empty_handed: bool) -> dict[str, Any]:
    """What an answer says about its waiting: to the caller, and to the server around us if there is nothing yet."""
    applied = {APPLIED_HEADER: f"wait={int(seconds)}"} if seconds and _preferred(request) else {}
    return {**applied, **({WAIT_HEADER: str(seconds)} if seconds and is_empty_handed else {})}


def _preferred(request: Request) -> float:
    found = _WAIT.search(request.headers.get("Prefer", ""))
    return float(found[1]) if found else 0.0
