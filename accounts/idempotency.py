# SPDX-License-Identifier: Apache-2.0
"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): the same call sent again is answered the same.

The answer is stored in the transaction of the act it answers, under user, method, path and key. What was refused
changed nothing and is not stored, so it may simply be tried again. Two at once: the second is told to wait
(`idempotency_in_flight`); the same key with another body is a mistake of the caller (`idempotency_mismatch`).
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import RequestDataTooBig
from django.db import connection, transaction
from django.utils.crypto import salted_hmac
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import IdempotentCall
from config import clock
from config.api import JSONRenderer, TooLarge
from config.errors import Invalid, Refused

if TYPE_CHECKING:
    from accounts.calls import Call

KEPT = timedelta(days=7)
REPLAYED_HEADER = "Idempotency-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Method = Callable[..., Any]


class InFlight(Refused):
    """The same call is being carried out at this moment. Send it again a little later."""

    code = "idempotency_in_flight"


class Mismatch(Invalid):
    """This Idempotency-Key was used for another body. Use a new key for a new call."""

    code = "idempotency_mismatch"


def idempotent(method: Method) -> Method:
    """Wrap a view's method so that it honours the header."""

    @functools.wraps(method)
    def answered(view: Call, request: Request, *args: Any, **kwargs: Any) -> Any:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return method(view, request, *args, **kwargs)
        if not _KEY.fullmatch(key):
            raise Invalid("Idempotency-Key: send 1 to 255 printable characters without blanks.")
        scope = {"user": view.actor, "method": request.method, "path": request.path, "key": key}
        return _once(scope, _fingerprint(request), lambda: method(view, request, *args, **kwargs))

    return answered


def _once(scope: dict[str, Any], fingerprint: str, call: Callable[[], Response]) -> Response:
    with transaction.atomic():
        _lock(scope)
        known = IdempotentCall.objects.filter(**scope).first()
        if known is not None:
            return _again(known, fingerprint)
        try:
            response = call()
        except Refused as refused:  # its DENIED entry stands in this transaction, and has to be kept
            refusal: Refused = refused
        else:
            if response.status_code < 300:
                _keep(scope, fingerprint, response)
            return response
    raise refusal


def _lock(scope: dict[str, Any]) -> None:
    """On PostgreSQL a lock of this transaction that does not wait; SQLite has one writer at a time anyway."""
    if connection.vendor != "postgresql":
        return
    named = f"{scope['user'].pk} {scope['method']} {scope['path']} {scope['key']}".encode()
    number = int.from_bytes(hashlib.sha256(named).digest()[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        (mine,) = cursor.fetchone()
    if not mine:
        raise InFlight(headers={"Retry-After": "1"})


def _again(known: IdempotentCall, fingerprint: str) -> Response:
    if known.fingerprint != fingerprint:
        raise Mismatch
    return Response(known.answer, status=known.status, headers={**known.headers, REPLAYED_HEADER: "true"})


def _keep(scope: dict[str, Any], fingerprint: str, response: Response) -> None:
    headers = {name: response[name] for name in ("ETag",) if name in response}
    IdempotentCall.objects.create(
        **scope,
        fingerprint=fingerprint,
        status=response.status_code,
        headers=headers,
        answer=json.loads(JSONRenderer().render(response.data)),
        created_at=clock.now(),
    )


def _fingerprint(request: Request) -> str:
    """Of the body as sent, and of what follows the path. Read before the parser reads, which takes it from here.

    Keyed, because a body may hold a short secret, which a plain digest would let be guessed.
    """
    try:
        body = request._request.body
    except RequestDataTooBig:
        raise TooLarge
    sent = request._request.META.get("QUERY_STRING", "").encode() + b"\x00" + body
    return salted_hmac("hms-act idempotency", sent, algorithm="sha256").hexdigest()


def forget_old() -> int:
    """Housekeeping: answers older than seven days."""
    deleted, _ = IdempotentCall.objects.filter(created_at__lt=clock.now() - KEPT).delete()
    return deleted
