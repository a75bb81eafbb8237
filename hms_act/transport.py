# SPDX-License-Identifier: Apache-2.0
"""One conversation with one server: address, credentials, retries, and what an answer means.

What is said over it is `client.py`. Kept true here: a call sent again is sent with the same headers, its
Idempotency-Key among them; credentials go to the configured address only; an answer is a value or a typed
error. One transport may be used by many threads, and by a child after a fork.
"""

from __future__ import annotations

import functools
import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from hms_act.errors import HmsActError, NotAuthenticated, Problem, ServerError, Unreachable, error_for
from hms_act.retry import Retry

CONNECT_SECONDS = 10.0
CHECK_SERVER = "Is the server running, and is HMS_ACT_URL its address?"
CHECK_ADDRESS = "HMS_ACT_URL must be an address such as https://act.example.gov"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tokens:
    """A JWT and what it can be renewed with. An API key has no `refresh`."""

    access: str
    refresh: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    path: str
    content: bytes | None = None
    params: Mapping[str, str | list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    patience: float = 0.0  # seconds for which the server may rightly hold back its answer
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    etag: str
    at: datetime  # when the server answered, by its own clock

    def parsed(self, parse: Callable[[Any], T]) -> T:
        """Raises ServerError where the body is not of the promised shape: it may be another server altogether."""
        try:
            return parse(self.body)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            detail = f"The server's answer was not understood ({type(error).__name__}: {error})"
            raise ServerError(Problem(self.status, code="unexpected_answer", detail=detail)) from error


class Transport:
    """`sleep` is called between attempts; `on_tokens` whenever a JWT has been renewed, to save the new one."""

    def __init__(
        self,
        *,
        url: str,
        tokens: Tokens,
        timeout: float,
        retry: Retry,
        sleep: Callable[[float], None] = time.sleep,
        on_tokens: Callable[[Tokens], None] | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.tokens = tokens
        self._timeout = timeout
        self._retry = retry
        self._sleep = sleep
        self._on_tokens = on_tokens
        _refuse_unusable(self.url)
        self._connect()

    def send(self, call: Call, *, retry: Retry | None = None) -> Answer:
        """Raises HmsActError, after as many attempts as `retry` allows."""
        retry = retry or self._retry
        failures = 0
        while True:
            try:
                return self._attempt(call)
            except HmsActError as error:
                failures += 1
                wait = retry.wait_after(error, failures)
                if wait is None:
                    raise
            self._sleep(wait)

    def close(self) -> None:
        self._http.close()

    def _connect(self) -> None:
        self._pid = os.getpid()
        self._http = httpx2.Client(follow_redirects=False, verify=_trusted_authorities())
        self._renewing = threading.Lock()

    def _attempt(self, call: Call) -> Answer:
        used = self.tokens
        response = self._exchange(call, used)
        if response.status_code == 401 and not call.anonymous and self._renew(used):
            response = self._exchange(call, self.tokens)
        return self._understand(response)

    def _exchange(self, call: Call, tokens: Tokens) -> httpx2.Response:
        if self._pid != os.getpid():
            self._connect()  # a child must not talk over its parent's connections
        headers = dict(call.headers)
        if tokens.access and not call.anonymous:
            headers["Authorization"] = f"Bearer {tokens.access}"
        timeout = httpx2.Timeout(self._timeout + call.patience, connect=min(self._timeout, CONNECT_SECONDS))
        try:
            return self._http.request(
                call.method,
                f"{self.url}{call.path}",
                content=call.content,
                params=dict(call.params) or None,
                headers=headers,
                timeout=timeout,
            )
        except httpx2.RequestError as error:
            reason = str(error) or type(error).__name__
            raise Unreachable.at(self.url, reason, check=CHECK_SERVER) from error

    def _understand(self, response: httpx2.Response) -> Answer:
        status = response.status_code
        at = _moment(response.headers.get("date")) or datetime.now(UTC)
        if status >= 400:
            raise error_for(status, _json_or_none(response), retry_after=_retry_after(response, at))
        if status >= 300:
            target = response.headers.get("location", "another address")
            reason = f"it redirects to {target}"
            raise Unreachable.at(self.url, reason, check="Is HMS_ACT_URL complete?", transient=False)
        if not response.content:
            return Answer(status, None, response.headers.get("etag", ""), at)
        try:
            body = json.loads(response.content)
        except ValueError as error:
            detail = f"{self.url} answered {call_name(response)} with something else than JSON. {CHECK_SERVER}"
            raise ServerError(Problem(status, code="not_json", detail=detail)) from error
        return Answer(status, body, response.headers.get("etag", ""), at)

    def _renew(self, used: Tokens) -> bool:
        """Whether there is now a JWT other than the refused one."""
        with self._renewing:
            if self.tokens != used:
                return True  # another thread was first
            if not used.refresh:
                return False
            try:
                self.tokens = self._renewed(used)
            except NotAuthenticated:
                return False
            if self._on_tokens:
                self._on_tokens(self.tokens)
            return True

    def _renewed(self, used: Tokens) -> Tokens:
        content = json.dumps({"refresh": used.refresh}).encode()
        headers = {"Content-Type": "application/json"}
        call = Call("POST", "/auth/token/refresh", content=content, headers=headers, anonymous=True)
        answer = self._understand(self._exchange(call, used))
        return answer.parsed(lambda said: Tokens(said["access"], said.get("refresh") or used.refresh))


@functools.cache
def _trusted_authorities() -> ssl.SSLContext:
    """Read once in a process: it takes longer than many a call."""
    return httpx2.create_ssl_context()


def call_name(response: httpx2.Response) -> str:
    return f"{response.request.method} {response.request.url.path}"


def _refuse_unusable(url: str) -> None:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise Unreachable.at(url, str(error), check=CHECK_ADDRESS, transient=False) from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise Unreachable.at(url, "that is not a web address", check=CHECK_ADDRESS, transient=False)


def _json_or_none(response: httpx2.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        return None


def _moment(header: str | None) -> datetime | None:
    if header is None:
        return None
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _retry_after(response: httpx2.Response, at: datetime) -> float | None:
    """Seconds, from either form of the header (RFC 9110, 10.2.3): a number, or a date by the server's clock."""
    header = response.headers.get("retry-after", "").strip()
    if header.isdecimal():
        return float(header)
    moment = _moment(header or None)
    return max((moment - at).total_seconds(), 0.0) if moment else None
