# SPDX-License-Identifier: Apache-2.0
"""Every call of the HTTP API, found in the addresses themselves, so that a new one is tried without being named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RegexPattern
from rest_framework.views import APIView

METHODS = ("get", "post", "put", "patch", "delete")
WITH_A_BODY = ("POST", "PUT", "PATCH")


@dataclass(frozen=True)
class ApiCall:
    method: str
    template: str  # /acts/runs/{run_id}

    def __str__(self) -> str:
        return f"{self.method} {self.template}"

    @property
    def is_signed(self) -> bool:
        """It carries a signature in place of a credential, which is judged before anything else."""
        return self.template.startswith(("/hitl/slack/", "/hitl/external/"))

    def path(self, ids: Mapping[str, Any]) -> str:
        return self.template.format(**ids)


def api_calls() -> list[ApiCall]:
    return [
        ApiCall(method.upper(), template)
        for template, view in _views(get_resolver().url_patterns, "/")
        if not template.startswith("/api/")  # what describes the calls is not one of them
        for method in METHODS
        if hasattr(view, method)
    ]


def _views(patterns: Any, prefix: str) -> Iterator[tuple[str, type[APIView]]]:
    for each in patterns:
        text = prefix + _template(each.pattern)
        if isinstance(each, URLResolver):
            yield from _views(each.url_patterns, text)
        elif view := _view_of(each):
            yield text, view


def _view_of(pattern: URLPattern) -> type[APIView] | None:
    view = getattr(pattern.callback, "cls", None)
    return view if isinstance(view, type) and issubclass(view, APIView) else None


def _template(pattern: Any) -> str:
    if isinstance(pattern, RegexPattern):
        named = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", r"{\1}", str(pattern))
        return re.sub(r"^\^|\$$|\\Z$", "", named)
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern))
