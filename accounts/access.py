# SPDX-License-Identifier: Apache-2.0
"""Who wants to know, at once, that somebody's access has ended.

Rooms above hold what rests on a user's access (leases on tasks). They register here, and are called inside the
transaction that ends the access: after a deactivation, a revoked key, or the loss of a role has been written.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from audit.services import Actor, Line


class AccessEnded(Protocol):
    """End what rested on the access, and return the lines to record.

    `credential` names the one key that ended ("key:<public part>"); None means that the user has changed: read
    whether they are active, and which roles they still have.
    """

    def __call__(self, *, user_id: int, credential: str | None, at: datetime, actor: Actor) -> list[Line]: ...


_callbacks: list[AccessEnded] = []


def on_access_ended(callback: AccessEnded) -> AccessEnded:
    if callback not in _callbacks:
        _callbacks.append(callback)
    return callback


def forget(callback: Callable[..., object]) -> None:
    """Take a registration back (tests)."""
    _callbacks.remove(callback)  # type: ignore[arg-type]


def access_ended(*, user_id: int, credential: str | None, at: datetime, actor: Actor) -> list[Line]:
    return [
        line for callback in _callbacks for line in callback(user_id=user_id, credential=credential, at=at, actor=actor)
    ]
