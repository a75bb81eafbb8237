# SPDX-License-Identifier: Apache-2.0
"""Every address of the admin, made from the resolver and from rows that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from django.urls.resolvers import RegexPattern, RoutePattern

UNKNOWN = "999999"  # the number of no row
_ROUTE_PART = re.compile(r"<(?:\w+:)?(\w+)>")
_NAMED_GROUP = re.compile(r"\(\?P<(\w+)>[^()]*(?:\([^()]*\)[^()]*)*\)")
_PLAIN_GROUP = re.compile(r"\([^()?]*\)")


@dataclass(frozen=True)
class Address:
    name: str
    path: str

    def __str__(self) -> str:
        return f"{self.path} ({self.name})"


def admin_addresses() -> list[Address]:
    """One for each pattern under /admin/, with the ids of real rows; a second one with the id of no row."""
    found = []
    for prefix, pattern in _patterns(get_resolver().url_patterns, ""):
        if not prefix.startswith("admin/"):
            continue
        for path in _paths(prefix, str(pattern.name or "")):
            assert resolve(path).func == pattern.callback or _is_shadowed(path), f"{path} is not {prefix}"
            found.append(Address(str(pattern.name), path))
    return list(dict.fromkeys(found))


def _is_shadowed(path: str) -> bool:
    return path == "/admin/password_change/"  # ours stands before the library's


def _patterns(patterns: Any, prefix: str) -> Iterator[tuple[str, URLPattern]]:
    for each in patterns:
        text = prefix + _text(each.pattern)
        if isinstance(each, URLResolver):
            yield from _patterns(each.url_patterns, text)
        else:
            yield text, each


def _text(pattern: Any) -> str:
    """A pattern with its variable parts as <name>, or <> if they have none."""
    if isinstance(pattern, RoutePattern):
        return _ROUTE_PART.sub(r"<\1>", str(pattern))
    assert isinstance(pattern, RegexPattern)
    text = re.sub(r"^\^|\$$|\\Z$", "", str(pattern))
    return _PLAIN_GROUP.sub("<>", _NAMED_GROUP.sub(r"<\1>", text)).replace("\\", "")


def _paths(text: str, name: str) -> Iterator[str]:
    if "<" not in text:
        yield f"/{text}"
        return
    model = _model_of(name)
    for values in _values(model):
        yield "/" + _filled(text, values)


def _filled(text: str, values: Mapping[str, str]) -> str:
    unnamed = iter([values["pk"], values["history_id"]])
    return re.sub(r"<(\w*)>", lambda found: values[found[1]] if found[1] else next(unnamed), text)


def _model_of(name: str) -> type[Model] | None:
    """`runs_run_cancel` → Run."""
    labels = {f"{model._meta.app_label}_{model._meta.model_name}": model for model in admin.site._registry}
    fitting = [label for label in labels if name.startswith(label)]
    return labels[max(fitting, key=len)] if fitting else None


def _values(model: type[Model] | None) -> Iterator[dict[str, str]]:
    from django.contrib.contenttypes.models import ContentType

    row = None if model is None else model._default_manager.order_by("pk").first()
    pk = str(quote(row.pk)) if row is not None else UNKNOWN
    content_type = ContentType.objects.get_for_model(model or apps.get_model("runs.run")).pk
    common = {"app_label": "runs", "content_type_id": str(content_type), "slug": "protest_permit"}
    for number in dict.fromkeys((pk, UNKNOWN)):
        ids = dict.fromkeys(("object_id", "pk", "run_id", "task_id"), number)
        request_id = pk if number == pk and pk.startswith("har") else "har_000000000000"
        history = _newest_history(row) if number == pk else UNKNOWN
        shown = {"request_id": request_id.replace("_5F", "_"), "url": "nowhere", "history_id": history}
        yield {**common, **ids, **shown, "pk": number}


def _newest_history(row: Any) -> str:
    history = getattr(row, "history", None)
    newest = history.order_by("-history_id").first() if history is not None else None
    return str(newest.pk) if newest is not None else UNKNOWN
