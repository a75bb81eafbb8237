# SPDX-License-Identifier: Apache-2.0
"""URLs with one call that answers who is asking and how, for the tests of authentication."""

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from audit.context import origin
from config.urls import urlpatterns as all_others


class WhoAmI(APIView):
    def get(self, request: Request) -> Response:
        return Response({"username": request.user.get_username(), "credential": origin().credential})

    post = get


urlpatterns = [path("acts/whoami", WhoAmI.as_view()), *all_others]
