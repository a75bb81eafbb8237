# SPDX-License-Identifier: Apache-2.0
"""Around every request: where it comes from, what its page may load, and refusals shown as pages."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.shortcuts import render

from audit.context import coming_from
from config.api import as_refusal, problem
from config.csp import STRICT_ATTRIBUTE, strict_csp
from config.errors import NotFound, Refused, Unparseable

PAGE_METHODS = ("GET", "HEAD", "POST")
API_PREFIXES = ("/acts/", "/hitl/", "/audit/", "/auth/", "/api/")
Handler = Callable[[HttpRequest], HttpResponse]


def is_api(request: HttpRequest) -> bool:
    return request.path.startswith(API_PREFIXES)


class RequestOrigin:
    """Name the channel, for the action log; authentication adds the credential."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        channel = "api" if is_api(request) else "admin" if request.path.startswith("/admin/") else "web"
        request_id = uuid.uuid4().hex
        with coming_from(channel, credential="" if channel == "api" else "session", request_id=request_id):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class PageMethods:
    """Pages are read, or sent by POST. Views that ask only for POST would take any other method for reading."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method not in PAGE_METHODS and not is_api(request):
            return HttpResponseNotAllowed(PAGE_METHODS)
        return self.get_response(request)


class NoNul:
    """No name or session holds the character NUL, and PostgreSQL fails on it.

    Calls judge their own credentials, queries and bodies.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "\x00" in request.path:
            return refusal_response(request, NotFound())
        if "%00" in request.META["QUERY_STRING"] and not is_api(request):
            return refusal_response(request, Unparseable("The address holds the character NUL."))
        if any("\x00" in value for value in request.COOKIES.values()):
            return refusal_response(request, Unparseable("A cookie holds the character NUL."))
        return self.get_response(request)


class Refusals:
    """A refusal that reaches the edge of a page becomes a page with its sentence; of a call, a problem document."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, Refused):
            return None
        return refusal_response(request, exception)


def refusal_response(request: HttpRequest, refusal: Refused) -> HttpResponse:
    if is_api(request):
        document = problem(refusal.status, refusal.code, refusal.detail, errors=refusal.errors, **refusal.extra)
        return JsonResponse(document, status=refusal.status, content_type="application/problem+json")
    template = "404.html" if refusal.status == 404 else "refused.html"
    return render(request, template, {"refusal": refusal}, status=refusal.status)


# The admin's skin evaluates expressions (Alpine) and styles inline; exactly this much is granted to its pages.
SKIN = {"script-src": [SELF, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]}


class ContentSecurityPolicy(CSPMiddleware):
    """Strict everywhere; relaxed for the skin's own pages. A view opts out of the relaxation by `strict_csp`."""

    def process_response(self, request: HttpRequest, response: Any) -> Any:
        relaxed = request.path.startswith("/admin/") and not getattr(response, STRICT_ATTRIBUTE, False)
        if relaxed and not hasattr(response, "_csp_update"):
            response._csp_update = SKIN
        return super().process_response(request, response)


__all__ = [
    "STRICT_ATTRIBUTE",
    "ContentSecurityPolicy",
    "NoNul",
    "PageMethods",
    "Refusals",
    "RequestOrigin",
    "as_refusal",
    "strict_csp",
]
