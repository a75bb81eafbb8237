# SPDX-License-Identifier: Apache-2.0
"""The description of the HTTP API (OpenAPI 3.1, at `/api/schema`): what a call says of itself, and what holds for all.

A call is described where it stands, by `@described` above its method or `@listed` above a list. What all calls share
(credentials, what the parser refuses, the headers that are honoured) is added here, so that it is neither forgotten
nor said twice. Codes are those of the classes of refusals; a call names the ones it may answer, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

import django_filters
from django.core.validators import RegexValidator
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from config.api import NOT_BLANK, STATUS_CODES, TextField
from config.errors import Refused
from config.lists import CURSOR, LARGEST_ROW_NUMBER, LIMIT, LONGEST_PAGE, AnyOf, Moment, TrueOrFalse, WholeNumber
from config.problem import PROBLEM

Schema = dict[str, Any]
T = TypeVar("T")

PROBLEM_TYPE = "application/problem+json"
# RFC 9110: a star, or tags, in which anything but a quotation mark may stand.
IF_MATCH = r'^(\*|(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*)$'
NOTHING: Any = object()
CHANGING = ("POST", "PUT", "PATCH")

# The parts of a path. Numbers that no row can have are unknown addresses.
PLACES: Mapping[str, Schema] = {
    "run_id": {"type": "integer", "minimum": 1, "maximum": 10**18 - 1, "description": "The number of the run."},
    "task_id": {"type": "integer", "minimum": 1, "maximum": 10**18 - 1, "description": "The number of the task."},
    "signal": {
        "type": "string",
        "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        "description": "The name of the signal, as the playbook writes it.",
    },
    "request_id": {"type": "string", "pattern": "^har_[0-9a-f]{12}$", "description": "The id of the request."},
    "slug": {
        "type": "string",
        "pattern": "^(?!(schema|validate)$)[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        "description": "The id of the playbook, or its number.",
    },
    "rule_set": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,60}$", "description": "The id of the rule set."},
    "system": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,60}$", "description": "The name of the system."},
    "number": {"type": "integer", "minimum": 1, "maximum": 10**9 - 1, "description": "The number of the version."},
    "attachment_id": {
        "type": "integer",
        "minimum": 1,
        "maximum": 10**18 - 1,
        "description": "The number of the attachment.",
    },
}

TAGS: Mapping[str, tuple[str, str]] = {
    "/auth/": ("Log-in", "A person's password for tokens that stand for them for a while."),
    "/acts/run": ("Runs", "Start a run of a playbook, see how it goes, stop it."),
    "/acts/events": ("Events", "What happens, as it happens, to whoever may see it."),
    "/acts/tasks": ("Tasks", "Claim work under a lease, keep the lease, report what came of it, ask a person."),
    "/acts/playbooks": ("Playbooks", "Documents in, versions out."),
    "/acts/rulesets": ("Rules", "What governance steps check: write rules, publish them."),
    "/hitl/": ("Requests", "Questions to people, and their answers."),
}


# What a call says of itself -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Said:
    id: str
    summary: str
    about: str = ""  # more than the summary, where the view's own words are about another method
    asks: Any = None  # the body: a serializer, or {media type: schema}
    example: Any = NOTHING  # of the body
    answers: Mapping[int, Any]  # status → a serializer, a schema, or None for an answer without a body
    shows: Any = NOTHING  # an answer, as an example
    refuses: tuple[str, ...] = ()  # codes, beside those that many calls share
    queries: Sequence[OpenApiParameter] = ()
    in_pages: bool = False
    etag: bool = False  # the answer carries one


def described(id: str, summary: str, **more: Any) -> Callable[[T], T]:
    """Above a method of a view."""
    said = Said(id=id, summary=summary, **more)

    def decorate(method: T) -> T:
        method.said = said  # type: ignore[attr-defined]
        return method

    return decorate


def listed(id: str, summary: str, row: Any, *, shows: Any, **more: Any) -> Callable[[T], T]:
    """Above a view whose GET answers pages of rows; `shows` is one row."""
    said = Said(id=id, summary=summary, answers={200: row}, shows=_page(shows), in_pages=True, **more)

    return _saying("GET", lambda view: said)


def described_anew(method: str, id: str, summary: str, **changed: Any) -> Callable[[T], T]:
    """Above a view that inherits a method, and with it what is said of it."""
    return _saying(method, lambda view: replace(getattr(view, method.lower()).said, id=id, summary=summary, **changed))


def _saying(method: str, say: Callable[[Any], Said]) -> Callable[[T], T]:
    def decorate(view: T) -> T:
        view.said_of = {**getattr(view, "said_of", {}), method: say(view)}  # type: ignore[attr-defined]
        return view

    return decorate


def _page(row: Any) -> Schema:
    return {"results": [row], "next": None, "previous": None}


# Refusals -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    code: str
    status: int
    sentence: str


def refusals() -> dict[str, Refusal]:
    """Every code that the rooms loaded so far may answer. The most particular class of a code explains it."""
    found = {code: Refusal(code, status, FOREIGN[code]) for status, code in STATUS_CODES.items() if code in FOREIGN}
    for kind in _kinds(Refused):
        if "code" in kind.__dict__:
            found[kind.code] = Refusal(kind.code, kind.status, " ".join((kind.__doc__ or "").split()))
    return dict(sorted(found.items(), key=lambda item: (item[1].status, item[0])))


FOREIGN = {
    "method_not_allowed": "This address does not know the method. `Allow` says which it knows.",
    "not_acceptable": "Answers are JSON; `Accept` asks for something else.",
    "unsupported_media_type": "Bodies are `application/json`; documents of playbooks may be YAML too.",
}


def _kinds(kind: type[Refused]) -> Iterator[type[Refused]]:
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)


# An operation ---------------------------------------------------------------------------------------------


class CallSchema(AutoSchema):
    """Describes one operation from what its method says, and from what its view is."""

    @property
    def said(self) -> Said | None:
        of_view: Mapping[str, Said] = getattr(self.view, "said_of", {})
        return of_view.get(self.method) or getattr(getattr(self.view, self.method.lower(), None), "said", None)

    def get_operation(self, *args: Any, **kwargs: Any) -> Schema | None:
        operation: Schema | None = super().get_operation(*args, **kwargs)
        if operation is None or self.said is None:
            return operation
        if "requestBody" in operation and self.said.example is not NOTHING:
            _exemplify(operation["requestBody"], self.said.example)
        for answer in operation["responses"].values():
            if "content" in answer and self.said.shows is not NOTHING:
                _exemplify(answer, self.said.shows)
        operation["responses"].update(self._refused())
        return operation

    # What is asked

    def get_operation_id(self) -> str:
        return self.said.id if self.said else str(super().get_operation_id())

    def get_summary(self) -> str | None:
        return self.said.summary if self.said else None

    def get_description(self) -> str:  # type: ignore[override]  # as in the library
        """The view's own words, where it has one method; the address, which begins them, stands above already."""
        if self.said is None or self.said.about or len(self._methods) > 1:
            return self.said.about if self.said else ""
        _, colon, rest = " ".join((self.view.__doc__ or "").split()).partition(": ")
        return rest[:1].upper() + rest[1:] if colon else ""

    @property
    def _methods(self) -> list[str]:
        return [name for name in ("get", "post", "put", "patch", "delete") if hasattr(self.view, name)]

    def get_tags(self) -> list[str]:
        fitting = [prefix for prefix in TAGS if self.path.startswith(prefix)]
        return [TAGS[max(fitting, key=len)][0]] if fitting else [self.path.split("/")[1].capitalize()]

    def get_request_serializer(self) -> Any:
        return self.said.asks if self.said else super().get_request_serializer()

    def get_override_parameters(self) -> list[Any]:
        said = self.said
        return [*said.queries, *self._request_headers(), *self._answer_headers(said)] if said else []

    def _request_headers(self) -> Iterator[OpenApiParameter]:
        if self._is_repeatable:
            what = "The same call under the same key, within seven days, is answered the same and done once."
            yield _header("Idempotency-Key", what, {"type": "string", "pattern": "^[!-~]{1,255}$"})
        if self._is_matched:
            what = "The ETag of what you read; the call is refused if it has changed since."
            yield _header("If-Match", what, {"type": "string", "pattern": IF_MATCH})

    @property
    def _is_repeatable(self) -> bool:
        return self.method in CHANGING and bool(getattr(self.view, "repeatable", False))

    @property
    def _is_matched(self) -> bool:
        """Whether the view says by `etag_now` what it would change."""
        says = [kind for kind in type(self.view).__mro__ if "etag_now" in kind.__dict__]
        return self.method in CHANGING and len(says) > 1

    def _answer_headers(self, said: Said) -> Iterator[OpenApiParameter]:
        good = [str(status) for status in said.answers]
        if said.etag:
            yield _answered("ETag", good, "Changes whenever the answer would; send it as `If-Match` with a change.")
        if self._is_repeatable:
            yield _answered("Idempotency-Replayed", good, "`true` on an answer that was given before.")

    def get_paginated_name(self, serializer_name: str) -> str:
        return f"{serializer_name}Page"

    def _resolve_path_parameters(self, variables: Iterable[str]) -> list[Schema]:
        return [_place(name) for name in variables]

    def _get_filter_parameters(self) -> list[Schema]:
        filters = getattr(self.view, "filterset_class", None)
        if not (self.said and self.said.in_pages and filters):
            return []
        return [_filter(name, declared) for name, declared in filters.base_filters.items()]

    def _get_pagination_parameters(self) -> list[Schema]:
        if not (self.said and self.said.in_pages):
            return []
        limit = {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": 50}
        cursor = {"type": "string", "minLength": 1}
        return [
            _query(LIMIT, limit, "How many rows a page holds."),
            _query(CURSOR, cursor, "Where a page begins. Follow `next` and `previous` as they are."),
        ]

    def _postprocess_serializer_schema(self, schema: Schema, serializer: Any, direction: str) -> Schema:
        found: Schema = super()._postprocess_serializer_schema(schema, serializer, direction)
        if direction != "request":
            return found
        alternatives = [{"required": [name]} for name in getattr(serializer, "exactly_one_of", ())]
        return {**found, **({"oneOf": alternatives} if alternatives else {}), "additionalProperties": False}

    def _map_serializer_field(self, field: Any, direction: str, bypass_extensions: bool = False) -> Schema:
        found: Schema = super()._map_serializer_field(field, direction, bypass_extensions)
        if isinstance(field, serializers.JSONField):
            return {"description": "Any JSON."}
        if isinstance(field, TextField) and not field.allow_blank and not _has_pattern(field):
            found = {"pattern": NOT_BLANK, **found}
        return {name: value for name, value in found.items() if name not in {"x-spec-enum-id", "readOnly"}}

    # What is answered

    def get_response_serializers(self) -> Any:
        return dict(self.said.answers) if self.said else super().get_response_serializers()

    def _is_list_view(self, serializer: Any = None) -> bool:
        return bool(self.said and self.said.in_pages)

    def _get_response_for_code(self, serializer: Any, status_code: Any, *args: Any, **kwargs: Any) -> Schema:
        answer: Schema = super()._get_response_for_code(serializer, status_code, *args, **kwargs)
        return {**answer, "description": answer["description"] or GOOD[str(status_code)]}

    def _refused(self) -> dict[str, Schema]:
        """Status → what a refusal with it may mean. The codes of one status share its answer."""
        known, answers = refusals(), {}
        codes = [known[code] for code in dict.fromkeys(self._codes())]
        for status in sorted({refusal.status for refusal in codes}):
            mine = [refusal for refusal in codes if refusal.status == status]
            answers[str(status)] = {
                "description": "\n".join(f"- `{refusal.code}`: {refusal.sentence}" for refusal in mine),
                "content": {PROBLEM_TYPE: {"schema": self._problem(status, [refusal.code for refusal in mine])}},
                **({"headers": OF_REFUSALS[status]} if status in OF_REFUSALS else {}),
            }
        return answers

    def _problem(self, status: int, codes: list[str]) -> Schema:
        component = ResolvedComponent(
            name="Problem", type=ResolvedComponent.SCHEMA, object="Problem", schema=dict(PROBLEM)
        )
        self.registry.register_on_missing(component)
        narrowed = {"properties": {"status": {"const": status}, "code": {"enum": sorted(codes)}}}
        return {"allOf": [component.ref, narrowed]}

    def _codes(self) -> Iterator[str]:
        said = self.said
        assert said is not None, "only a described call is asked"
        yield from ("unparseable", "not_acceptable", "unavailable")
        if self.view.get_authenticators():
            yield from ("not_authenticated", "rate_limited")
        if "{" in self.path:
            yield "not_found"
        if said.queries or said.in_pages:
            yield "invalid"
        if self.method in CHANGING:
            yield from ("too_large", "unsupported_media_type", "invalid")
            if self.view.get_authenticators():
                yield from ("forbidden", "stale_revision")
        if self._is_repeatable:
            yield from ("idempotency_in_flight", "idempotency_mismatch")
        yield from said.refuses


GOOD = {
    "200": "It is so.",
    "201": "Made.",
    "202": "Accepted; it goes on without you.",
    "204": "There is nothing.",
    "304": "It is what you know already.",
}
RETRY_AFTER: Schema = {"schema": {"type": "integer"}, "description": "Seconds to wait."}
OF_REFUSALS: Mapping[int, Schema] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "How to log in."}},
    409: {"ETag": {"schema": {"type": "string"}, "description": "With `stale_revision`: what it is now."}},
    429: {"Retry-After": RETRY_AFTER},
    503: {"Retry-After": RETRY_AFTER},
}


def _has_pattern(field: serializers.Field[Any, Any, Any, Any]) -> bool:
    """Whether the library will write one: of a text it keeps the first that it sees."""
    return any(isinstance(validator, RegexValidator) for validator in field.validators)


def _exemplify(carrier: Schema, example: Any) -> None:
    for content in carrier["content"].values():
        content["example"] = content["schema"].get("example", example)


def _header(name: str, description: str, schema: Schema) -> OpenApiParameter:
    return OpenApiParameter(name, schema, OpenApiParameter.HEADER, description=description)


def _answered(name: str, statuses: list[str], description: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, response=statuses, description=description)


def _place(name: str) -> Schema:
    schema = dict(PLACES[name])
    description = schema.pop("description")
    return {"in": "path", "name": name, "required": True, "schema": schema, "description": description}


def _query(name: str, schema: Schema, description: str = "") -> Schema:
    found = {"in": "query", "name": name, "schema": schema}
    return {**found, "description": description} if description else found


def _filter(name: str, declared: django_filters.Filter) -> Schema:
    """The query parameter of a filter. An empty one is refused."""
    words = (type(declared).__doc__ or "").split("\n")[0]
    match declared:
        case WholeNumber():
            return _query(name, {"type": "integer", "minimum": 1, "maximum": LARGEST_ROW_NUMBER}, words)
        case TrueOrFalse():
            return _query(name, {"type": "string", "enum": ["true", "false"]})
        case Moment():
            return _query(name, {"type": "string", "format": "date-time"}, words)
        case AnyOf():
            items = {"type": "string", "enum": _words(declared)}
            return _query(name, {"type": "array", "items": items, "minItems": 1}, "Once or more.")
        case django_filters.ChoiceFilter():
            return _query(name, {"type": "string", "enum": _words(declared)})
        case _ if getattr(declared, "takes_several", False):
            return _query(name, {"type": "array", "items": {"type": "string", "pattern": ":"}, "minItems": 1}, words)
        case _:
            return _query(name, {"type": "string", "minLength": 1})


def _words(declared: django_filters.Filter) -> list[str]:
    return [str(word) for word, _ in declared.extra["choices"]]


# The document as a whole ----------------------------------------------------------------------------------


class Generator(SchemaGenerator):
    def get_schema(self, request: Any = None, public: bool = False) -> Schema:
        found: Schema = super().get_schema(request=request, public=public)
        found["info"]["description"] += "\n\n" + _introduction()
        found["tags"] = [{"name": name, "description": about} for name, about in TAGS.values()]
        return found


@cache
def description() -> Schema:
    """A process says the same for as long as it lives."""
    return Generator().get_schema(public=True)


def _introduction() -> str:
    lines = [
        "Bodies and answers are JSON. No text may hold the character NUL or half a surrogate pair, and no number may "
        "be beyond 2^53. A refusal is a problem document (RFC 9457) with one of these codes:",
        "",
        "| code | status | meaning |",
        "| --- | --- | --- |",
        *(f"| `{each.code}` | {each.status} | {each.sentence} |" for each in refusals().values()),
    ]
    return "\n".join(lines)
