# SPDX-License-Identifier: Apache-2.0
"""A plain caller of the HTTP API: one connection that stays open, JSON both ways, and little of the machine's time."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

PATIENCE_SECONDS = 90
IDLE_SECONDS = 2.0  # a server may close what is idle for longer (ours: five seconds)


class Caller:
    """For one thread."""

    def __init__(self, address: str, key: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE_SECONDS)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._used_at = 0.0

    def get(self, path: str) -> Any:
        return self._call("GET", path, None)

    def post(self, path: str, **body: Any) -> Any:
        return self._call("POST", path, json.dumps(body))

    def _call(self, method: str, path: str, body: str | None) -> Any:
        """The answer; None if there is nothing in it."""
        if time.monotonic() - self._used_at > IDLE_SECONDS:
            self._connect()
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        self._used_at = time.monotonic()
        assert answer.status < 300, f"{method} {path}: {answer.status} {content[:500]!r}"
        return json.loads(content) if content else None

    def _connect(self) -> None:
        self._connection.close()
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
