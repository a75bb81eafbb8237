# SPDX-License-Identifier: Apache-2.0
"""Log-ins, log-outs and refused log-ins, as entries of the action log. Passwords never come near it."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from axes.helpers import get_cool_off
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from accounts import assurance
from accounts.models import User
from audit import actions
from audit.services import SYSTEM, Line, Subject, SystemActor, act, record
from config import clock
from config.api import problem
from config.errors import Forbidden, RateLimited

MAX_NAME_NOTED = 150  # characters; nobody has a longer name


class LogInDenied(Forbidden):
    """The log-in was refused."""


def connect() -> None:
    # Django's own receiver saves the whole user, which the field history would take for an edit.
    user_logged_in.disconnect(dispatch_uid="update_last_login")
    user_logged_in.connect(logged_in, dispatch_uid="accounts.logged_in")
    user_logged_out.connect(logged_out, dispatch_uid="accounts.logged_out")
    user_login_failed.connect(log_in_failed, dispatch_uid="accounts.log_in_failed")


def logged_in(sender: Any, user: User, request: Any = None, **kwargs: Any) -> None:
    at = clock.now()
    assurance.note(request, at)
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(last_login=at)
        record([Line(actions.USER_LOGGED_IN, user.audit_subject(), user, at)])


def logged_out(sender: Any, user: User | None, **kwargs: Any) -> None:
    if user is not None and user.is_authenticated:
        with transaction.atomic():
            record([Line(actions.USER_LOGGED_OUT, user.audit_subject(), user, clock.now())])


def log_in_failed(sender: Any, credentials: dict[str, Any], **kwargs: Any) -> None:
    with contextlib.suppress(LogInDenied):
        deny_log_in(username=str(credentials.get("username") or ""), actor=SYSTEM)


@act(denied=actions.USER_LOGIN_DENIED)
def deny_log_in(*, username: str, actor: SystemActor) -> None:
    """Leave the DENIED entry of a failed log-in. Always raises LogInDenied.

    People type passwords where the name belongs: what was typed is only noted, and can be erased. An entry
    names the user only where the name is one of ours.
    """
    user = User.objects.filter(username=username).first()
    raise LogInDenied(f"Log-in as {username[:MAX_NAME_NOTED]!r} was refused.", subject=user or _Nobody())


class _Nobody:
    def audit_subject(self) -> Subject:
        return Subject(type="user", id="")


def name_counted(request: HttpRequest, credentials: dict[str, Any] | None) -> str | None:
    """Under which name a failed log-in is counted. A log-in form takes any, and the counter's column does not."""
    name = (credentials or request.POST).get("username")
    return name and str(name)[:MAX_NAME_NOTED]


def lockout_of(request: HttpRequest) -> RateLimited:
    """The refusal of a caller who failed too often, and may try again after the cooling-off time."""
    cool_off = get_cool_off(request)
    seconds = math.ceil(cool_off.total_seconds()) if cool_off else 3600
    return RateLimited(
        f"Too many failed log-ins. Wait {math.ceil(seconds / 60)} minutes, then try again.",
        headers={"Retry-After": str(seconds)},
    )


def locked_out(request: HttpRequest, original: HttpResponse | None = None, credentials: Any = None) -> HttpResponse:
    """The answer, page or problem document, that takes the place of whatever the log-in would have said."""
    refusal = lockout_of(request)
    response: HttpResponse
    if request.path.startswith("/auth/"):
        document = problem(refusal.status, refusal.code, refusal.detail)
        response = JsonResponse(document, status=refusal.status, content_type="application/problem+json")
    else:
        response = render(request, "refused.html", {"refusal": refusal}, status=refusal.status)
    for name, value in refusal.headers.items():
        response[name] = value
    return response
