# SPDX-License-Identifier: Apache-2.0
"""What messages about requests say.

First the ask, who asks, until when in the reader's own time, and what happens if nobody answers; then one way to it.
Of what the agent handed in, a message shows the parameters that the policy lists under `notify.show`, and no other:
mails and chats are read on lock screens and kept by strangers. Text of others stands in it made visible, so that
nothing in it can hide; the HTML escapes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse

from approvals.deadlines import silence_may_approve
from approvals.models import ActionRequest, ChannelPost, Notification, RequestState, Summary
from approvals.models.messages import ASKED, GLASS_BROKEN, Preference
from approvals.notify import link_to
from audit.shown import made_visible
from config.mail import Letter
from playbooks.places import Flaw, shown

MAX_SHOWN = 20  # parameters in one message
SHOWN_CHARACTERS = 120  # of one of them
PARAMETER = re.compile(r"[^\s.]{1,100}(\.[^\s.]{1,100}){0,5}")
SECRETIVE = re.compile(r"authori[sz]ation|cookie|token|secret|passw|api-?_?key|credential|signature", re.IGNORECASE)

HEADINGS = {
    ASKED: "A decision is waiting for you",
    "reminder": "This still waits for a decision",
    "escalated": "This has been escalated to you",
    "assigned": "This has been assigned to you",
    "taken_over": "Somebody else has taken this over from you",
    "delegated": "This has been delegated to you",
    "revised": "What is asked has changed; it waits for a decision",
    "info_requested": "You are asked for more information",
    "answered": "What was asked back has been answered",
    "changes_requested": "Changes are asked for",
    "commented": "There is a new comment",
    "unsatisfiable": "Nobody can decide this as things stand",
    GLASS_BROKEN: "This was decided by one person alone, in an emergency",
    "to_review": "This needs its page: open it to review",
}
VERBS = {
    ASKED: "Decide",
    "reminder": "Still to decide",
    "escalated": "Escalated",
    "revised": "Changed, decide",
    GLASS_BROKEN: "Decided alone",
}
ENDED = {
    RequestState.EXPIRED: "Nobody answered in time: it has ended unanswered.",
    RequestState.CANCELLED: "Its requester has taken it back.",
    RequestState.NOT_REQUIRED: "An answer is not needed any more.",
    RequestState.SUPERSEDED: "It was taken back, and is asked anew.",
}


@dataclass(frozen=True, slots=True)
class News:
    """All that a message may say; every text of others is made visible."""

    heading: str
    verb: str
    title: str
    severity: str
    asked_by: str
    place: str  # the playbook and run; "" outside any
    deadline: str  # in the reader's time; "" for none
    silence: str  # what happens if nobody answers; "" once it has ended
    ending: str  # outcome and decider; "" while it is open
    shown: tuple[tuple[str, str], ...]  # parameters that the policy lets be shown
    url: str

    @property
    def line(self) -> str:
        """`[High] Decide: Charge $40 to permit 123 · by Fri 21 Nov 2025, 17:00 CET`."""
        until = f" · by {self.deadline}" if self.deadline and not self.ending else ""
        return f"[{self.severity}] {self.verb}: {self.title}{until}"


def news_of(notification: Notification | ChannelPost, zone: str = "") -> News:
    """`zone` is of its reader, if it has been read already; many read a channel."""
    request = notification.request
    zone = zone or ("UTC" if isinstance(notification, ChannelPost) else zone_of(notification.recipient_id))
    ending = "" if request.is_open else _ending(request, zone)
    deadline = request.due_at or request.expires_at
    return News(
        heading=_heading(notification),
        verb=_verb(notification, request),
        title=" ".join(made_visible(request.title).split()),
        severity=request.get_severity_display(),
        asked_by=_name(request.requester),
        place=f"{made_visible(str(request.run.version.playbook))}, run {request.run_id}" if request.run else "",
        deadline=in_zone(deadline, zone) if deadline else "",
        silence="" if ending else _silence(request, zone),
        ending=ending,
        shown=() if ending else tuple(shown_parameters(request)),
        url=settings.SITE_ROOT + link_to(request),
    )


def _heading(notification: Notification | ChannelPost) -> str:
    if notification.closes:
        return "This is settled"
    if isinstance(notification, ChannelPost) and notification.purpose == ASKED:
        return "A decision is waiting"
    return HEADINGS.get(notification.purpose, "There is news about it")


def letter_of(notification: Notification, *, link: str = "") -> Letter:
    """The mail. `link` is an address by which its reader may decide without a log-in, where the policy allows it."""
    news = news_of(notification)
    reader = _name(notification.recipient)
    words = {"news": news, "reader": reader, "link": link or news.url, "needs_log_in": not link, "wishes": _own_page()}
    return Letter(
        subject=news.line,
        text=_lines(render_to_string("approvals/mail/message.txt", words)),
        html=render_to_string("approvals/mail/message.html", words),
        headers=thread_headers(notification),
    )


def summary_letter(summary: Summary, listed: list[Notification]) -> Letter:
    """One line for each request, however often there was news of it."""
    newest = {each.request_id: each for each in listed}
    zone = zone_of(summary.recipient_id)
    news = [news_of(each, zone) for each in newest.values()]
    waiting = sum(not each.ending for each in news)
    words = {
        "news": news,
        "reader": _name(summary.recipient),
        "inbox": settings.SITE_ROOT + reverse("admin:approvals_actionrequest_changelist"),
        "wishes": _own_page(),
    }
    return Letter(
        subject=f"[Summary] {waiting} to decide, {len(news) - waiting} settled",
        text=_lines(render_to_string("approvals/mail/summary.txt", words)),
        html=render_to_string("approvals/mail/summary.html", words),
    )


def thread_headers(notification: Notification) -> dict[str, str]:
    """All mails to one person about one request are one thread, whichever of them arrives first."""
    host = urlsplit(settings.SITE_ROOT).hostname or "localhost"
    root = f"<{notification.request_id}.{notification.recipient_id}@{host}>"
    marks = {"Auto-Submitted": "auto-generated", "X-HMS-Act-Request": notification.request_id}
    if notification.purpose == ASKED:
        return {"Message-ID": root, **marks}
    own = f"<{notification.request_id}.{notification.recipient_id}.{notification.pk}@{host}>"
    return {"Message-ID": own, "In-Reply-To": root, "References": root, **marks}


# What a policy may say of it ------------------------------------------------------------------------------


def flaws_of_notify(section: Mapping[str, Any]) -> Iterator[Flaw]:
    """What is wrong with the section `notify` of a written policy: `show` lists parameters, and there is no other."""
    for name in section.keys() - {"show"}:
        yield Flaw((name,), f"{shown(name)} is no word of it.", "Write `show`, a list of names of parameters.")
    names = section.get("show", [])
    if not isinstance(names, list) or len(names) > MAX_SHOWN:
        yield Flaw(("show",), "It is a list of names.", f"List {MAX_SHOWN} at most, as [amount, invoice.number].")
        return
    for number, name in enumerate(names):
        if not isinstance(name, str) or not PARAMETER.fullmatch(name):
            yield Flaw(("show", number), "That is no name of a parameter.", "Write it as amount, or invoice.number.")
        elif SECRETIVE.search(name):
            remedy = "Leave it out: mails and chats are kept by strangers."
            yield Flaw(("show", number), f"{shown(name)} looks as if it held a secret.", remedy)


# What is said ---------------------------------------------------------------------------------------------


def shown_parameters(request: ActionRequest) -> Iterator[tuple[str, str]]:
    """What the policy lets a message show: single values under the names it lists, cut to one short line each."""
    for name in list(request.policy.get("notify", {}).get("show", ()))[:MAX_SHOWN]:
        if SECRETIVE.search(name):
            continue
        value = next((found for each in _handed_in(request) if (found := _at(each, name)) is not None), None)
        if isinstance(value, str | int | float):
            text = " ".join(made_visible(str(value)).split())
            yield made_visible(name), text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _handed_in(request: ActionRequest) -> Iterator[Any]:
    asked, action = request.asked, getattr(request, "action", None) or {}
    yield asked.get("context")
    yield (asked.get("call") or {}).get("arguments")
    yield asked.get("input")
    yield (asked.get("input") or {}).get("payload")
    yield action.get("payload")
    yield action.get("input")


def _at(value: Any, name: str) -> Any:
    """`amount`, or `invoice.amount`."""
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _verb(notification: Notification | ChannelPost, request: ActionRequest) -> str:
    if not notification.closes:
        return VERBS.get(notification.purpose, "News")
    return "Decided" if request.state in (RequestState.FULFILLED, RequestState.REJECTED) else "Closed"


def _ending(request: ActionRequest, zone: str) -> str:
    if request.state in ENDED:
        return ENDED[RequestState(request.state)]
    if request.decided_at is None:
        return "It is settled."
    who = _name(request.decided_by) if request.decided_by else "a rule or the clock"
    return f"{outcome_word(request)} by {who} on {in_zone(request.decided_at, zone)}."


def outcome_word(request: ActionRequest) -> str:
    labels = {"PASS": "Approved", "FAIL": "Rejected"}
    labels |= {str(option["key"]): str(option["label"]) for option in request.options}
    return made_visible(labels.get(request.outcome, request.outcome))


def _silence(request: ActionRequest, zone: str) -> str:
    if request.expires_at is None:
        return "Nothing happens until somebody decides."
    until = in_zone(request.expires_at, zone)
    return f"If nobody answers by {until}, {_default_of(request)}"


def _default_of(request: ActionRequest) -> str:
    then = request.timetable.get("on_timeout", "expire")
    if then == "approve" and not silence_may_approve(request):
        then = "expire"
    return {
        "reject": "it counts as rejected.",
        "approve": "it counts as approved.",
        "reroute": "it goes to somebody else.",
        "wait": "it goes on waiting.",
    }.get(then, "it ends unanswered, and nothing is done.")


def in_zone(moment: datetime, zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):%a %-d %b %Y, %H:%M %Z}"


def zone_of(user_id: int) -> str:
    return Preference.objects.filter(user=user_id).values_list("zone", flat=True).first() or "UTC"


def _name(user: Any) -> str:
    return " ".join(made_visible(user.get_full_name() or user.get_username()).split())


def _own_page() -> str:
    return settings.SITE_ROOT + reverse("admin:approvals_preference_mine")


def _lines(text: str) -> str:
    """Without the empty lines that left-out parts leave behind."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
