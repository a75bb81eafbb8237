# SPDX-License-Identifier: Apache-2.0
"""Who was told of a request, for its page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approvals.models import ActionRequest, ChannelPost, ExternalNotice, Notification
from approvals.models.messages import ASKED, CLOSED, DECIDED, GLASS_BROKEN
from audit.shown import made_visible
from config.mail import DueRow, MailState

MOST = 50
STATES = {
    MailState.DUE: "waits",
    MailState.SENT: "delivered",
    MailState.FAILED: "not delivered",
    MailState.NOT_NEEDED: "not needed any more",
}


PURPOSES = {
    ASKED: "asked to decide",
    "reminder": "reminded",
    "escalated": "asked since it was escalated",
    "assigned": "assigned to it",
    "taken_over": "told that another has taken it over",
    "delegated": "asked in another's place",
    "revised": "told that it has changed",
    "info_requested": "asked a question",
    "answered": "told the answer to the question",
    "changes_requested": "told what would have to change",
    "commented": "told of a comment",
    "unsatisfiable": "told that nobody can decide it",
    "to_review": "asked to review",
    GLASS_BROKEN: "told of a decision in an emergency",
    DECIDED: "told of the decision",
    CLOSED: "told that it has ended",
}

Message = Notification | ExternalNotice | ChannelPost


@dataclass(frozen=True, slots=True)
class Told:
    to: str
    purpose: str
    channel: str
    state: str
    at: datetime | None  # when it was delivered, or is to be
    error: str


def told_context(request: ActionRequest) -> dict[str, Any]:
    """For `approvals/_told.html`: the newest messages to people, systems and channels, oldest first."""
    people = request.notifications.select_related("recipient", "summary").order_by("-told_at", "-id")
    systems = request.external_notices.select_related("system").order_by("-told_at", "-id")
    posts = request.channel_posts.select_related("channel").order_by("-told_at", "-id")
    found: list[Message] = [*people[: MOST + 1], *systems[: MOST + 1], *posts[: MOST + 1]]
    found.sort(key=lambda row: (row.told_at or row.due_at, row.pk))
    return {"told": [_told(row) for row in found[-MOST:]], "told_more": max(0, len(found) - MOST)}


def _told(row: Message) -> Told:
    if isinstance(row, Notification):
        to, channel = row.recipient.get_full_name() or row.recipient.get_username(), str(row.get_channel_display())
        channel = "summary" if row.summary_id else channel.lower()
    elif isinstance(row, ChannelPost):
        to, channel = row.channel.channel, "slack channel"
    else:
        to, channel = row.system.shown_name, "signed message"
    return Told(made_visible(to), purpose_shown(row), channel, state_shown(row), row.sent_at or row.due_at, _error(row))


def purpose_shown(row: DueRow) -> str:
    return PURPOSES.get(row.purpose, row.purpose.replace("_", " "))


def state_shown(row: DueRow) -> str:
    if row.state == MailState.DUE and row.attempts:
        return "is tried again"
    return STATES[MailState(row.state)]


def _error(row: DueRow) -> str:
    return made_visible(row.error[:200]) if row.state != MailState.SENT else ""
