# SPDX-License-Identifier: Apache-2.0
"""Rate limits per credential and scope, counted across processes: 429 with Retry-After.

A fixed window of a minute, one row a credential, scope and minute, one statement a call. The table is not
logged on PostgreSQL: counts may be lost with a crash, and counting costs no flush to disk.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from django.conf import settings
from django.db import connection
from rest_framework.permissions import SAFE_METHODS
from rest_framework.throttling import BaseThrottle

from accounts.models import ApiKey, RateCount
from config import clock
from config.prepared import placed, rows_of

WINDOW_SECONDS = 60
READ = "read"  # every safe method; the others say their scope as `limit_scope`

# On PostgreSQL the counting statement reads the clock, too; elsewhere it is given the time.
_COUNT = """
    INSERT INTO accounts_ratecount (who, scope, minute, count) VALUES (%s, %s, floor({seconds} / {window}), 1)
    ON CONFLICT (who, scope, minute) DO UPDATE SET count = accounts_ratecount.count + 1
    RETURNING count, {seconds}
"""
_SECONDS = {
    "postgresql": "extract(epoch FROM clock_timestamp() + make_interval(secs => %s))",
    "sqlite": "CAST(%s AS REAL)",
}


class PerCredential(BaseThrottle):
    def allow_request(self, request: Any, view: Any) -> bool:
        # Calls that nobody in particular makes (log-ins, the description of the API) change nothing of anybody's.
        scope = READ if request.method in SAFE_METHODS else getattr(view, "limit_scope", READ)
        limit = settings.RATE_LIMITS[scope]
        if not limit or not request.user.is_authenticated or _is_asked_again(request):
            return True
        counted, self._seconds = count(_who(request), scope)
        return counted <= limit

    def wait(self) -> float:
        """Seconds until the window ends."""
        return math.ceil(WINDOW_SECONDS - self._seconds % WINDOW_SECONDS)


def count(who: str, scope: str) -> tuple[int, float]:
    """Count one call: (how many it makes in this minute, the time in seconds since 1970)."""
    seconds = clock.offset_seconds() if connection.vendor == "postgresql" else clock.now().timestamp()
    ((counted, now),) = rows_of(_counting(connection.vendor), [who, scope, seconds, seconds])
    return int(counted), float(now)


@cache
def _counting(vendor: str) -> str:
    return placed(_COUNT.format(seconds=_SECONDS[vendor], window=WINDOW_SECONDS))


def _minute() -> int:
    return int(clock.now().timestamp()) // WINDOW_SECONDS


def forget_old() -> int:
    deleted, _ = RateCount.objects.filter(minute__lt=_minute() - 1).delete()
    return deleted


def _who(request: Any) -> str:
    return request.auth.credential if isinstance(request.auth, ApiKey) else f"user:{request.user.pk}"


def _is_asked_again(request: Any) -> bool:
    """A waiting call is looked into many times, and counts once."""
    return bool(getattr(request._request, "scope", {}).get("asked_again"))
