# SPDX-License-Identifier: Apache-2.0
"""Which revision of a request a reader saw last, and how what is asked now differs from it.

What a page was about, it says itself when it is sent. Between visits their browser remembers, in a cookie of that one
page: looking changes nothing here, and a reader who comes with another browser sees all revisions anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from approvals import drift
from approvals.evidence import ChangeShown, changes_shown
from approvals.models import ActionRequest
from approvals.notify import link_to

COOKIE = "looked"  # "7.2": user 7 saw revision 2
REMEMBERED = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class DriftShown:
    looked_at: int  # the revision
    made_by: str  # "": the product itself
    made_at: datetime
    reason: str
    changes: tuple[ChangeShown, ...]


def drift_of(request: HttpRequest, asked: ActionRequest) -> DriftShown | None:
    if asked.revision == 1 or not asked.is_open:
        return None
    found = drift.since(asked, _sent(request) or _remembered(request))
    if found is None:
        return None
    latest = found.latest
    by = latest.made_by.get_username() if latest.made_by else ""
    return DriftShown(found.looked_at, by, latest.made_at, latest.reason, changes_shown(found.changes))


def noted(request: HttpRequest, asked: ActionRequest, page: HttpResponse) -> HttpResponse:
    """The page, which its reader is seeing."""
    seen = f"{request.user.pk}.{asked.revision}"
    if asked.is_open and request.COOKIES.get(COOKIE) != seen:
        page.set_cookie(
            COOKIE, seen, max_age=REMEMBERED, path=link_to(asked), httponly=True, samesite="Lax",
            secure=settings.SESSION_COOKIE_SECURE,
        )  # fmt: skip
    return page


def _sent(request: HttpRequest) -> int | None:
    return _number(request.POST.get("revision", ""))


def _remembered(request: HttpRequest) -> int | None:
    who, _, revision = request.COOKIES.get(COOKIE, "").partition(".")
    return _number(revision) if who == str(request.user.pk) else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
