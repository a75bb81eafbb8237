# SPDX-License-Identifier: Apache-2.0
"""Writing a playbook in Python: `Playbook(id="…").add_step(Step(…)).save()`.

A builder of documents and no more: what is not given is not in the document, so that the server's defaults hold,
and the server alone judges whether the document is valid.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Self

from hms_act import shortcuts
from hms_act.answers import Json, Version
from hms_act.client import JSON, YAML, Client
from hms_act.errors import Conflict, FieldError, Invalid, Problem, StaleRevision


class Step:
    """One line of a playbook. Any other field of the document format may be given by its name.

    Durations are seconds, or a `timedelta`; `retries` is a number or a whole retry policy.
    """

    def __init__(
        self,
        id: str,
        *,
        role: str | None = None,
        call: str | Json | None = None,
        type: str | None = None,
        retries: int | Json | None = None,
        token_ttl: int | timedelta | None = None,
        max_minutes: int | None = None,
        options: list[str] | list[Json] | None = None,
        **other: Any,
    ) -> None:
        named = {"role": role, "call": call, "type": type, "retries": retries, "token_ttl": token_ttl}
        more = {"max_minutes": max_minutes, "options": options, **other}
        self.id = id
        self._fields = {name: value for name, value in (named | more).items() if value is not None}

    def to_document(self) -> dict[str, Any]:
        return {"id": self.id, **{name: _plain(value) for name, value in self._fields.items()}}

    def __repr__(self) -> str:
        return f"Step({self.id!r})"


class Playbook:
    """A recipe under construction. Fields of the document besides id, title and steps are given by their name."""

    def __init__(self, id: str, title: str = "", **other: Any) -> None:
        self.id = id
        self.title = title
        self.steps: list[Step] = []
        self._fields = {name: value for name, value in other.items() if value is not None}

    def add_step(self, step: Step) -> Self:
        self.steps.append(step)
        return self

    def to_document(self) -> dict[str, Any]:
        title = {"title": self.title} if self.title else {}
        fields = {name: _plain(value) for name, value in self._fields.items()}
        return {"id": self.id, **title, **fields, "steps": [step.to_document() for step in self.steps]}

    def save(self, *, publish: bool = True, client: Client | None = None) -> Version:
        """Validate, store and publish; with `publish=False` store a draft. Raises Invalid, then nothing is stored.

        A playbook that exists gets a new version, unless its newest one is equal to this. Raises StaleRevision where
        somebody edits the draft before it is published.
        """
        return save_document(self.id, self.to_document(), publish=publish, client=client)

    def __repr__(self) -> str:
        return f"Playbook({self.id!r}, {len(self.steps)} steps)"


def save_document(
    playbook_id: str,
    document: Json | str,
    *,
    content_type: str = "",
    publish: bool = True,
    client: Client | None = None,
) -> Version:
    """What `Playbook.save` does, for a document that is data or a text."""
    client = client or shortcuts.default_client()
    if publish:
        _refuse_invalid(client.validate_playbook(document, content_type=content_type))
    version = _stored(client, playbook_id, document, content_type)
    if not publish or version.state == "published":
        return version
    published = client.publish_version(version.playbook, _as_stored(client, version))
    return replace(published, created=version.created, digest=published.digest or version.digest)


def content_type_of(name: str) -> str:
    """Of a document in a file of this name."""
    return JSON if name.lower().endswith(".json") else YAML


def document_id(text: str, content_type: str) -> str:
    """The document's own id, or "". Found in YAML without a YAML parser: the key stands at the margin."""
    if content_type == YAML:
        found = re.search(r"""^id:[ \t]*["']?([^\s"'#]+)""", text, re.MULTILINE)
        return found[1] if found else ""
    try:
        document = json.loads(text)
    except ValueError:
        return ""  # the server says better than we could what is wrong with it
    return str(document.get("id") or "") if isinstance(document, dict) else ""


def _stored(client: Client, playbook_id: str, document: Json | str, content_type: str) -> Version:
    try:
        playbook = client.create_playbook(document, playbook_id=playbook_id, content_type=content_type)
    except Conflict as error:
        if error.code != "playbook_exists":
            raise
        return client.add_version(playbook_id, document, content_type=content_type)
    return Version.from_answer(playbook.id, playbook.versions[0], created=True)


def _as_stored(client: Client, stored: Version) -> Version:
    """With its ETag, so that what is published is what was stored, and not what an author makes of it meanwhile."""
    read = client.version(stored.playbook, stored.number)
    if read.digest != stored.digest:
        detail = f"Version {stored.number} of {stored.playbook} was edited before it was published"
        raise StaleRevision(Problem(409, code="stale_revision", detail=detail))
    return read


def _refuse_invalid(judgement: Mapping[str, Any]) -> None:
    if judgement.get("valid") and judgement.get("publishable", True):
        return
    errors = tuple(FieldError.from_answer(one) for one in judgement.get("errors") or ())
    raise Invalid(Problem(422, code="invalid_document", detail="The playbook is not valid", errors=errors))


def _plain(value: Any) -> Any:
    """What JSON can carry: steps inside composite steps as documents, durations as seconds."""
    if isinstance(value, Step):
        return value.to_document()
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        return int(seconds) if seconds.is_integer() else seconds
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
