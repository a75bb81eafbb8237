# SPDX-License-Identifier: Apache-2.0
"""How a client says a call, and the words all calls are made of.

Kept true here: every call that changes something carries an Idempotency-Key, the same one however often it is sent;
lists are read page by page, as they are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

from hms_act.answers import Json, Request, Run, Task
from hms_act.retry import Retry
from hms_act.transport import Answer, Call, Transport

DEFAULT_WAIT_SECONDS = 30
LONGEST_WAIT_SECONDS = 60  # what the server is willing to hold one call for

JSON = "application/json"
YAML = "application/yaml"

T = TypeVar("T")


class Calls:
    """What every part of `Client` stands on: one conversation with one server."""

    _transport: Transport
    _sleep: Callable[[float], None]

    def _get(self, path: str, params: Mapping[str, Any] | None = None, *, patience: float = 0.0) -> Answer:
        return self._transport.send(Call("GET", path, params=query(params or {}), patience=patience))

    def _change(
        self,
        method: str,
        path: str,
        body: Json,
        *,
        key: str | None = None,
        if_match: str = "",
        retry: Retry | None = None,
    ) -> Answer:
        headers = headers_of(key=key or new_key(), if_match=if_match)
        return self._transport.send(Call(method, path, encoded(body), headers=headers), retry=retry)

    def _list(self, path: str, filters: Mapping[str, Any], parse: Callable[[Json], T]) -> Iterator[T]:
        params: Mapping[str, str | list[str]] | None = query(filters)
        while params is not None:
            page = self._get(path, params)
            yield from page.parsed(lambda said: [parse(one) for one in said["results"]])
            # Only the query of `next` is used: behind a proxy its host may be one that we cannot reach,
            # and no answer may send our credentials to another address.
            following = page.body.get("next")
            params = {**parse_qs(urlsplit(following).query)} if following else None


def new_key() -> str:
    return str(uuid4())


def path_of(*parts: str | int) -> str:
    return "/" + "/".join(quote(str(part), safe="") for part in parts)


def given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def told(**texts: str) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}


def query(filters: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """As JSON writes them, so that True is `true`; a list is asked for value by value, and None not at all."""
    return {
        name: [_word(each) for each in value] if isinstance(value, (list, tuple)) else _word(value)
        for name, value in filters.items()
        if value is not None
    }


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str).strip('"')


def encoded(body: Any) -> bytes:
    """Raises ValueError for what JSON cannot say: NaN, infinity, half a surrogate pair."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def headers_of(*, content_type: str = JSON, key: str | None = None, if_match: str = "") -> dict[str, str]:
    """A call that changes nothing has no `key`."""
    return {"Content-Type": content_type, **told(**{"Idempotency-Key": key or "", "If-Match": if_match})}


def number_of(named: int | Run | Task) -> int:
    return named if isinstance(named, int) else named.id


def etag_of(named: int | Run | Task) -> str:
    """What it was when it was read; "" where only its number is known."""
    return "" if isinstance(named, int) else named.etag


def id_of(named: str | Request) -> str:
    return named if isinstance(named, str) else named.id
