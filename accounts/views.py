# SPDX-License-Identifier: Apache-2.0
"""A person changes their own password."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from accounts.forms import OwnPasswordForm


def change_own_password(request: HttpRequest) -> HttpResponseBase:
    """In place of the admin's own page, whose form saves without leaving an entry."""
    site = admin.site
    view = PasswordChangeView.as_view(
        form_class=OwnPasswordForm,
        success_url=reverse("admin:password_change_done"),
        extra_context=site.each_context(request),
    )
    return site.admin_view(view, cacheable=True)(request)
