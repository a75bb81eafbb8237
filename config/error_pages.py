# SPDX-License-Identifier: Apache-2.0
"""What is shown when a request comes to nothing: a calm page to people, a problem document to programs.

A page of ours says what happened and what to do, and nothing of our insides. The one for our own faults is made
without the request, the session and the database, any of which may be what broke.
"""

from __future__ import annotations

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import get_template

from config.api import problem
from config.errors import TooLarge
from config.middleware import STRICT_ATTRIBUTE, is_api, refusal_response

CODES = {400: "unparseable", 403: "forbidden", 404: "not_found", 500: "fault"}
SENTENCES = {
    400: "The request cannot be read.",
    403: "You may not do this.",
    404: "There is no such thing, or you may not see it.",
    500: "Something went wrong on our side. It has been noted; try again later.",
}


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return refusal_response(request, TooLarge())
    return _answer(request, 400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 403, str(exception))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 404)


def form_from_elsewhere(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The failure of Django's protection against forms that other sites send in a person's name."""
    return _answer(request, 403, template="403_csrf.html")


def server_error(request: HttpRequest) -> HttpResponse:
    if is_api(request):
        return _document(500, SENTENCES[500])
    return _strict(HttpResponse(get_template("500.html").render(), status=500))


def _answer(request: HttpRequest, status: int, detail: str = "", template: str = "") -> HttpResponse:
    detail = detail or SENTENCES[status]
    if is_api(request):
        return _document(status, detail)
    return _strict(render(request, template or f"{status}.html", {"detail": detail}, status=status))


def _document(status: int, detail: str) -> HttpResponse:
    document = problem(status, CODES[status], detail)
    return JsonResponse(document, status=status, content_type="application/problem+json")


def _strict(response: HttpResponse) -> HttpResponse:
    """Nothing of the admin's skin is on these pages, so nothing is granted to them, under /admin/ either."""
    setattr(response, STRICT_ATTRIBUTE, True)
    return response
