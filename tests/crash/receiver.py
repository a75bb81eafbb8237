# SPDX-License-Identifier: Apache-2.0
"""The world outside, as the promise about effects needs it: it counts what it is asked, and acts once per key.

It can hold its answers back, so that a test knows a process to be in the middle of a call.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []  # the key of each request, in order
        self.effects: dict[str, int] = {}  # key → number of the effect
        self.callers: set[int] = set()  # processes that wait for an answer
        self.open = threading.Event()
        self.open.set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=[0.05])

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.open.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/charges"

    def take_effect(self, key: str) -> int:
        with self._lock:
            self.asked.append(key)
            return self.effects.setdefault(key, len(self.effects) + 1)


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        caller = int(self.headers["X-Process"])
        number = self.server.take_effect(self.headers["Idempotency-Key"])
        self.server.callers.add(caller)
        self.server.open.wait(60)
        self.server.callers.discard(caller)
        body = json.dumps({"charge": number}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the test reads `asked` and `effects`."""
