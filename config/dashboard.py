# SPDX-License-Identifier: Apache-2.0
"""The first page of the admin: what this person should do now, and whether anything is amiss.

Every number counts only what this person may see, and leads to it. A fixed number of statements,
each over what is open or of today, whatever the tables hold besides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Min, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from approvals.models import ActionRequest, Notification
from audit.shown import made_visible
from config import clock
from config.health import PROGRESS_SECONDS
from config.mail import MailState
from runs import due
from runs.models import ENDED_RUNS, Notice, Run, RunState, Task, TaskState, WorkerHost
from runs.timeline import seconds_in_words

ROLES_SHOWN = 12  # those that wait longest
RUNS_SHOWN = 8
MAILS_COUNTED = 1000


@dataclass(frozen=True, slots=True)
class Tile:
    title: str
    number: str
    under: str
    link: str  # or "" where there is no page
    tone: str = ""  # good, wait, bad, or "" for nothing to see


@dataclass(frozen=True, slots=True)
class Waiting:
    """Work that waits for the members of a role."""

    role: str
    what: str
    count: int
    since: datetime
    age: str
    link: str


def fill(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the skin calls before it shows the page."""
    user: Any = request.user
    now = clock.now()
    tiles = [_to_decide(user, now), *_runs(user, now), *_of_operators(user, now)]
    newest = Run.objects.visible_to(user).select_related("version__playbook", "started_by")
    return {
        **context,
        "tiles": tiles,
        "waiting": sorted(_waiting(user, now), key=lambda each: each.since)[:ROLES_SHOWN],
        "runs": newest.defer("version__document", "position", "payload")[:RUNS_SHOWN],
    }


def _list(name: str, **filters: Any) -> str:
    query = f"?{urlencode(filters)}" if filters else ""
    return reverse(f"admin:{name}_changelist") + query


def _age(since: datetime, now: datetime) -> str:
    return seconds_in_words(max(0.0, (now - since).total_seconds()))


def _to_decide(user: Any, now: datetime) -> Tile:
    mine = ActionRequest.objects.visible_to(user).decidable_by(user)
    found = mine.order_by().aggregate(count=Count("pk"), oldest=Min("created_at"))
    under = f"the oldest since {_age(found['oldest'], now)}" if found["oldest"] else "Nothing waits for you."
    tone = "wait" if found["count"] else ""
    return Tile("To decide by me", str(found["count"]), under, _list("approvals_actionrequest"), tone)


def _runs(user: Any, now: datetime) -> list[Tile]:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    lately = Q(state=RunState.FAILED, ended_at__gte=midnight)
    of_interest = Run.objects.visible_to(user).order_by().filter(~Q(state__in=ENDED_RUNS) | lately)
    found = of_interest.aggregate(
        open=Count("pk", filter=~Q(state__in=ENDED_RUNS)),
        stalled=Count("pk", filter=~Q(state__in=ENDED_RUNS) & Q(stalled_at__isnull=False)),
        failed=Count("pk", filter=lately),
    )
    stalled = f"{found['stalled']} of them stalled" if found["stalled"] else "none of them stalled"
    return [
        Tile("Runs under way", str(found["open"]), stalled, _list("runs_run", state="open"), _if(found["stalled"])),
        Tile("Failed today", str(found["failed"]), "since midnight UTC", _list("runs_run", state=RunState.FAILED),
             _if(found["failed"])),
    ]  # fmt: skip


def _if(count: int) -> str:
    return "bad" if count else ""


def _waiting(user: Any, now: datetime) -> Iterator[Waiting]:
    """Tasks by the role that may claim them, requests by the role that may decide them."""
    tasks = Task.objects.visible_to(user).filter(state=TaskState.PENDING, ready_at__isnull=False, by_worker=False)
    for role, count, since in _by_role(tasks, "ready_at"):
        link = _list("runs_task", state__exact=TaskState.PENDING, role=role)
        yield Waiting(made_visible(role), "tasks to claim", count, since, _age(since, now), link)
    requests = ActionRequest.objects.visible_to(user).open()
    for role, count, since in _by_role(requests, "created_at"):
        link = _list("approvals_actionrequest", tab="all")
        yield Waiting(made_visible(role), "requests to decide", count, since, _age(since, now), link)


def _by_role(rows: QuerySet[Any], moment: str) -> Iterator[tuple[str, int, datetime]]:
    counted = rows.order_by().values_list("role").annotate(count=Count("pk"), since=Min(moment)).order_by("since")
    yield from counted[:ROLES_SHOWN]


def _of_operators(user: Any, now: datetime) -> list[Tile]:
    if not user.has_perm("runs.view"):
        return []
    return [_incidents(), _workers(now), _mails()]


def _incidents() -> Tile:
    waiting = Task.objects.unresolved().count()
    return Tile("Incidents", str(waiting), "steps that wait for an operator", _list("runs_incident"), _if(waiting))


def _workers(now: datetime) -> Tile:
    """By what they get done, not by whether they live: `manage.py tick` from cron is as good."""
    oldest, beat = due.oldest_due(), WorkerHost.objects.order_by("-beat_at").first()
    heard = f"a worker was heard of {_age(beat.beat_at, now)} ago" if beat else "no worker is registered"
    link = _list("runs_workerhost")
    if oldest is None:
        return Tile("Waiting for the worker", "nothing", heard, link, "good" if beat else "")
    tone = "bad" if (now - oldest).total_seconds() > PROGRESS_SECONDS else ""
    return Tile("Waiting for the worker", f"for {_age(oldest, now)}", heard, link, tone)


def _mails() -> Tile:
    """Mails have no page of their own: the reason for which the newest one was given up stands here."""
    kinds = (Notification, Notice)
    given_up = [kind._default_manager.filter(state=MailState.FAILED).order_by("-id") for kind in kinds]
    errors = [error for mails in given_up for error in mails.values_list("error", flat=True)[:MAILS_COUNTED]]
    under = f"given up; the newest: {made_visible(errors[0])}" if errors else "none was given up"
    return Tile("Mails not sent", str(len(errors)), under, "", _if(len(errors)))
