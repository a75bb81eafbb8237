# SPDX-License-Identifier: Apache-2.0
"""Who is calling: an API key, a JSON Web Token, or a person's session. Whatever fails says why, with 401.

Both bearer schemes share one header, so one class tells them apart: `hmsact_…` is a key, all else a token.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import CharField, Q
from django.utils.crypto import constant_time_compare
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.crypto import hash_token
from knox.settings import knox_settings
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.request import Request

from accounts import assurance, tokens
from accounts.models import ApiKey, User, public_part
from audit.context import refine
from config import clock
from config.errors import NotAuthenticated
from config.prepared import Param, Reading

USE_NOTED_EVERY = timedelta(minutes=1)  # a write per call would cost more than the call
Authenticated = tuple[User, Any]


class BearerOrSession(BaseAuthentication):
    def authenticate(self, request: Request) -> Authenticated | None:
        scheme, _, credential = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return by_session(request)
        credential = credential.strip()
        if not credential or " " in credential or not credential.isprintable():
            raise NotAuthenticated("`Authorization: Bearer` needs one API key or token behind it.")
        if credential.startswith(knox_settings.TOKEN_PREFIX):
            return by_key(credential)
        return by_token(credential)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="hms-act"'


def by_key(token: str) -> Authenticated:
    """The user of a key, in one query. `request.auth` is the key."""
    key: Any = next(iter(_known(public_part=public_part(token))), None)
    if key is None or not constant_time_compare(hash_token(token), key.digest):
        raise NotAuthenticated("This API key is not known here.")
    now: datetime = key.read_at
    if key.revoked_at is not None:
        raise NotAuthenticated(f"This API key was revoked on {key.revoked_at:%Y-%m-%d}.")
    if key.expiry is not None and key.expiry <= now:
        raise NotAuthenticated(f"This API key expired on {key.expiry:%Y-%m-%d}.")
    if not key.user.is_active:
        raise NotAuthenticated("The user of this API key has been deactivated.")
    _note_use(key, now)
    refine(credential=key.credential)
    return key.user, key


_known = Reading(
    lambda: (
        ApiKey.objects.select_related("user")
        .annotate(read_at=clock.Now(each_time=True))
        .filter(token_key=Param("public_part", CharField()))
        .order_by("pk")[:1]
    )
)


def _note_use(key: ApiKey, now: datetime) -> None:
    before = now - USE_NOTED_EVERY
    if key.last_used_at is None or key.last_used_at <= before:
        unnoted = Q(last_used_at__isnull=True) | Q(last_used_at__lte=before)
        ApiKey.objects.filter(unnoted, pk=key.pk).update(last_used_at=now)


def by_token(raw: str) -> Authenticated:
    user, _ = tokens.bearer_of(raw, tokens.ACCESS)
    refine(credential="jwt", authenticated_at=user.proved_at)
    return user, None


def by_session(request: Request) -> Authenticated | None:
    """A person on our own pages. Other sites' pages cannot act for them: the CSRF check is Django's."""
    user = getattr(request._request, "user", None)
    if user is None or not user.is_active:
        return None
    SessionAuthentication().enforce_csrf(request)
    refine(credential="session")
    assurance.recall(request._request)
    return user, None


class BearerOrSessionScheme(OpenApiAuthenticationExtension):
    """What the API's description says of it."""

    target_class = "accounts.authentication.BearerOrSession"
    name = ["bearer", "session"]

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[Any]]]:
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {
                "type": "http",
                "scheme": "bearer",
                "description": "An API key (`hmsact_…`), or the access token that `POST /auth/token` answers.",
            },
            {
                "type": "apiKey",
                "in": "cookie",
                "name": "sessionid",
                "description": "The session of a person who has logged in; changes need the CSRF token as well.",
            },
        ]
