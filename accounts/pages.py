# SPDX-License-Identifier: Apache-2.0
"""Who is at a page."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest

from accounts.models import User


def actor_of(request: HttpRequest) -> User:
    """The person at a page of the admin, which lets only people in who are logged in."""
    return cast(User, request.user)
