# SPDX-License-Identifier: Apache-2.0
"""The same question asked once, however often a program is started.

A question is known by its `workflow_id`. The newest request under it is the question, as long as its answer has not
been used: an approval is used by spending its receipt, a no stands for an hour. After that the question is asked anew,
under an idempotency key that names the request before it, so that programs that ask at the same moment ask once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hms_act.answers import Json, Request
from hms_act.asking import HITLService

A_NO_STANDS = timedelta(hours=1)
LONGEST_TITLE = 200
LONGEST_NAME = 100  # of a workflow
REFUSING = frozenset({"abort", "cancel", "decline", "deny", "no", "refuse", "reject", "stop"})
USABLE = frozenset({"held", "ready"})  # receipts


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked. Of the `options`, those whose word is a refusal reject."""

    reason: str
    context: Json = field(default_factory=dict)
    options: Sequence[str | Json] = ()
    severity: str = "medium"
    role: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def as_request(self) -> dict[str, Any]:
        fits = len(self.reason) <= LONGEST_TITLE
        asked = {
            "title": self.reason if fits else self.reason[: LONGEST_TITLE - 1] + "…",
            "description": None if fits else self.reason,
            "context": dict(self.context),
            "options": [_option(each) for each in self.options],
            "severity": self.severity,
            "role": self.role,
        }
        return {**asked, **self.more}


def _option(given: str | Json) -> Json:
    if not isinstance(given, str):
        return given
    return {"key": given, "label": given, **({"ends": "fail"} if given.lower() in REFUSING else {})}


def ask_once(service: HITLService, question: Question, workflow_id: str) -> Request:
    """The request that asks it, as it is now: open, answered and unused, or made by this call."""
    newest = newest_of(service, workflow_id)
    if newest is not None and not is_used(service, newest):
        return newest
    return ask_after(service, question, workflow_id, newest)


def ask_after(service: HITLService, question: Question, workflow_id: str, newest: Request | None) -> Request:
    asked = question.as_request()
    key = digest_of([workflow_id, newest.id if newest else "", asked])
    made = service.create_request(**asked, workflow_id=workflow_id, idempotency_key=key)
    return service.get_request(made.id)  # the answer to a repeated call is that of the first one


def newest_of(service: HITLService, workflow_id: str) -> Request | None:
    return next(iter(service.list_requests(workflow_id=workflow_id, limit=1)), None)


def is_used(service: HITLService, request: Request) -> bool:
    """Whether its answer permits nothing any more, and is no answer to the same question asked today."""
    if not request.closed:
        return False
    if request.status == "fulfilled":
        return service.client.receipt(request).status not in USABLE
    ended = request.fulfilled_at or request.updated_at
    return ended is not None and datetime.now(UTC) - ended > A_NO_STANDS


def digest_of(value: Any) -> str:
    """Of what JSON says of it; equal values have equal ones, in any process."""
    written = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return hashlib.sha256(written.encode()).hexdigest()


def workflow_of(name: str, *parts: Any) -> str:
    """An id for the question of a function: its name, for people, and what makes it this one."""
    mark = digest_of([name, *parts])[:24]
    return f"{name[-(LONGEST_NAME - len(mark) - 1) :]}:{mark}"
