# SPDX-License-Identifier: Apache-2.0
"""What a client says about playbooks. A document is data, or its text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hms_act.answers import Json, StoredPlaybook, Version
from hms_act.calls import JSON, YAML, Calls, encoded, headers_of, new_key, path_of, told
from hms_act.transport import Call


class PlaybookCalls(Calls):
    """Part of `Client`."""

    def playbooks(self, **filters: Any) -> Iterator[StoredPlaybook]:
        return self._list("/acts/playbooks", filters, StoredPlaybook.from_answer)

    def playbook(self, playbook_id: str | int) -> StoredPlaybook:
        return self._get(path_of("acts", "playbooks", playbook_id)).parsed(StoredPlaybook.from_answer)

    def create_playbook(self, document: Json | str, *, playbook_id: str = "", content_type: str = "") -> StoredPlaybook:
        """Store a new playbook, its version 1 a draft. Raises Conflict (`playbook_exists`).

        `document` is the document as data, or its text: YAML, unless `content_type` says otherwise. `playbook_id` is
        for a document that has no id of its own.
        """
        params = told(id=playbook_id)
        call = _document_call("/acts/playbooks", document, content_type, key=new_key(), params=params)
        return self._transport.send(call).parsed(StoredPlaybook.from_answer)

    def add_version(self, playbook_id: str, document: Json | str, *, content_type: str = "") -> Version:
        """Add a draft. A document equal to the newest version makes none: that version is returned."""
        path = path_of("acts", "playbooks", playbook_id, "versions")
        call = _document_call(path, document, content_type, key=new_key())
        answer = self._transport.send(call)
        created = answer.status == 201
        return answer.parsed(lambda said: Version.from_answer(playbook_id, said, created=created))

    def version(self, playbook_id: str, number: int) -> Version:
        answer = self._get(path_of("acts", "playbooks", playbook_id, "versions", number))
        return answer.parsed(lambda said: Version.from_answer(playbook_id, said, etag=answer.etag))

    def publish_version(self, playbook_id: str, version: int | Version, *, if_match: str = "") -> Version:
        """Freeze a draft: from now on it can be run and never changes. Raises Invalid.

        Given the `Version` that was read, not just its number: raises StaleRevision if it was edited since.
        """
        number, etag = (version.number, version.etag) if isinstance(version, Version) else (version, "")
        path = path_of("acts", "playbooks", playbook_id, "versions", number, "publish")
        answer = self._change("POST", path, {}, if_match=if_match or etag)
        return answer.parsed(lambda said: Version.from_answer(playbook_id, said))

    def validate_playbook(self, document: Json | str, *, content_type: str = "") -> dict[str, Any]:
        """`{"valid", "publishable", "errors", "warnings", "notes", "digest"}`; nothing is stored.

        Errors and warnings are `{"code", "path", "line", "message", "remedy"}`.
        """
        call = _document_call("/acts/playbooks/validate", document, content_type, key=None)
        return self._transport.send(call).parsed(dict)

    def playbook_schema(self) -> dict[str, Any]:
        """The JSON Schema of playbook documents."""
        return self._get("/acts/playbooks/schema").parsed(dict)


def _document_call(
    path: str, document: Json | str, content_type: str, *, key: str | None, params: Mapping[str, str] | None = None
) -> Call:
    """A text is sent as it is, so that the server's remarks name the lines its author sees."""
    is_text = isinstance(document, str)
    content = document.encode() if isinstance(document, str) else encoded(document)
    headers = headers_of(content_type=(content_type or YAML) if is_text else JSON, key=key)
    return Call("POST", path, content, params=params or {}, headers=headers)
