# SPDX-License-Identifier: Apache-2.0
"""POST /auth/token and /auth/token/refresh: a person's password for tokens that stand for them for a while."""

from __future__ import annotations

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import tokens
from accounts.models import User
from audit.context import refine
from config import clock
from config.api import TextField, validated
from config.errors import NotAuthenticated
from config.openapi import described


class LogInIn(serializers.Serializer):
    username = TextField(max_length=150)
    password = TextField(max_length=4096)


class TokensOut(serializers.Serializer):
    access = serializers.CharField(help_text="For calls, as `Authorization: Bearer`; lives 15 minutes.")
    refresh = serializers.CharField(help_text="For the next access token; lives 12 hours.")


class RefreshIn(serializers.Serializer):
    refresh = TextField(max_length=4096)


class AccessOut(serializers.Serializer):
    access = serializers.CharField()


class _Open(APIView):
    """Whoever calls has nothing to show yet."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


class ObtainToken(_Open):
    @described(
        "log_in",
        "Get tokens for a password",
        asks=LogInIn,
        example={"username": "liaison", "password": "correct-horse-battery"},
        answers={200: TokensOut},
        shows={"access": "eyJhbGciOi…", "refresh": "eyJhbGciOi…"},
        refuses=("not_authenticated", "rate_limited"),
    )
    def post(self, request: Request) -> Response:
        given = validated(LogInIn, request.data)
        refine(credential="password")
        user = authenticate(request=request._request, **given)
        if not isinstance(user, User) or not user.is_human:
            raise NotAuthenticated("The username or the password is wrong, or the account is not active.")
        user_logged_in.send(sender=User, request=request._request, user=user)
        return _unstored(tokens.issue(user, at=clock.now()))


class RefreshToken(_Open):
    @described(
        "refresh_token",
        "Get the next access token",
        asks=RefreshIn,
        example={"refresh": "eyJhbGciOi…"},
        answers={200: AccessOut},
        shows={"access": "eyJhbGciOi…"},
        refuses=("not_authenticated",),
    )
    def post(self, request: Request) -> Response:
        given = validated(RefreshIn, request.data)
        user, now = tokens.bearer_of(given["refresh"], tokens.REFRESH)
        return _unstored({"access": tokens.renewed_access(user, at=now)})


def _unstored(body: dict[str, str]) -> Response:
    """RFC 6749 §5.1: no cache may keep a token."""
    return Response(body, headers={"Cache-Control": "no-store"})
