# SPDX-License-Identifier: Apache-2.0
"""The web process: one thread for everything that waits for the database, and so one persistent connection.

Django's own handler runs each request in a thread of its own. A persistent connection belongs to its thread and
is left open when that ends: the server's connections are used up within seconds, or each request pays for a new
one. Here a request goes to the process's one thread, middleware and view in one visit. More processes, not more
threads, make use of more cores. A view is sync; what has to wait without holding the thread waits in
`config/waiting.py`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.signals import request_started
from django.db import OperationalError, ProgrammingError, close_old_connections, connection, reset_queries
from django.http import FileResponse
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django.urls import get_resolver

from config import sockets
from config.errors import Refused, TooLarge, Unparseable
from config.waiting import Waiting

Message = Mapping[str, Any]

log = logging.getLogger(__name__)

AT_THE_BEGINNING = (reset_queries, close_old_connections)  # of each call, also of one that is made anew


class OneThreadHandler(ASGIHandler):
    """Django's handler without a thread, and a connection, per request."""

    def __init__(self) -> None:
        super().__init__()
        for receiver in AT_THE_BEGINNING:
            request_started.disconnect(receiver)  # it would be a visit to the thread of its own
        get_resolver().url_patterns  # noqa: B018  # imports every view now, and not in the first request
        self.waiting = Waiting()

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)  # one visit to the thread for all of them

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "websocket":
            await sockets.serve(scope, receive, send, self._respond, self.waiting)
            return
        if scope["type"] != "http":
            raise ValueError(f"This application answers HTTP and WebSockets, not {scope['type']}.")
        await self.handle(scope, receive, send)

    async def read_body(self, receive: Callable[[], Awaitable[Message]]) -> BytesIO:
        """The body, or as much of it as tells that it is too large: nothing more is kept, however much is sent."""
        body, more = BytesIO(), True
        while more and body.tell() <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestAborted
            body.write(message.get("body", b""))
            more = message.get("more_body", False)
        body.seek(0)
        return body

    def create_request(self, scope: Mapping[str, Any], body_file: Any) -> tuple[Any, Any]:
        """(the request, None), or (None, the refusal of one that cannot be read)."""
        from config.middleware import refusal_response  # Django is not set up yet when this module is loaded

        refusal = _unreadable(scope, body_file)
        if refusal is None:
            return super().create_request(_with_length(scope, body_file), body_file)
        return None, refusal_response(self.request_class({**scope, "query_string": b""}, body_file), refusal)

    async def run_get_response(self, request: Any) -> HttpResponseBase:
        response = await self._respond(request)
        if wanted := self.waiting.asked_for(response):
            response = await self.waiting.for_something(response, wanted, lambda: self._respond(_afresh(request)))
        if self.waiting.is_stream(response):
            response = self._stream(request, response)
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            parts: Any = response.streaming_content
            response.streaming_content = _part_by_part(parts)
        return response

    def _stream(self, request: Any, first: HttpResponseBase) -> HttpResponseBase:
        """The answer as a stream that goes on from it."""
        parts = self.waiting.stream(first, lambda place: self._respond(_afresh(request, {b"last-event-id": place})))
        response = StreamingHttpResponse(parts, status=first.status_code, headers=self.waiting.stream_headers(first))
        response.cookies = first.cookies
        return response

    async def _respond(self, request: Any) -> Any:
        response: Any = await sync_to_async(self._answer)(request)
        response._handler_class = self.__class__
        return response

    def _answer(self, request: Any) -> HttpResponseBase:
        for receiver in AT_THE_BEGINNING:
            receiver()
        return self.get_response(request)


def _unreadable(scope: Mapping[str, Any], body: BytesIO) -> Refused | None:
    if body.getbuffer().nbytes > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        return TooLarge()
    try:
        scope["query_string"].decode()
    except UnicodeDecodeError:
        return Unparseable("The query string is not UTF-8.")
    return None


def _with_length(scope: Mapping[str, Any], body: BytesIO) -> Mapping[str, Any]:
    """A body sent in chunks says no length, and would be taken for none."""
    said = {name for name, _ in scope["headers"]}
    length = body.getbuffer().nbytes
    if not length or b"content-length" in said:
        return scope
    return {**scope, "headers": [*scope["headers"], (b"content-length", str(length).encode())]}


def _afresh(request: Any, instead: Mapping[bytes, str] | None = None) -> Any:
    """The same call once more, as it came in, but for headers given anew. Django closes the stream of a body that was
    read as a whole."""
    replaced = {name: value.encode() for name, value in (instead or {}).items()}
    headers = [(name, value) for name, value in request.scope["headers"] if name not in replaced]
    # It counts once against its rate limit.
    scope = {**request.scope, "headers": [*headers, *replaced.items()], "asked_again": True}
    if hasattr(request, "_body"):
        return ASGIRequest(scope, BytesIO(request.body))
    request._stream.seek(0)
    return ASGIRequest(scope, request._stream)


async def _part_by_part(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    """One visit to the thread for each part, so that a long answer lets others in between."""
    remaining = iter(parts)
    following = sync_to_async(lambda: next(remaining, None))
    while (part := await following()) is not None:
        yield part


def _register_signing_key() -> None:
    """People decide here: without a key to sign receipts with, there is nothing to start for.

    In a thread of its own: some servers import this module within their event loop, where Django does not ask the
    database.
    """
    with ThreadPoolExecutor(1) as aside:
        aside.submit(_registered).result()


def _registered() -> None:
    from approvals import signing

    try:
        signing.register_or_stop()
    except (OperationalError, ProgrammingError):
        log.warning("the database is not ready; the signing key is registered by `manage.py migrate`, or a new start")
    finally:
        connection.close()


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)
_register_signing_key()
application = OneThreadHandler()
