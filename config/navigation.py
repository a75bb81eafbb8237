# SPDX-License-Identifier: Apache-2.0
"""The admin's sidebar: every entry leads to a page that exists and that this person may open; others are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from approvals import inbox
from runs import incidents


@dataclass(frozen=True, slots=True)
class Entry:
    title: str
    icon: str  # a name of Material Symbols, which the skin brings along
    model: str  # whose list is opened
    badge: Callable[[Any], str] | None = None  # user → a short text, or "" for none


SECTIONS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    (
        "",
        (
            Entry("Inbox", "inbox", "approvals.actionrequest", badge=inbox.badge),
            Entry("Runs", "conversion_path", "runs.run"),
            Entry("Playbooks", "menu_book", "playbooks.playbook"),
            Entry("Calendars", "calendar_month", "approvals.calendar"),
            Entry("Rules", "gavel", "playbooks.ruleset"),
            Entry("Policies", "how_to_vote", "approvals.policy"),
            Entry("Standing rules", "fast_forward", "approvals.standingrule"),
            Entry("Templates", "article", "approvals.requesttemplate"),
            Entry("Connectors", "cable", "playbooks.connector"),
            Entry("Receipts", "verified", "approvals.receipt"),
            Entry("Approval systems", "handshake", "approvals.externalsystem"),
            Entry("Slack channels", "forum", "approvals.slackchannel"),
            Entry("Action log", "receipt_long", "audit.entry"),
        ),
    ),
    (
        "Operations",
        (
            Entry("Incidents", "emergency_home", "runs.incident", badge=incidents.badge),
            Entry("Statistics", "bar_chart", "approvals.requesttally"),
            Entry("Tasks", "checklist", "runs.task"),
            Entry("Effects", "bolt", "runs.effect"),
            Entry("Messages", "outgoing_mail", "approvals.notification"),
            Entry("Messages to systems", "outbox", "approvals.externalnotice"),
            Entry("Posts in channels", "tag", "approvals.channelpost"),
            Entry("Health", "monitor_heart", "runs.workerhost"),
            Entry("Housekeeping", "schedule", "django_q.schedule"),
        ),
    ),
    (
        "People and programs",
        (
            Entry("Users and agents", "group", "accounts.user"),
            Entry("Roles", "badge", "auth.group"),
            Entry("Delegations", "swap_horiz", "approvals.delegation"),
            Entry("API keys", "key", "accounts.apikey"),
            Entry("Limits", "speed", "approvals.agentlimit"),
            Entry("How people are told", "notifications", "approvals.preference"),
        ),
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The sections in the form in which the skin takes them."""
    return [
        {
            "title": title,
            "separator": bool(title),
            "items": [_item(entry, request) for entry in entries if _open(entry, request)],
        }
        for title, entries in SECTIONS
    ]


def _open(entry: Entry, request: HttpRequest) -> bool:
    model = apps.get_model(entry.model)
    return admin.site.is_registered(model) and admin.site.get_model_admin(model).has_view_permission(request)


def _item(entry: Entry, request: HttpRequest) -> dict[str, Any]:
    link = reverse(f"admin:{entry.model.replace('.', '_')}_changelist")
    item: dict[str, Any] = {"title": entry.title, "icon": entry.icon, "link": link}
    if entry.badge and (badge := entry.badge(request.user)):
        item |= {"badge": badge, "badge_variant": "primary"}
    return item


def account(request: HttpRequest) -> list[dict[str, Any]]:
    """What everybody finds under their own name."""
    return [{"title": "How you are told", "link": reverse("admin:approvals_preference_mine")}]
