# SPDX-License-Identifier: Apache-2.0
"""JSON Web Tokens: made and signed by simplejwt, with the times of our clock.

The library would compare times with the clock of the host that happens to answer; hosts differ by seconds, and a
token issued by one would not yet be valid on the next. So the signature is checked first, without a database, and
the times against the moment that comes with the user's row.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import jwt
from django.utils.crypto import constant_time_compare
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from accounts.models import User
from config import clock
from config.errors import NotAuthenticated

PROVED_AT = "auth_time"  # OpenID Connect Core 1.0, section 2: when the password was given; renewed tokens have none
ACCESS, REFRESH = AccessToken.token_type, RefreshToken.token_type
REQUIRED_CLAIMS = ["exp", "iat", api_settings.USER_ID_CLAIM, api_settings.TOKEN_TYPE_CLAIM]


def issue(user: User, *, at: datetime) -> dict[str, str]:
    """{access, refresh}: the one for calls, the other for the next access token."""
    refresh = RefreshToken.for_user(user)
    refresh[PROVED_AT] = int(at.timestamp())
    return {"access": _signed(refresh.access_token, at), "refresh": _signed(refresh, at)}


def renewed_access(user: User, *, at: datetime) -> str:
    return _signed(RefreshToken.for_user(user).access_token, at)


def _signed(token: Token, at: datetime) -> str:
    token.set_iat(at_time=at)
    token.set_exp(from_time=at)
    return str(token)


def bearer_of(raw: str, token_type: str) -> tuple[User, datetime]:
    """(the active user a token stands for, now), in one query. Raises NotAuthenticated with the reason."""
    claims = _verified(raw, token_type)
    user_id = str(claims[api_settings.USER_ID_CLAIM])
    user = User.objects.annotate(read_at=clock.Now()).filter(pk=user_id).first() if user_id.isdecimal() else None
    if user is None:
        raise NotAuthenticated("The user of this token is not known here.")
    now: datetime = user.read_at
    if _moment(claims["exp"]) <= now:
        raise NotAuthenticated(_EXPIRED[token_type])
    if not user.is_active:
        raise NotAuthenticated("The user of this token has been deactivated.")
    password_then = str(claims.get(api_settings.REVOKE_TOKEN_CLAIM))
    if not constant_time_compare(password_then, get_md5_hash_password(user.password)):
        raise NotAuthenticated("The password has been changed since this token was issued. Log in again.")
    proved = claims.get(PROVED_AT)
    user.proved_at = _moment(proved) if isinstance(proved, int) else None
    return user, now


_EXPIRED = {
    ACCESS: "This token has expired. Get a new one from /auth/token/refresh.",
    REFRESH: "This refresh token has expired. Log in again at /auth/token.",
}


def _verified(raw: str, token_type: str) -> dict[str, Any]:
    """The claims, if we signed them for this use. The algorithm is ours to name, never the token's."""
    try:
        claims: dict[str, Any] = jwt.decode(
            raw,
            api_settings.SIGNING_KEY,
            algorithms=[api_settings.ALGORITHM],
            issuer=api_settings.ISSUER,
            options={"require": REQUIRED_CLAIMS, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
    except jwt.InvalidTokenError:
        raise NotAuthenticated("This is neither one of our API keys nor a token that we signed.")
    if claims[api_settings.TOKEN_TYPE_CLAIM] != token_type:
        raise NotAuthenticated(f"This is a token of another kind: send the {token_type} token.")
    return claims


def _moment(epoch: Any) -> datetime:
    return datetime.fromtimestamp(int(epoch), tz=UTC)
