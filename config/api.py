# SPDX-License-Identifier: Apache-2.0
"""What all HTTP calls share: one parser in front, one error envelope behind. (Lists: `config/lists.py`.)

Errors are RFC 9457 problem documents. What the parser accepts is exactly what both databases store
and RFC 8785 can make canonical; everything else is refused here, with a sentence, and never reaches a model.

What is accepted comes back unchanged: the same texts, code point by code point; the same keys, whatever their order;
lists in their order; and numbers of the same value, whether written 1, 1.0 or 1e0 (minus zero is zero).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions, serializers
from rest_framework.fields import empty
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer as PlainJSONRenderer
from rest_framework.response import Response

from config.errors import Invalid, NotAuthenticated, Problem, Refused, TooLarge, Unavailable, Unparseable

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_KEYS = 10_000
MAX_SAFE_INTEGER = 2**53 - 1  # RFC 8785 and JavaScript carry no more exactly

log = logging.getLogger(__name__)

# Reading --------------------------------------------------------------------------------------------------

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(body: bytes) -> Any:
    """The JSON value of a request's body. Raises Unparseable or TooLarge, with the reason."""
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge
    _refuse_depth(body)
    keys = _KeyCounter()
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=keys.object, parse_constant=_no_constant, parse_float=_number
        )
    except UnicodeDecodeError:
        raise Unparseable("The body is not UTF-8.")
    except json.JSONDecodeError as fault:
        raise Unparseable(f"The body is not JSON: {fault.msg} at line {fault.lineno}, column {fault.colno}.")
    except ValueError as fault:  # an integer of more digits than Python converts
        raise Unparseable(f"The body is not JSON: {fault}.")
    _refuse_values(value)
    return value


def _refuse_depth(body: bytes) -> None:
    depth = 0
    for bracket in re.findall(rb"[\[\]{}]", _STRINGS.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise Unparseable(f"The body is nested deeper than {MAX_DEPTH} levels.")


class _KeyCounter:
    def __init__(self) -> None:
        self.seen = 0

    def object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        self.seen += len(pairs)
        if self.seen > MAX_KEYS:
            raise Unparseable(f"The body has more than {MAX_KEYS} keys.")
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise Unparseable(f"The key {twice!r} stands twice in one object.")
        return found


def _no_constant(word: str) -> Any:
    raise Unparseable(f"{word} is no number of JSON; send null or a text.")


def _number(written: str) -> float:
    return float(written) + 0.0  # minus zero becomes zero: one database would keep its sign and the other not


def _refuse_values(value: Any) -> None:
    for item in _leaves(value):
        if isinstance(item, str):
            if "\x00" in item:
                raise Unparseable("A text contains the NUL character, which cannot be stored.")
            if _SURROGATE.search(item):
                raise Unparseable("A text contains half a surrogate pair, which is not Unicode.")
        elif isinstance(item, bool) or item is None:
            continue
        elif abs(item) > MAX_SAFE_INTEGER:
            # In any notation: PostgreSQL hands 1e300 back as an integer of 301 digits.
            raise Unparseable("A number is beyond 2^53; send it as a text, or others will round it.")


def _leaves(value: Any) -> Iterator[Any]:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item.values())
            yield from item
        elif isinstance(item, list):
            pending.extend(item)
        else:
            yield item


def storable(value: Any) -> Any:
    """The same value as a caller might have sent it, for what our own code got from elsewhere.

    Raises Unparseable or TooLarge for what the parser refuses, TypeError or ValueError for what JSON cannot say.
    """
    return parse_json(json.dumps(value, allow_nan=False).encode())


class Negotiation(DefaultContentNegotiation):
    """A body is of the kind that it says it is. (The library takes `*/*` for whatever it reads first.)"""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        kind = request.content_type.partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == kind), None)


class StrictJSONParser(BaseParser):
    """JSON by `parse_json`. (The library hands its own JSONParser the whole body, however long it is.)"""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return parse_json(stream.read(MAX_BODY_BYTES + 1))


# A character that shows. What `\s` means differs from language to language; this means the same in all of them.
NOT_BLANK = r"[^\s\x1c-\x1f\x85\ufeff]"


class TextField(serializers.CharField):
    """A text, kept as it was sent: no other value is taken for one, and no space is trimmed."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def run_validation(self, data: Any = empty) -> Any:
        if isinstance(data, str) and not self.allow_blank and not re.search(NOT_BLANK, data):
            self.fail("blank")
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(data)


class WholeField(serializers.IntegerField):
    """A whole number; a text of digits is none."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool | str):
            self.fail("invalid")
        return int(super().to_internal_value(data))


class TruthField(serializers.BooleanField):
    """true or false, and none of the words for them."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class NothingIn(serializers.Serializer[Any]):
    """A body without fields, or none."""


class JSONRenderer(PlainJSONRenderer):
    """JSON only; no browsable API in front of acts."""

    ensure_ascii = False
    charset = None


def validated(serializer: type[serializers.Serializer[Any]], data: Any, **kwargs: Any) -> dict[str, Any]:
    """The body's fields, checked. Unknown fields are refused: a misspelt option must not be ignored."""
    if not isinstance(data, Mapping):
        raise Invalid("Send a JSON object.")
    form = serializer(data=data, **kwargs)
    unknown = sorted(set(data) - set(form.fields))
    if unknown:
        known = ", ".join(sorted(form.fields))
        raise Invalid(
            f"Unknown field: {unknown[0]}.",
            errors=[Problem(name, "unknown field", f"Known fields: {known}.") for name in unknown],
        )
    form.is_valid(raise_exception=True)
    return dict(form.validated_data)


# Answering ------------------------------------------------------------------------------------------------


def problem(status: int, code: str, detail: str, title: str = "", errors: Any = (), **extra: Any) -> dict[str, Any]:
    """An RFC 9457 problem document."""
    document = {
        "type": f"urn:hms-act:problem:{code}",
        "title": title or code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        **extra,
    }
    if errors:
        document["errors"] = [e.as_json() if isinstance(e, Problem) else e for e in errors]
    return document


def problem_response(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. None lets the fault through to Django, whose 500 says nothing of our insides."""
    refused = as_refusal(exc)
    if refused is None:
        return None
    document = problem(refused.status, refused.code, refused.detail, errors=refused.errors, **refused.extra)
    response = Response(document, status=refused.status, content_type="application/problem+json")
    for name, value in refused.headers.items():
        response[name] = value
    if refused.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="hms-act"'
    return response


STATUS_CODES = {
    400: "unparseable",
    401: "not_authenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
}


def as_refusal(exc: Exception) -> Refused | None:
    """Any refusal, ours or a library's, in our terms; None for a fault that is nobody's refusal."""
    if isinstance(exc, Refused):
        return exc
    if isinstance(exc, Http404):
        return _foreign(404, "There is no such thing, or you may not see it.")
    if isinstance(exc, PermissionDenied):
        return _foreign(403, str(exc) or "You may not do this.")
    if isinstance(exc, exceptions.ValidationError):
        return Invalid("Some fields are not valid.", errors=list(_field_problems(exc.detail)))
    if isinstance(exc, exceptions.NotAuthenticated):
        return NotAuthenticated()
    if isinstance(exc, OperationalError | InterfaceError):
        log.error("the database did not answer a call", exc_info=exc)
        return Unavailable(headers={"Retry-After": "2"})
    if isinstance(exc, exceptions.APIException):
        refused = _foreign(exc.status_code, _sentence(exc.detail))
        wait = getattr(exc, "wait", None)
        if wait is not None:
            refused.headers["Retry-After"] = str(int(wait) + 1)
        return refused
    return None


def _foreign(status: int, detail: str) -> Refused:
    refused = Refused(detail)
    refused.status, refused.code = status, STATUS_CODES.get(status, "refused")
    return refused


def _sentence(detail: Any) -> str:
    if isinstance(detail, Mapping):
        return str(detail.get("detail", "The call was refused."))
    if isinstance(detail, list):
        return " ".join(str(part) for part in detail)
    return str(detail)


def _field_problems(detail: Any, path: str = "") -> Iterator[Problem]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            part = f"[{name}]" if isinstance(name, int) else f".{name}"
            yield from _field_problems(inner, f"{path}{part}".removeprefix("."))
    elif isinstance(detail, list) and detail and isinstance(detail[0], Mapping | list):
        for number, inner in enumerate(detail):
            yield from _field_problems(inner, f"{path}[{number}]")
    elif isinstance(detail, list):
        for message in detail:
            yield Problem(path, str(message))
    else:
        yield Problem(path, str(detail))
