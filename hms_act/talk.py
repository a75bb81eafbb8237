# SPDX-License-Identifier: Apache-2.0
"""What a client says around a request: secrets that it fetches, comments, attachments, drafts."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import quote

from hms_act.answers import Attachment, Comment, Json, Request, Task
from hms_act.retry import NEVER, Retry
from hms_act.secrets import Vault
from hms_act.transport import Answer


class _Speaks(Protocol):
    def _get(self, path: str, params: Mapping[str, Any] | None = None, *, patience: float = 0.0) -> Answer: ...
    def _change(
        self, method: str, path: str, body: Json, *, key: str | None = None, if_match: str = "",
        retry: Retry | None = None,
    ) -> Answer: ...  # fmt: skip
    def _list(self, path: str, filters: Mapping[str, Any], parse: Callable[[Json], Any]) -> Iterator[Any]: ...
    def unwrap(self, request: str | Request, *, task: Task | None = None) -> dict[str, Any]: ...


class Talk:
    """Part of `Client`."""

    def unwrap(self: _Speaks, request: str | Request, *, task: Task | None = None) -> dict[str, Any]:
        """The secrets of an answer, by field: once, for who asked. Raises SecretGone from the second time on.

        For a secret that a step of a run asked for, `task` is the claimed task that was handed its handle
        (`{"secret_of": request, "field": name}`). The call is never sent twice: an answer lost on its way is lost.
        """
        held = {"task": task.id, "token": task.token} if task is not None else {}
        answer = self._change("POST", _path(request, "unwrap"), held, retry=NEVER)
        return answer.parsed(lambda said: dict(said["values"]))

    def comment(self: _Speaks, request: str | Request, text: str) -> Comment:
        return self._change("POST", _path(request, "comment"), {"text": text}).parsed(Comment.from_answer)

    def comments(self: _Speaks, request: str | Request) -> Iterator[Comment]:
        """Oldest first."""
        return self._list(_path(request, "comment"), {}, Comment.from_answer)

    def attach(self: _Speaks, request: str | Request, name: str, content: bytes) -> Attachment:
        """Attach a file of up to about 750 kB; the same file again is the same attachment."""
        body = {"name": name, "content": b64encode(content).decode()}
        return self._change("POST", _path(request, "attachments"), body).parsed(Attachment.from_answer)

    def attachments(self: _Speaks, request: str | Request) -> Iterator[Attachment]:
        """Oldest first."""
        return self._list(_path(request, "attachments"), {}, Attachment.from_answer)

    def _with_handles(self: _Speaks, said: Json, *, etag: str = "") -> Request:
        """The request; what is secret in its answer are handles, which fetch when they are revealed."""
        found = Request.from_answer(said, etag=etag)
        if not found.secret_fields:
            return found
        vault = Vault(lambda: self.unwrap(found.id))
        return replace(found, response_data=vault.handles(found.response_data, found.secret_fields))


def _path(request: str | Request, act: str) -> str:
    name = request if isinstance(request, str) else request.id
    return f"/hitl/requests/{quote(name, safe='')}/{act}"
