# SPDX-License-Identifier: Apache-2.0
"""What a client says around a request: comments and attachments."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

from hms_act.answers import Attachment, Comment, Request
from hms_act.calls import Calls, id_of, path_of


class Talk(Calls):
    """Part of `Client`."""

    def comment(self, request: str | Request, text: str) -> Comment:
        return self._change("POST", _path(request, "comment"), {"text": text}).parsed(Comment.from_answer)

    def comments(self, request: str | Request) -> Iterator[Comment]:
        """Oldest first."""
        return self._list(_path(request, "comment"), {}, Comment.from_answer)

    def attach(self, request: str | Request, name: str, content: bytes) -> Attachment:
        """Attach a file of up to about 750 kB; the same file again is the same attachment."""
        body = {"name": name, "content": b64encode(content).decode()}
        return self._change("POST", _path(request, "attachments"), body).parsed(Attachment.from_answer)

    def attachments(self, request: str | Request) -> Iterator[Attachment]:
        """Oldest first."""
        return self._list(_path(request, "attachments"), {}, Attachment.from_answer)


def _path(request: str | Request, act: str) -> str:
    return path_of("hitl", "requests", id_of(request), act)
