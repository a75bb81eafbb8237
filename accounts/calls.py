# SPDX-License-Identifier: Apache-2.0
"""The base of every HTTP call that somebody makes: who they are, and what they say about repetition and change."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, ClassVar

from django.db import transaction
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.idempotency import idempotent
from accounts.models import User
from config.errors import Invalid, Refused, StaleRevision
from config.openapi import IF_MATCH

CHANGING = ("post", "put", "patch")
_TAG = re.compile(r'"[^"]*"')  # with or without the W/ that a proxy may have put before it


class Call(APIView):
    """Authentication and the permission classes have let nobody else through, so the caller is a user.

    Every method that changes something honours `Idempotency-Key`, unless the class says `repeatable = False`:
    because it changes nothing, or because its answer holds a token that must not be stored. It honours `If-Match`
    where the class says by `etag_now` what it would change.
    """

    repeatable: ClassVar[bool] = True
    limit_scope: ClassVar[str] = "create"  # of what changes something (`accounts/limits.py`); reading has its own

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in CHANGING:
            if name not in cls.__dict__:
                continue
            method = _matching(cls.__dict__[name])
            setattr(cls, name, idempotent(method) if cls.repeatable else method)

    @property
    def actor(self) -> User:
        user = self.request.user
        assert isinstance(user, User)
        return user

    def etag_now(self, **named: Any) -> str | None:
        """The ETag of the row that the path names, read under its lock; None for a call that changes no one row."""
        return None


def _matching(method: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse a change of what the caller has not read: RFC 9110 If-Match, answered 409 `stale_revision`."""

    @functools.wraps(method)
    def matched(view: Call, request: Request, *args: Any, **named: Any) -> Any:
        wanted = request.headers.get("If-Match")
        if wanted is None or wanted.strip() == "*":
            return method(view, request, *args, **named)
        with transaction.atomic():  # so that the lock holds until the act has been done
            _compare(wanted, view.etag_now(**named))
            try:
                return method(view, request, *args, **named)
            except Refused as refused:  # its DENIED entry stands in this transaction, and has to be kept
                refusal = refused
        raise refusal

    return matched


def _compare(wanted: str, etag: str | None) -> None:
    if etag is None:
        return
    if not re.fullmatch(IF_MATCH, wanted.strip()):
        raise Invalid("If-Match: send the ETag as you got it, with its quotation marks.")
    if etag not in _TAG.findall(wanted):
        raise StaleRevision(f"It changed since you read it: its ETag is {etag} now.", headers={"ETag": etag})
