# SPDX-License-Identifier: Apache-2.0
"""When a person last gave their password: acts that do great harm if wrong ask for it anew."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.auth import authenticate
from django.http import HttpRequest

from audit.context import origin, refine
from config import clock

IN_SESSION = "proved_at"


def note(request: Any, at: datetime) -> None:
    """The password has been given just now. Calls with a token keep that in the token."""
    if hasattr(request, "session") and origin().channel != "api":
        request.session[IN_SESSION] = at.isoformat()


def recall(request: Any) -> None:
    """Let the acts of this request know when the person of the session last gave their password."""
    found = request.session.get(IN_SESSION) if hasattr(request, "session") else None
    if isinstance(found, str):
        refine(authenticated_at=datetime.fromisoformat(found))


def prove(request: HttpRequest, password: str) -> bool:
    """Whether this is the password of whoever is logged in. A wrong one counts as a failed log-in does."""
    user: Any = request.user
    found = authenticate(request=request, username=user.get_username(), password=password)
    if found is None or found.pk != user.pk:
        return False
    at = clock.now()
    note(request, at)
    refine(authenticated_at=at)
    return True
