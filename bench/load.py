# SPDX-License-Identifier: Apache-2.0
"""Requests to an HTTP server over connections that stay open, each sent when the one before it is answered.

It makes the requests beforehand and reads of an answer no more than its status and its length, so that it takes as
little as may be of the cores that it shares with the server, and the same for every server.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

END_OF_HEAD = b"\r\n\r\n"


@dataclass
class Load:
    """What came of a round."""

    seconds: float = 0.0
    took: list[float] = field(default_factory=list)  # seconds, of each answer
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def per_second(self) -> float:
        return len(self.took) / self.seconds


def post(address: str, requests: Iterator[bytes], *, connections: int, seconds: float) -> Load:
    """Send for so long; what is under way at the end is waited for, and counts. `requests` must not run out."""
    return asyncio.run(_post(address, requests, connections, seconds))


def request(address: str, path: str, authorization: str, body: bytes) -> bytes:
    head = [
        f"POST {path} HTTP/1.1",
        f"Host: {urlsplit(address).netloc}",
        f"Authorization: {authorization}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(head).encode() + END_OF_HEAD + body


async def _post(address: str, requests: Iterator[bytes], connections: int, seconds: float) -> Load:
    loop, load = asyncio.get_running_loop(), Load()
    host, _, port = urlsplit(address).netloc.partition(":")
    began = time.perf_counter()
    opened = [
        await loop.create_connection(lambda: _Line(requests, load, until=began + seconds), host, int(port))
        for _ in range(connections)
    ]
    await asyncio.gather(*(line.ended for _, line in opened))
    load.seconds = time.perf_counter() - began
    return load


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: Iterator[bytes], load: Load, *, until: float) -> None:
        self._requests, self._load, self._until = requests, load, until
        self._sent_at, self._read = 0.0, b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(END_OF_HEAD)
        if not found or len(body) < _length(head):
            return
        now, self._read = time.perf_counter(), b""
        self._load.took.append(now - self._sent_at)
        self._load.statuses[int(head[9:12])] += 1
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, fault: Exception | None) -> None:
        if time.perf_counter() < self._until:
            self.ended.set_exception(ConnectionError(f"the server closed a connection: {fault}"))
        else:
            self.ended.set_result(None)


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.index(b"content-length:") + len(b"content-length:")
    return int(lower[at:].split(b"\r\n", 1)[0])


def taken_together(loads: Sequence[Load]) -> Counter[int]:
    """How often each status was answered."""
    return sum((load.statuses for load in loads), Counter())
