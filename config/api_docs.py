# SPDX-License-Identifier: Apache-2.0
"""`/api/schema`, the description of the HTTP API for programs, and `/api/docs`, the same for people."""

from __future__ import annotations

from typing import Any

from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from config.openapi import description


class Description(SpectacularAPIView):
    """JSON, or YAML for whoever asks for it by `Accept` or `?format=yaml`."""

    schema = None  # it is not one of the calls that it describes
    renderer_classes = [OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer2, OpenApiYamlRenderer]

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        wanted = request.query_params.get("format")
        chosen = next((each for each in self.get_renderers() if each.format == wanted), None)
        return (chosen, chosen.media_type) if chosen else super().perform_content_negotiation(request, force)

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return Response(description())
