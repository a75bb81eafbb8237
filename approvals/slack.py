# SPDX-License-Identifier: Apache-2.0
"""Slack: what is said there, and whether a call comes from there.

A message holds the ask, its severity, its deadline and buttons; never an argument, an answer or a secret. Whoever
clicks is known by Slack's stable member id, never by a name. Off unless the operator gives the bot's token and the
signing secret of the app; the addresses that are called are Slack's alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from approvals import letters
from approvals.choices import Choice, choices_of, must_confirm
from approvals.models import DECIDABLE_REQUESTS, ActionRequest, ChannelPost, Notification, SlackAccount, SlackCode
from approvals.models.messages import ASKED
from approvals.rights import rules_of
from config.api import parse_json
from config.errors import Refused as Refusal
from config.mail import Undeliverable, Undelivered
from playbooks import outbound
from playbooks.catalogue import Permanent

FRESH = timedelta(minutes=5)
TIMEOUTS = outbound.Timeouts(connect=5, read=10, total=20)
MAX_BUTTONS = 4  # beside the one that opens the page
# What Slack answers that no other try will change.
FOR_EVER = frozenset(
    {"account_inactive", "cannot_dm_bot", "channel_not_found", "invalid_arguments", "invalid_auth", "invalid_blocks"}
    | {"is_archived", "message_not_found", "missing_scope", "msg_too_long", "not_authed", "token_revoked"}
    | {"user_disabled", "user_not_found"}
)
OPEN, DECIDE = "open", "decide"


def is_on() -> bool:
    return bool(settings.SLACK_TOKEN and settings.SLACK_SIGNING_SECRET)


def member_of(user_id: int) -> str:
    """The member id of somebody who has linked their account; "" otherwise, and while Slack is off."""
    if not is_on():
        return ""
    linked = SlackAccount.objects.filter(user=user_id, ended_at__isnull=True)
    return linked.values_list("member", flat=True).first() or ""


# Telling --------------------------------------------------------------------------------------------------


def send(row: Notification) -> tuple[str, ...]:
    """Post a message to its recipient, or close the one they have. Raises Undelivered, Undeliverable."""
    member = member_of(row.recipient_id)
    if not member:
        raise Undeliverable("no Slack account is linked")
    first = _first_message(row)
    said = message_for(row)
    if row.closes and first:
        channel, _, ts = first.partition(":")
        answer = _call("chat.update", {"channel": channel, "ts": ts, **said})
    else:
        channel, _, ts = first.partition(":")
        thread = {"thread_ts": ts} if first else {}
        answer = _call("chat.postMessage", {"channel": channel or member, **thread, **said})
    row.reference = f"{answer.get('channel', '')}:{answer.get('ts', '')}"[:200]
    return ("reference",)


def post(row: ChannelPost) -> tuple[str, ...]:
    """Post a question in its channel, or bring the post up to date. Raises Undelivered, Undeliverable."""
    if not is_on():
        raise Undeliverable("Slack is not set up here")
    said = message_for(row)
    if row.purpose == ASKED:
        answer = _call("chat.postMessage", {"channel": row.channel.channel, **said})
    else:
        first = row.first()
        if first is None or not first.reference:
            raise Undelivered("the post that this changes is still on its way")
        channel, _, ts = first.reference.partition(":")
        answer = _call("chat.update", {"channel": channel, "ts": ts, **said})
    row.reference = f"{answer.get('channel', '')}:{answer.get('ts', '')}"[:200]
    return ("reference",)


def _first_message(row: Notification) -> str:
    """`channel:ts` of the message that opened the thread about this request."""
    sent = Notification.objects.filter(
        request=row.request_id, recipient=row.recipient_id, channel=row.channel, sent_at__isnull=False
    )
    return sent.exclude(reference="").order_by("sent_at", "id").values_list("reference", flat=True).first() or ""


def send_code(row: SlackCode) -> None:
    text = (
        f"Your code for HMS-ACT is {code_of(row)}. Type it on the page on which you asked for it, within ten minutes. "
        "If you did not ask for it, do nothing: without it nobody can act in your name."
    )
    _call("chat.postMessage", {"channel": row.member, "text": text})


def code_of(row: SlackCode) -> str:
    """Eight digits, made from the row and the server's key; kept nowhere."""
    given = f"slack code {row.recipient_id} {row.member} {row.nonce}".encode()
    number = int.from_bytes(hmac.digest(settings.SECRET_KEY.encode(), given, "sha256")[:8], "big")
    return f"{number % 10**8:08d}"


def new_nonce() -> str:
    return secrets.token_hex(16)


def message_for(row: Notification | ChannelPost) -> dict[str, Any]:
    """The message in Slack's blocks. Texts of others are plain text there: no link, no mention, no format in them."""
    news = letters.news_of(row)
    facts = [f"{news.severity} severity", f"asked by {news.asked_by}"]
    facts += [f"due {news.deadline}"] if news.deadline and not news.ending else []
    blocks: list[dict[str, Any]] = [
        _section(f"{news.heading}: {news.title}"),
        {"type": "context", "elements": [_plain(", ".join(facts))]},
        _section(news.ending or news.silence),
        {"type": "actions", "block_id": row.request_id, "elements": _buttons(row, news.url)},
    ]
    return {"text": _escaped(news.line), "blocks": blocks, "unfurl_links": False}


def _buttons(row: Notification | ChannelPost, url: str) -> list[dict[str, Any]]:
    review = {"type": "button", "action_id": OPEN, "text": _plain("Open to review"), "url": url}
    if row.closes:
        return [review]
    return [review, *(_button(row.request, choice) for choice in choices_in_chat(row.request)[:MAX_BUTTONS])]


def _button(request: ActionRequest, choice: Choice) -> dict[str, Any]:
    asked = {"request": request.pk, "revision": request.revision, "digest": request.digest, "outcome": choice.key}
    sure = {
        "title": _plain("Are you sure?"),
        "text": _plain(f"{choice.label}: this decides it in your name."),
        "confirm": _plain("Yes"),
        "deny": _plain("No"),
    }
    return {
        "type": "button",
        "action_id": f"{DECIDE}.{choice.key}",
        "text": _plain(choice.label[:75]),
        "value": json.dumps(asked),
        "confirm": sure,
    }


def choices_in_chat(request: ActionRequest) -> list[Choice]:
    """What may be chosen without the page: nothing that must be read, filled in or explained first."""
    if request.state not in DECIDABLE_REQUESTS or only_on_page(request):
        return []
    reasons = rules_of(request).reasons
    return [choice for choice in choices_of(request) if not (choice.fails and (reasons.on_reject or reasons.codes))]


def only_on_page(request: ActionRequest) -> str:
    """Why this request is decided on its page alone; "" if it need not be."""
    if must_confirm(request):
        return f"It has {request.get_severity_display().lower()} severity."
    if request.form is not None:
        return "It asks for more than yes or no."
    return ""


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _plain(text)}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text[:3000], "emoji": False}


def _escaped(text: str) -> str:
    """For the one field that Slack reads as its markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _call(method: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    url = f"{settings.SLACK_API}/{method}"
    headers = {
        "Authorization": f"Bearer {settings.SLACK_TOKEN}",
        "Content-Type": "application/json; charset=utf-8",
        "Accept": "application/json",
        "User-Agent": "HMS-ACT",
    }
    outgoing = outbound.Outgoing("POST", url, headers, json.dumps(given).encode(), TIMEOUTS)
    try:
        answer = outbound.send(outgoing, hosts=_hosts())
    except (outbound.ServiceUnreachable, Permanent) as fault:
        raise Undelivered(f"Slack: {fault}")
    if answer.status != 200:
        raise Undelivered(f"Slack answered {answer.status}")
    try:
        said = parse_json(answer.body)
    except Refusal as fault:
        raise Undelivered(f"Slack answered no JSON: {fault.detail}")
    if isinstance(said, dict) and said.get("ok") is True:
        return said
    error = str(said.get("error", "no error named"))[:100] if isinstance(said, dict) else "no object"
    raise (Undeliverable if error in FOR_EVER else Undelivered)(f"Slack: {error}")


def _hosts() -> outbound.Hosts:
    """The host of the API alone; one with a port, as tests have it, may be a private one."""
    parts = urlsplit(settings.SLACK_API)
    return frozenset({(parts.hostname or "", parts.port)})


# Hearing --------------------------------------------------------------------------------------------------


def is_fresh(timestamp: str, at: datetime) -> bool:
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
        return False
    return abs(at.timestamp() - int(timestamp)) <= FRESH.total_seconds()


def is_signed(body: bytes, timestamp: str, signature: str) -> bool:
    """Slack's signature, version 0: HMAC-SHA-256 over version, timestamp and body as they came."""
    based = b"v0:" + timestamp.encode("ascii", "replace") + b":" + body
    wanted = "v0=" + hmac.new(settings.SLACK_SIGNING_SECRET.encode(), based, hashlib.sha256).hexdigest()
    return is_on() and hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace"))
