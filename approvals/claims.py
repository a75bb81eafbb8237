# SPDX-License-Identifier: Apache-2.0
"""A person's claim as the decision page knows it: its token, kept in their session, and how it stands.

A claim is advice to people: it tells who is at it. What can end is the claim, and never the right to decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from approvals.claiming import claim_ttl
from approvals.models import ActionRequest, RequestState
from audit.shown import made_visible
from config import clock
from config.errors import AlreadyDecided, LeaseLost, Refused, WrongState
from runs.leases import hashed

IN_SESSION = "claims"  # request id → token
TOKENS_KEPT = 50  # the newest; an older claim has ended long since, or is taken up anew with a click
RENEWALS_PER_CLAIM = 5  # the page asks for one when so large a part of the claim has gone by in writing


class Standing(StrEnum):
    FREE = "free"  # nobody says that they are at it
    MINE = "mine"
    ELSEWHERE = "elsewhere"  # mine, but its token is of the API, of another browser or of an earlier log-in
    OTHERS = "others"
    ENDED = "ended"  # was mine, has run out, and nobody has taken it since: a decision waits for its renewal


@dataclass(frozen=True, slots=True)
class Claim:
    standing: Standing
    by: str = ""
    until: datetime | None = None
    at: datetime | None = None  # when this was read
    renewable: bool = True  # False: renewed as long as claims may be
    ttl: timedelta = timedelta(0)

    @property
    def until_shown(self) -> str:
        """`14:20 UTC`; with its day, if that is another than today."""
        if self.until is None or self.at is None:
            return ""
        return f"{self.until:%H:%M} UTC" if self.until.date() == self.at.date() else f"{self.until:%-d %b, %H:%M} UTC"

    @property
    def minutes(self) -> int:
        return max(1, round(self.ttl.total_seconds() / 60))

    @property
    def renew_after_seconds(self) -> int:
        return max(1, int(self.ttl.total_seconds()) // RENEWALS_PER_CLAIM)


def claim_on(asked: ActionRequest, *, reader: Any, token: str) -> Claim:
    """How the claim on a request stands, for who looks at it with this token (or none, "")."""
    is_claimed = asked.state == RequestState.IN_REVIEW
    holder, known = (
        (asked.claimed_by_id, asked.claim_token_hash) if is_claimed else (asked.lapsed_by_id, asked.lapsed_token_hash)
    )
    is_mine, ttl = holder == reader.pk, claim_ttl(asked)
    has_token = bool(token) and is_mine and known == hashed(token)
    if not is_claimed and not has_token:
        return Claim(Standing.FREE, ttl=ttl)
    at, until = clock.now(), asked.claim_expires_at
    if until is not None and at < until:
        standing = Standing.MINE if has_token else Standing.ELSEWHERE if is_mine else Standing.OTHERS
        return Claim(standing, by=_name(asked.claimed_by), until=until, at=at, ttl=ttl)
    if has_token:
        return Claim(Standing.ENDED, renewable=_is_below_cap(asked, at), ttl=ttl)
    return Claim(Standing.FREE, ttl=ttl)


def _is_below_cap(asked: ActionRequest, at: datetime) -> bool:
    return asked.claimed_at is not None and at < asked.claimed_at + timedelta(seconds=settings.CLAIM_CAP_SECONDS)


def _name(person: Any) -> str:
    return made_visible(person.get_full_name() or person.get_username())


# Tokens in the session ------------------------------------------------------------------------------------


def token_of(request: HttpRequest, asked: ActionRequest) -> str:
    return str(request.session.get(IN_SESSION, {}).get(asked.pk, ""))


def keep(request: HttpRequest, asked: ActionRequest, token: str) -> None:
    older = {key: value for key, value in request.session.get(IN_SESSION, {}).items() if key != asked.pk}
    request.session[IN_SESSION] = dict([*older.items(), (asked.pk, token)][-TOKENS_KEPT:])


def drop(request: HttpRequest, asked: ActionRequest) -> None:
    kept = request.session.get(IN_SESSION, {})
    if asked.pk in kept:
        request.session[IN_SESSION] = {key: value for key, value in kept.items() if key != asked.pk}


def drop_if_lost(request: HttpRequest, asked: ActionRequest, refusal: Refused) -> None:
    """A claim that was lost must not stand in the way of the next try, which is made without one."""
    if isinstance(refusal, (LeaseLost, AlreadyDecided, WrongState)):
        drop(request, asked)
