# SPDX-License-Identifier: Apache-2.0
"""What the decision page shows around the decision: comments, attachments, the secrets given, the reader's own draft.

All of it is text of others: hidden characters become visible here, templates escape it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.http import HttpRequest, QueryDict
from django.urls import reverse

from approvals import talk
from approvals.models import ActionRequest, Comment, Draft, Secret, SecretState
from approvals.secrets import asks_for_secrets
from audit import actions
from audit.models import Entry
from audit.shown import made_visible
from runs.form_fields import SECRET_WIDGETS, Control, JSONText
from runs.forms import SchemaForm, form_class

COMMENTS_SHOWN = 100  # the newest; the API has them all
ALERTS_SHOWN = 10
REPLACEMENT = "other"  # prefix of the fields for other secrets


@dataclass(frozen=True, slots=True)
class CommentShown:
    author: str
    kind: str
    text: str
    revision: int
    at: datetime


@dataclass(frozen=True, slots=True)
class FileShown:
    name: str
    kind: str
    size: int
    sha256: str
    by: str
    at: datetime
    href: str
    is_current: bool  # of the revision that is asked now


@dataclass(frozen=True, slots=True)
class SecretShown:
    field: str
    state: str
    is_held: bool
    by: str
    given_at: datetime
    expires_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class AlertShown:
    at: datetime
    actor: str
    note: str


def around(request: HttpRequest, asked: ActionRequest, reader: Any) -> dict[str, Any]:
    """For the templates. What was typed and refused is given back."""
    secrets = list(_secrets(asked)) if asks_for_secrets(asked) and not asked.is_open else []
    return {
        "comments": [_comment_shown(each) for each in _newest(asked, reader)],
        "attachments": [_file_shown(each, asked) for each in talk.attachments_of(asked)],
        "may_talk": talk.has_part_in(asked, reader),
        "secrets": [_secret_shown(each) for each in secrets],
        "replacement": replacement_form(asked) if any(_is_own(each, reader) for each in secrets) else None,
        "secret_alerts": list(_alerts(asked)) if secrets else [],
        "typed_comment": request.POST.get("comment", ""),
        "urls": {act: act_url(asked, act) for act in ("comment", "attach", "draft", "seen", "secret")},
    }


def act_url(asked: ActionRequest, act: str) -> str:
    return reverse(f"admin:approvals_actionrequest_{act}", args=[asked.pk])


def _newest(asked: ActionRequest, reader: Any) -> list[Comment]:
    """Oldest first."""
    return list(reversed(talk.comments_for(asked, reader).order_by("-id")[:COMMENTS_SHOWN]))


def _comment_shown(comment: Comment) -> CommentShown:
    author = comment.author
    return CommentShown(
        made_visible(author.get_username()), str(author.get_kind_display()).lower(), made_visible(comment.text),
        comment.revision, comment.created_at,
    )  # fmt: skip


def _file_shown(file: Any, asked: ActionRequest) -> FileShown:
    return FileShown(
        name=made_visible(file.name),
        kind=file.media_type,
        size=file.size,
        sha256=file.sha256,
        by=made_visible(file.uploader.get_username()),
        at=file.created_at,
        href=f"/hitl/requests/{file.request_id}/attachments/{file.pk}",
        is_current=file.revision == asked.revision,
    )


def _secrets(asked: ActionRequest) -> Iterator[Secret]:
    yield from Secret.objects.filter(request=asked.pk).select_related("given_by").defer("ciphertext", "wrapped_key")


def _is_own(secret: Secret, reader: Any) -> bool:
    return secret.is_held and secret.given_by_id == reader.pk


def _secret_shown(secret: Secret) -> SecretShown:
    return SecretShown(
        field=made_visible(secret.field),
        state=str(secret.get_state_display()).lower(),
        is_held=secret.is_held,
        by=made_visible(secret.given_by.get_username()),
        given_at=secret.given_at,
        expires_at=secret.expires_at,
        ended_at=secret.ended_at,
    )


def replacement_form(asked: ActionRequest, *, sent: QueryDict | None = None) -> SchemaForm | None:
    """Fields for other values of the secrets that are still held, each of which may be left out; None without any."""
    held = Secret.objects.filter(request=asked.pk, state=SecretState.HELD).values_list("field", flat=True)
    declared = (asked.form or {}).get("properties", {})
    properties = {name: declared[name] for name in sorted(held) if name in declared}
    if not properties:
        return None
    return form_class({"type": "object", "properties": properties})(sent, prefix=REPLACEMENT)


def _alerts(asked: ActionRequest) -> Iterator[AlertShown]:
    """Attempts to fetch what had been fetched, or was not the caller's."""
    entries = Entry.objects.filter(request_id=asked.pk, action=actions.SECRET_UNWRAP_DENIED)
    for entry in entries.select_related("disclosure").order_by("-id")[:ALERTS_SHOWN]:
        yield AlertShown(entry.at, made_visible(entry.actor_name), made_visible(entry.note))


# Drafts ---------------------------------------------------------------------------------------------------


def typed_answer(asked: ActionRequest, sent: QueryDict, *, prefix: str) -> dict[str, Any]:
    """What was typed into the request's own fields, unjudged, by the names that the answer will have; no secrets."""
    if asked.form is None:
        return {}
    form = form_class(asked.form)(prefix=prefix)
    found: dict[str, Any] = {}
    for control in form.controls():
        typed = control.field.widget.value_from_datadict(sent, {}, form.add_prefix(control.name))
        if not control.path or typed in (None, "", [], False) or isinstance(control.field.widget, SECRET_WIDGETS):
            continue
        *outer, last = control.path
        place: dict[str, Any] = found
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = typed
    return found


def initial_answer(asked: ActionRequest, draft: Draft) -> dict[str, Any]:
    """What a draft puts into the request's own fields."""
    if asked.form is None:
        return {}
    found = {}
    for control in form_class(asked.form).controls():
        value = _at(draft.response_data, control)
        if value is not None and not isinstance(control.field.widget, SECRET_WIDGETS):
            found[control.name] = _typed(control.field, value)
    return found


def _at(answer: Any, control: Control) -> Any:
    for name in control.path:
        answer = answer.get(name) if isinstance(answer, Mapping) else None
    return answer if control.path else None


def _typed(field: forms.Field, value: Any) -> Any:
    is_json = isinstance(field, JSONText) and not isinstance(value, str)
    return json.dumps(value, indent=2, ensure_ascii=False) if is_json else value
