# SPDX-License-Identifier: Apache-2.0
"""Which parts of an answer are secret, and what stands in their place everywhere but in the sealed row.

An answer is parted once, by `kept()`, before anything of it is stored: what goes into rows, log, pages, mails and
outputs of runs is the rest of it with masks, or with handles, and the values go into `Secret` rows, sealed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from accounts.models import User
from approvals.keyring import KeyRing, ring
from approvals.models import ActionRequest, RequestType, Secret
from config.errors import Invalid, Problem
from playbooks.secret_parts import holds_secret, secret_names
from runs.models import LOOK_AGAIN

MASK = "••••••••"
SHORTEST_TOLD_APART = 8  # characters; a shorter secret may stand in an innocent note by chance


class SecretNotSupported(Invalid):
    """This installation has no key ring (SECRETS_KEYS), so it takes no secrets. Its operator sets one."""

    code = "secret_not_supported"


def asks_for_secrets(request: ActionRequest) -> bool:
    return request.request_type == RequestType.API_KEY or holds_secret(request.form)


def refuse_without_ring(request: ActionRequest) -> None:
    """Raise SecretNotSupported where an answer could not be kept safe."""
    if asks_for_secrets(request) and not ring():
        raise SecretNotSupported(subject=request)


def secret_fields(request: ActionRequest, answer: Mapping[str, Any]) -> frozenset[str]:
    """Names of the secret fields: `writeOnly` or `format: password` in the form.

    Of an answer with API keys everything is, but what a form that marks secrets declares without a mark.
    """
    form = request.form or {}
    marked = secret_names(form, answer)
    if request.request_type != RequestType.API_KEY:
        return marked
    plain = form.get("properties", {}) if holds_secret(form) else {}
    return marked | (answer.keys() - plain.keys())


def masked(request: ActionRequest, answer: Mapping[str, Any]) -> dict[str, Any]:
    hidden = secret_fields(request, answer)
    return {name: MASK if name in hidden else value for name, value in answer.items()}


def handles(request: ActionRequest, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer as a run's later steps get it: who may fetch a secret is told where it is."""
    hidden = secret_fields(request, answer)
    return {name: handle(request.pk, name) if name in hidden else value for name, value in answer.items()}


def handle(request_id: str, field: str) -> dict[str, str]:
    return {"secret_of": request_id, "field": field}


def names_secret_of(request_id: str, value: Any) -> bool:
    """Whether a handle of this request stands somewhere in a JSON value."""
    if isinstance(value, Mapping):
        return value.get("secret_of") == request_id or names_secret_of(request_id, list(value.values()))
    return isinstance(value, list) and any(names_secret_of(request_id, part) for part in value)


def without_secrets(request: ActionRequest, answer: Mapping[str, Any]) -> dict[str, Any]:
    hidden = secret_fields(request, answer)
    return {name: value for name, value in answer.items() if name not in hidden}


# Keeping --------------------------------------------------------------------------------------------------


def kept(
    request: ActionRequest, answer: Mapping[str, Any], *, by: User, at: datetime
) -> tuple[dict[str, Any], list[Secret]]:
    """(the answer with masks, the rows that hold its secrets, to be inserted). Raises SecretNotSupported."""
    hidden = secret_fields(request, answer)
    if not hidden:
        return dict(answer), []
    keys = ring()
    if not keys:
        raise SecretNotSupported(subject=request)
    rows = [sealed_row(keys, request, name, answer[name], by=by, at=at) for name in sorted(hidden)]
    return masked(request, answer), rows


def sealed_row(keys: KeyRing, request: ActionRequest, name: str, value: Any, *, by: User, at: datetime) -> Secret:
    ends = at + timedelta(seconds=settings.SECRET_TTL_SECONDS)
    row = Secret(request=request, field=name, given_by=by, given_at=at, expires_at=ends)
    row.next_check_at = min(ends, at + LOOK_AGAIN)
    row.sealed = keys.seal(json.dumps(value).encode(), row.place)
    return row


def refuse_repeated(request: ActionRequest, answer: Mapping[str, Any], *, said: Sequence[str]) -> None:
    """A secret that stands in the note, or in a field beside it, would be kept in the open. Raises Invalid."""
    hidden = secret_fields(request, answer)
    secrets = {text for name in hidden for text in _texts(answer[name]) if len(text) >= SHORTEST_TOLD_APART}
    open_texts = [*said, *_texts(without_secrets(request, answer))]
    if any(secret in text for secret in secrets for text in open_texts):
        remedy = "Leave it out there: notes and plain fields are kept for all who may read the request."
        raise Invalid("A secret stands in the note or in a field that is not secret.", errors=[
            Problem("notes", "repeats a secret", remedy)
        ])  # fmt: skip


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield name
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
