# SPDX-License-Identifier: Apache-2.0
from django.urls import path

from accounts import api

urlpatterns = [
    path("token", api.ObtainToken.as_view(), name="auth-token"),
    path("token/refresh", api.RefreshToken.as_view(), name="auth-token-refresh"),
]
