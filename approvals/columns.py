# SPDX-License-Identifier: Apache-2.0
"""The columns of the inbox. All words in them are text of others, shown with nothing hidden in it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib.admin import display
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from approvals import inbox
from approvals.choices import label_of
from approvals.models import DECIDABLE_REQUESTS, ActionRequest, Severity
from approvals.notify import link_to
from approvals.views import run_url
from audit.shown import made_visible

Column = Callable[[ActionRequest], str | None]  # None: an empty cell


@display(description="severity")
def severity(request: ActionRequest) -> SafeString:
    return format_html('<span class="inbox-severity {}">{}</span>', request.severity, Severity(request.severity).label)


def title_for(user: Any) -> Column:
    @display(description="title")
    def title(request: ActionRequest) -> SafeString:
        """Leads to the decision page, and says why this person may not decide, where that is so."""
        found = inbox.bar_of(request, user) if request.state in DECIDABLE_REQUESTS else None
        bar = format_html('<span class="inbox-bar">{}</span>', made_visible(found.reason)) if found else ""
        text = made_visible(request.title)
        link = format_html('<a class="inbox-title" dir="auto" href="{}">{}</a>', link_to(request), text)
        return format_html("<div>{} {}</div>", link, bar)

    return title


@display(description="playbook and step")
def place(request: ActionRequest) -> SafeString:
    if request.run is None or request.task is None:
        return _over(request.get_request_type_display(), "outside any run")
    playbook, step = made_visible(str(request.run.version.playbook)), made_visible(request.task.step)
    return _over(playbook, step)


@display(description="asked by")
def asked_by(request: ActionRequest) -> SafeString:
    name, kind = made_visible(request.requester.get_username()), request.requester.get_kind_display()
    return _over(name, kind.lower())


@display(description="run")
def run(request: ActionRequest) -> str | None:
    if request.run_id is None:
        return None
    return format_html(
        '<a class="inbox-moment underline" href="{}">run {}</a>', run_url(request.run_id), request.run_id
    )


def deadline_at(now: datetime) -> Column:
    @display(description="due")
    def due(request: ActionRequest) -> str | None:
        if request.due_at is None:
            return None
        if request.due_at <= now:
            return _moment(request.due_at, f"{_first(timesince(request.due_at, now))} late", "inbox-late")
        return _moment(request.due_at, f"in {_first(timesince(now, request.due_at))}")

    return due


def age_at(now: datetime) -> Column:
    @display(description="age")
    def age(request: ActionRequest) -> str:
        return _moment(request.created_at, _first(timesince(request.created_at, now)))

    return age


@display(description="claimed by")
def claimed(request: ActionRequest) -> str | None:
    return made_visible(request.claimed_by.get_username()) if request.claimed_by else None


@display(description="decision")
def decision(request: ActionRequest) -> SafeString:
    by = made_visible(request.decided_by.get_username()) if request.decided_by else ""
    return _over(label_of(request, request.outcome), f"by {by}")


@display(description="decided (UTC)")
def decided_at(request: ActionRequest) -> str | None:
    return f"{request.decided_at:%Y-%m-%d %H:%M}" if request.decided_at else None


@display(description="state")
def state(request: ActionRequest) -> str:
    return request.get_state_display()


def _over(first: str, second: str) -> SafeString:
    return format_html('<div dir="auto">{} <span class="inbox-under">{}</span></div>', first, second)


def _moment(at: datetime, text: str, css: str = "") -> SafeString:
    exact = f"{at:%Y-%m-%d %H:%M} UTC"
    return format_html(
        '<time class="inbox-moment {}" datetime="{}" title="{}">{}</time>',
        css,
        at.isoformat(timespec="seconds"),
        exact,
        text,
    )


def _first(duration: str) -> str:
    """Of "2 days, 3 hours", the larger part."""
    return duration.split(",")[0]
