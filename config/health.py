# SPDX-License-Identifier: Apache-2.0
"""Two questions of whoever watches over us: does this process live (`/healthz`), may it be sent work (`/readyz`)?

Both answer without a log-in, so they name no host, no person and no row. `/readyz` asks a fixed number of
questions of the database, whatever it holds, and says of each check whether it passed and why not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from audit import triggers
from config import clock
from runs import due, stuck
from runs.models import WorkerHost

PROGRESS_SECONDS = 60  # the oldest due row may wait so long before something is wrong with the workers
WORKERS_LISTED = 20  # the most recently heard of

Check = Callable[[], Mapping[str, Any]]


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers. Nothing else is asked, so a database that is away restarts no web server."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 if all checks pass, 503 if one does not; the body says which.

    What is stuck makes it `degraded`, and 200: another web server would do no better.
    """
    found = {name: check() for name, check in CHECKS.items()} if database_answers() else NO_DATABASE
    ready = all(answer["ok"] or name in DEGRADING for name, answer in found.items())
    status = "ok" if all(answer["ok"] for answer in found.values()) else "degraded" if ready else "failing"
    return JsonResponse({"status": status, "checks": found}, status=200 if ready else 503)


NO_DATABASE = {"database": {"ok": False, "why": "the database does not answer; nothing else was asked"}}


def database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchone() == (1,))
    except DatabaseError:
        return False


def migrations_are_applied() -> Mapping[str, Any]:
    missing = migrations_of_this_code() - MigrationRecorder(connection).applied_migrations().keys()
    if missing:
        return {"ok": False, "why": f"{len(missing)} migrations are not applied: run manage.py migrate"}
    return {"ok": True}


@cache
def migrations_of_this_code() -> frozenset[tuple[str, str]]:
    """Read once: a process runs the code it was started with."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return frozenset(node for node in loader.graph.nodes if node in loader.disk_migrations)


def log_is_guarded() -> Mapping[str, Any]:
    missing = triggers.missing()
    if missing:
        return {"ok": False, "why": f"{len(missing)} triggers that keep evidence from changing are missing"}
    return {"ok": True}


def workers_make_progress() -> Mapping[str, Any]:
    """What is due is done, by whatever does it: supervised workers, or `manage.py tick` from cron."""
    now = clock.now()
    oldest = due.oldest_due()
    waiting = None if oldest is None else _seconds_since(oldest, now)
    beats = WorkerHost.objects.order_by("-beat_at").values_list("beat_at", "restarts")[:WORKERS_LISTED]
    answer = {
        "ok": waiting is None or waiting <= PROGRESS_SECONDS,
        "oldest_due_seconds": waiting,
        "workers": [{"beat_seconds_ago": _seconds_since(at, now), "restarts": count} for at, count in beats],
    }
    return answer if answer["ok"] else {**answer, "why": "what is due is not being done: is a worker running?"}


def nothing_is_stuck() -> Mapping[str, Any]:
    """Numbers alone: the Health page of the admin names the rows."""
    counts = stuck.counts()
    if not any(counts.values()):
        return {"ok": True, **counts}
    return {"ok": False, **counts, "why": "something open is moved by nothing any more: see Health in the admin"}


def _seconds_since(moment: datetime, now: datetime) -> float:
    return round((now - moment).total_seconds(), 1)


CHECKS: Mapping[str, Check] = {
    "database": lambda: {"ok": True},  # or nothing else is asked
    "migrations": migrations_are_applied,
    "triggers": log_is_guarded,
    "worker": workers_make_progress,
    "stuck": nothing_is_stuck,
}
DEGRADING = {"stuck"}
