# SPDX-License-Identifier: Apache-2.0
"""The clock of a request that is being made: its policy's `time`, on a calendar of this installation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from approvals import calendar_services, time_checks, times
from approvals.models import ActionRequest
from playbooks.places import Flaw


def begin(request: ActionRequest, time: Mapping[str, Any], *, at: datetime) -> None:
    """Freeze the deadlines, and the calendar they are counted on."""
    if not time:
        return
    name = time.get("calendar") or ""
    request.keep(times.frozen(time, at, calendar_services.named([name])[name] if name else None))
    request.look_again(at)


def flaws(time: Mapping[str, Any]) -> Iterator[Flaw]:
    """What is wrong with a policy's `time`, held against the calendars there are."""
    return time_checks.flaws(time, known=calendar_services.known() if time.get("calendar") else None)
