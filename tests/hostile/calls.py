# SPDX-License-Identifier: Apache-2.0
"""Every call of the HTTP API, found in the addresses themselves, so that a new one is tried without being named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_to_bytes

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


# What is sent as it stands --------------------------------------------------------------------------------------

PAGE_QUERIES = (
    "_to_field=x",
    "_to_field=id",
    "_popup=1",
    "_changelist_filters=%00",
    "_changelist_filters=" + quote("q=" + "%00"),
    "next=//evil.example.org/",
    "next=https://evil.example.org/",
    "next=%00",
    "revision=x",
    "revision=99999999999999999999",
    "%FF=%FF",
    "x" * 5000,
    "&".join(f"k{n}=1" for n in range(900)),
)


def opened(client: Any, path: str, **headers: str) -> Any:
    """What a path answers, sent as it stands here: percent signs and all."""
    address, _, query = path.partition("?")
    raw = query.encode().decode("latin-1")  # what a client sends unescaped comes as bytes
    return client.generic("GET", "/", PATH_INFO=as_received(address), QUERY_STRING=raw, headers=headers)


def as_received(address: str) -> str:
    """As a server hands it on: the path decoded, by way of bytes, to what fits a header."""
    return unquote_to_bytes(address).decode("latin-1")
