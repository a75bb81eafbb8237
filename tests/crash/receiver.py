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
        self.honours_keys = True  # otherwise it acts each time it is asked
        self.effects: dict[str, int] = {}  # key → number of the effect; of the last one, if there are several
        self.acts = 0
        self.dies = ""  # "before" or "after" it acts, once: the caller's connection ends without an answer
        self.questions: list[str] = []  # keys of which somebody asked what came of them
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
            if key not in self.effects or not self.honours_keys:
                self.acts += 1
                self.effects[key] = self.acts
            return self.effects[key]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        caller = int(self.headers["X-Process"])
        dies, self.server.dies = self.server.dies, ""
        if dies == "before":
            return
        number = self.server.take_effect(self.headers["Idempotency-Key"])
        if dies == "after":
            return
        self.server.callers.add(caller)
        self.server.open.wait(60)
        self.server.callers.discard(caller)
        self._answer(200, {"charge": number})

    def do_GET(self) -> None:
        """What came of a request: the path ends with its key."""
        key = self.path.rpartition("/")[2]
        self.server.questions.append(key)
        number = self.server.effects.get(key)
        self._answer(404 if number is None else 200, {} if number is None else {"charge": number})

    def _answer(self, status: int, said: dict[str, int]) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the test reads `asked` and `effects`."""
