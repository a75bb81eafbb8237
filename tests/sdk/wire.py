# SPDX-License-Identifier: Apache-2.0
"""The other end of the wire: an HTTP server on the loopback that says what a test has scripted.

It lets the client be tested at the point that matters, on what it really sends and how it takes what it really
gets, dropped connections included. Each call (`"POST /acts/run"`) has its answers, given in order; a call that was
not scripted is answered 418 and remembered, and the `wire` fixture then fails the test.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

NOW = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)  # the time in every Date header
PATIENCE_SECONDS = 10.0
IDLE_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: Any = None  # a str is sent as HTML
    headers: Mapping[str, str] = field(default_factory=dict)
    dropped: bool = False  # the connection is closed instead
    idle: bool = False  # first waits a little, as a long poll does


@dataclass(frozen=True)
class Heard:
    call: str
    query: dict[str, Any]  # a list where a name came several times
    headers: dict[str, str]  # by lower-case name
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


DROPPED = Answer(dropped=True)
NO_TASK = Answer(204, idle=True)


def problem(status: int, code: str = "", detail: str = "", **more: Any) -> Answer:
    headers = {"Content-Type": "application/problem+json", **more.pop("headers", {})}
    body = {"type": "about:blank", "title": "Refused", "status": status, "code": code, "detail": detail, **more}
    return Answer(status, body, headers)


def claimed(task_id: int = 31, *, ttl: float = 60.0, role: str = "agent:validator", **fields: Any) -> Answer:
    task = {
        "id": task_id,
        "run_id": 9001,
        "step": "AI-Screen",
        "path": "AI-Screen",
        "attempt": 1,
        "role": role,
        "call": "ai_validator.check_form",
        "input": {"form_id": 123},
        "payload": {"form_id": 123},
        "data": {},
        "deadline": None,
        **fields,
    }
    return Answer(200, {"task": task, "token": f"token-{task_id}", "fence": 1, "expires_at": in_seconds(ttl)})


def task_body(task_id: int = 31, **fields: Any) -> dict[str, Any]:
    return {"id": task_id, "run_id": 9001, "step": "AI-Screen", "status": "completed", "outcome": "PASS", **fields}


def in_seconds(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


class Wire:
    def __init__(self, port: int = 0) -> None:
        self.heard: list[Heard] = []
        self.unscripted: list[str] = []
        self._scripts: dict[str, deque[Answer]] = defaultdict(deque)
        self._afterwards: dict[str, Answer | Callable[[Heard], Answer]] = {}
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self, call: str, *answers: Answer) -> None:
        """These, one after the other."""
        self._scripts[call].extend(answers)

    def always(self, call: str, answer: Answer | Callable[[Heard], Answer]) -> None:
        """This one, or what it makes of what was heard, once those in order have all been given."""
        self._afterwards[call] = answer

    def calls(self, call: str) -> list[Heard]:
        return [heard for heard in self.heard if heard.call == call]

    def wait_for(self, call: str, times: int = 1) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.calls(call)) >= times, PATIENCE_SECONDS):
                raise AssertionError(f"{call} was not heard {times} time(s); heard: {[h.call for h in self.heard]}")

    def close(self) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def take(self, heard: Heard) -> Answer:
        with self._changed:
            self.heard.append(heard)
            script = self._scripts[heard.call]
            answer = script.popleft() if script else self._afterwards.get(heard.call)
            if answer is None:
                self.unscripted.append(heard.call)
            self._changed.notify_all()
        if callable(answer):
            return answer(heard)
        return answer or problem(418, "unscripted", f"the test did not expect {heard.call}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """As the death of a server does to the connections it kept open."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in mid-answer is part of some tests, and no news."""


def _read(query: str) -> dict[str, Any]:
    return {name: values if len(values) > 1 else values[0] for name, values in parse_qs(query).items()}


def _handler(wire: Wire) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_call(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            text = self.rfile.read(length).decode()
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard = Heard(f"{self.command} {parts.path}", _read(parts.query), headers, text)
            self.say(wire.take(heard))

        do_GET = do_POST = do_PATCH = handle_call

        def say(self, answer: Answer) -> None:
            if answer.dropped:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if answer.idle:
                time.sleep(IDLE_POLL_SECONDS)
            html = isinstance(answer.body, str)
            content = b"" if answer.body is None else (answer.body if html else json.dumps(answer.body)).encode()
            self.send_response(answer.status)
            headers = {"Content-Type": "text/html" if html else "application/json", **answer.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(NOW, usegmt=True)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests read `heard`, not a log."""

    return Handler
