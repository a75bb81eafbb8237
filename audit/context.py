# SPDX-License-Identifier: Apache-2.0
"""Where an act comes from: channel, credential, request. Set once per request or ticket, read by `record()`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Origin:
    channel: str = "system"  # api, admin, web, worker, command, system
    credential: str = ""  # what was shown: "key:<public prefix>", "session", "jwt"
    request_id: str = ""
    assurance: str = "session"  # how sure it is who acts: link, session
    authenticated_at: datetime | None = None  # when they last proved it by their password


_origin: ContextVar[Origin] = ContextVar("origin", default=Origin())


def origin() -> Origin:
    return _origin.get()


def refine(**changes: Any) -> None:
    """Add what became known later in the same request (the credential, once authenticated)."""
    _origin.set(replace(_origin.get(), **changes))


@contextmanager
def coming_from(channel: str, *, credential: str = "", request_id: str = "") -> Iterator[None]:
    token = _origin.set(Origin(channel, credential, request_id))
    try:
        yield
    finally:
        _origin.reset(token)
