# SPDX-License-Identifier: Apache-2.0
"""Every address there is. Each room says its own; the HTTP API ends without a slash, the admin with one."""

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerSplitView

from accounts.views import change_own_password
from config import health
from config.api_docs import Description

# No metadata: what OPTIONS would answer is nothing for a page.
api_docs = SpectacularSwaggerSplitView.as_view(url_name="api-schema", metadata_class=None)

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="start"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("auth/", include("accounts.urls")),
    path("", include("runs.urls")),
    path("", include("playbooks.urls")),
    path("", include("approvals.urls")),
    path("api/schema", Description.as_view(), name="api-schema"),
    # Swagger UI styles inline, and keeps its pictures in its style sheet. Its scripts are files, as everywhere.
    path("api/docs", csp_update({"style-src": [SELF, UNSAFE_INLINE]})(api_docs), name="api-docs"),
    path("admin/password_change/", change_own_password),  # stands before the admin's own
    path("admin/", admin.site.urls),
    path("", include("runs.form_urls")),
]

handler400 = "config.error_pages.bad_request"
handler403 = "config.error_pages.permission_denied"
handler404 = "config.error_pages.not_found"
handler500 = "config.error_pages.server_error"
