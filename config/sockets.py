# SPDX-License-Identifier: Apache-2.0
"""`/ws/events`: the events as a WebSocket, for pages that follow what happens: `{id, type, data}`, one in a message.

It is `GET /acts/events` made again and again, each time from where the answer before it ended (`config/waiting.py`):
the same filters, the same visibility, the same refusals, and a key that is revoked meanwhile is told nothing more.
Who comes back says how far they had got (`after`); without it, it begins now.

A browser's WebSocket sends no headers of the page's choosing. So the credential may come as a subprotocol beside ours:
`new WebSocket(url, ['hms-act.events', 'hms-act.bearer.' + key])`. The session of a page is none: another site's page
would come with it. What the reader sends is not read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from io import BytesIO
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http.response import HttpResponseBase

from config.waiting import Waiting

PATH, CALL = "/ws/events", "/acts/events"
PROTOCOL = "hms-act.events"
BEARER = "hms-act.bearer."
DENIAL = "websocket.http.response"  # the extension of ASGI by which a handshake is refused with an answer of HTTP
GOING_AWAY, REFUSED, BROKEN = 1001, 1008, 1011  # RFC 6455, 7.4.1
SCHEMES = {"ws": "http", "wss": "https"}
OF_THE_SOCKET = (b"upgrade", b"connection", b"accept", b"prefer", b"cookie", b"content-length", b"transfer-encoding")

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Respond = Callable[[ASGIRequest], Awaitable[Any]]


async def serve(scope: Mapping[str, Any], receive: Receive, send: Send, respond: Respond, waiting: Waiting) -> None:
    """One connection, from its handshake to its end. `respond` makes a call of HTTP."""
    await receive()  # that they wish to connect
    first = await respond(_call(scope, ""))
    if first.status_code != 200:
        await _refuse(scope, send, first)
        return
    offered = scope.get("subprotocols", ())
    await send({"type": "websocket.accept", "subprotocol": PROTOCOL if PROTOCOL in offered else None})
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        code, reason = await _tell(scope, send, respond, waiting, first, gone)
        if not gone.done():
            await send({"type": "websocket.close", "code": code, "reason": reason})
    finally:
        gone.cancel()


async def _tell(
    scope: Mapping[str, Any], send: Send, respond: Respond, waiting: Waiting, first: Any, gone: asyncio.Future[None]
) -> tuple[int, str]:
    """(code, reason) of the end."""
    place = await _told(first, send)
    async with aclosing(waiting.looks()) as looks:
        async for _ in looks:
            if gone.done():
                break
            response = await respond(_call(scope, place))
            if response.status_code != 200:
                return (REFUSED if response.status_code < 500 else BROKEN), _code_of(response)
            place = await _told(response, send)
    return GOING_AWAY, "the server ends: come back, with after"


async def _told(response: Any, send: Send) -> str:
    """Send what an answer holds: the place behind it."""
    page = json.loads(response.content)
    for event in page["results"]:
        await send({"type": "websocket.send", "text": json.dumps(event, ensure_ascii=False, separators=(",", ":"))})
    return str(page["after"])


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


def _call(scope: Mapping[str, Any], place: str) -> ASGIRequest:
    """The call of HTTP that asks for what is to be told; `place` is "" for the first one."""
    headers = [(name, value) for name, value in scope["headers"] if not _is_of_the_socket(name)]
    credential = next((word[len(BEARER) :] for word in scope.get("subprotocols", ()) if word.startswith(BEARER)), "")
    if credential:
        headers.append((b"authorization", f"Bearer {credential}".encode()))
    return ASGIRequest(
        {
            **{name: value for name, value in scope.items() if name not in {"subprotocols", "extensions"}},
            "type": "http",
            "method": "GET",
            "scheme": SCHEMES.get(scope.get("scheme", "ws"), "http"),
            "path": CALL if scope["path"] == PATH else f"/ws{scope['path']}",  # where there is nothing
            "raw_path": None,
            "query_string": _query(scope["query_string"], place),
            "headers": [*headers, (b"accept", b"application/json")],
            **({"asked_again": True} if place else {}),  # it counts once against its rate limit
        },
        BytesIO(),
    )


def _is_of_the_socket(name: bytes) -> bool:
    return name in OF_THE_SOCKET or name.startswith(b"sec-websocket-")


def _query(given: bytes, place: str) -> bytes:
    """The reader's own filters, and from where on; how long to wait is ours."""
    kept = [part for part in given.split(b"&") if part and part.partition(b"=")[0] not in {b"wait", b"limit"}]
    has_place = any(part.partition(b"=")[0] == b"after" for part in kept)
    if place:
        kept = [part for part in kept if part.partition(b"=")[0] != b"after"]
    return b"&".join([*kept, *([f"after={place}".encode()] if place else [] if has_place else [b"after=now"])])


async def _refuse(scope: Mapping[str, Any], send: Send, response: HttpResponseBase) -> None:
    if DENIAL not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": REFUSED})
        return
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.items()]
    body = getattr(response, "content", b"")
    await send({"type": "websocket.http.response.start", "status": _status(response), "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


def _status(response: HttpResponseBase) -> int:
    """Only what refuses may answer a handshake."""
    return response.status_code if response.status_code >= 400 else 404


def _code_of(response: Any) -> str:
    try:
        return str(json.loads(response.content).get("code", ""))[:100]
    except (AttributeError, ValueError):
        return ""
