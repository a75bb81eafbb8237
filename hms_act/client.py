# SPDX-License-Identifier: Apache-2.0
"""`Client`: one method for each call of the HTTP API, in parts by what they are about."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Self

from hms_act.calls import DEFAULT_WAIT_SECONDS, JSON, LONGEST_WAIT_SECONDS, YAML, encoded, headers_of
from hms_act.event_calls import EventCalls
from hms_act.playbook_calls import PlaybookCalls
from hms_act.request_calls import RequestCalls
from hms_act.retry import Retry
from hms_act.run_calls import RunCalls
from hms_act.talk import Talk
from hms_act.task_calls import REMEMBERED_TOKENS, TaskCalls, TaskTokens
from hms_act.transport import Call, Tokens, Transport

__all__ = ["DEFAULT_WAIT_SECONDS", "JSON", "LONGEST_WAIT_SECONDS", "REMEMBERED_TOKENS", "YAML", "Client", "encoded"]

DEFAULT_URL = "http://localhost:8000"
DEFAULT_TIMEOUT_SECONDS = 30.0


class Client(RunCalls, TaskCalls, PlaybookCalls, RequestCalls, EventCalls, Talk):
    """Speaks to one server as one user.

    `url` and `token` (an API key or a JWT) come from HMS_ACT_URL and HMS_ACT_TOKEN where they are not given.
    Safe to share between threads, and to keep over a fork. Every method raises `HmsActError`, and says in its own
    words only what more there is to know.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        refresh_token: str = "",
        retry: Retry | None = None,
        sleep: Callable[[float], None] = time.sleep,
        on_tokens: Callable[[Tokens], None] | None = None,
    ) -> None:
        access = token if token is not None else os.environ.get("HMS_ACT_TOKEN", "")
        self._sleep = sleep
        self._transport = Transport(
            url=url or os.environ.get("HMS_ACT_URL") or DEFAULT_URL,
            tokens=Tokens(access=access, refresh=refresh_token),
            timeout=timeout,
            retry=retry or Retry(),
            sleep=sleep,
            on_tokens=on_tokens,
        )
        self._task_tokens = TaskTokens()

    @property
    def url(self) -> str:
        return self._transport.url

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- who is calling

    def log_in(self, username: str, password: str) -> Tokens:
        """From now on this client speaks as `username`, and renews its JWT by itself."""
        body = {"username": username, "password": password}
        call = Call("POST", "/auth/token", encoded(body), headers=headers_of(), anonymous=True)
        answer = self._transport.send(call)
        tokens = answer.parsed(lambda said: Tokens(access=said["access"], refresh=said.get("refresh", "")))
        self._transport.tokens = tokens
        return tokens
