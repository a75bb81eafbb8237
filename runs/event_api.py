# SPDX-License-Identifier: Apache-2.0
"""`GET /acts/events`: what happens, as it happens, to whoever may see it. In pages, or as a stream (SSE).

Reading tells nobody anything, and carries nothing out. A reader that comes back says how far it had got (`after`, or
`Last-Event-ID`), and has missed nothing (`audit/feed.py` says why).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.calls import Call
from audit import feed
from config.api import JSONRenderer, TextField
from config.errors import Invalid, Problem
from config.lists import LARGEST_ROW_NUMBER, LONGEST_PAGE
from config.openapi import described
from runs.api_shapes import WaitField
from runs.prefer import wait_headers, wait_of

FOLLOW_HEADER = "HMS-Act-Follow"  # asks the server around us to keep the stream open, from this number on
PAGE = 100
MOST_TYPES = 20
TYPE = r"^[a-z_]{1,30}(\.[a-z_]{1,30}){0,3}(\.\*)?\Z"
NOW = "now"
NUMBER = re.compile(r"\d{1,18}", re.ASCII)


class EventStream(BaseRenderer):
    """Server-sent events: each with its number as id, and the whole message as data."""

    media_type = "text/event-stream"
    format = "sse"
    charset = "utf-8"

    def render(self, data: Any, media_type: Any = None, context: Any = None) -> bytes:
        if "results" not in data:  # a refusal, which says so by its status
            return JSONRenderer().render(data)
        json = JSONRenderer()
        parts = [b"id: %s\ndata: %s\n\n" % (each["id"].encode(), json.render(each)) for each in data["results"]]
        # An id without data is no event: it moves the place from which a reader that comes back goes on.
        return b"".join([*parts, b"id: %s\n\n" % data["after"].encode()])


class EventsIn(serializers.Serializer[Any]):
    after = TextField(required=False, default="", max_length=18)
    limit = serializers.IntegerField(required=False, default=PAGE, min_value=1, max_value=LONGEST_PAGE)
    run_id = serializers.IntegerField(required=False, default=None, min_value=1, max_value=LARGEST_ROW_NUMBER)
    request_id = serializers.RegexField(r"^har_[0-9a-f]{12}\Z", required=False, default="")
    wait = WaitField(in_query=True)


class EventOut(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="Its number in the log, as a text: `after` and `Last-Event-ID` take it.")
    type = serializers.CharField(help_text="The act: `hitl.request.fulfilled`, `task.completed`, `run.failed` …")
    data = serializers.DictField()  # type: ignore[assignment]  # not DRF's attribute


class EventsOut(serializers.Serializer[Any]):
    results = EventOut(many=True)
    after = serializers.CharField(help_text="Where the next page begins, also if this one is empty.")
    more = serializers.BooleanField(help_text="Whether there is a next page already.")


def _query(name: str, schema: Mapping[str, Any], what: str) -> OpenApiParameter:
    return OpenApiParameter(name, dict(schema), description=what)


QUERIES = [
    _query(
        "after",
        {"type": "string", "pattern": "^([0-9]{1,18}|now)$"},
        "The `after` of the page before, the id of an event, or `now`. Without it: pages begin at the beginning "
        "of the log, a stream begins now.",
    ),
    _query(
        "type",
        {"type": "array", "maxItems": MOST_TYPES, "items": {"type": "string", "pattern": TYPE.replace(r"\Z", "$")}},
        "Only these types; `hitl.request.*` is all that begin so.",
    ),
    _query("run_id", {"type": "integer", "minimum": 1, "maximum": LARGEST_ROW_NUMBER}, "Only of this run."),
    _query("request_id", {"type": "string", "pattern": "^har_[0-9a-f]{12}$"}, "Only of this request."),
    _query("limit", {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": PAGE}, "Events in a page."),
    _query("wait", {"type": "number", "minimum": 0, "maximum": 60}, "Seconds to wait for the first event."),
]
SHOWN = {
    "results": [
        {
            "id": "40817",
            "type": "hitl.request.fulfilled",
            "data": {
                "at": "2025-11-03T14:00:01.250000Z",
                "actor": "liaison",
                "actor_type": "human",
                "result": "SUCCESS",
                "request_id": "har_3f9c0a7be412",
                "workflow_id": "licence-renewal-42",
                "title": "Pay the registry's fee",
                "agent_id": "validator",
                "request_type": "payment_authorization",
                "priority": "high",
                "status": "fulfilled",
            },
        }
    ],
    "after": "40817",
    "more": False,
}


class Events(Call):
    """GET /acts/events: what has happened and what happens, in the order of the log. As JSON in pages, or, with
    `Accept: text/event-stream`, as a stream that goes on where `Last-Event-ID` says."""

    renderer_classes = [JSONRenderer, EventStream]

    @described("list_events", "Read or follow the events", queries=QUERIES, answers={200: EventsOut}, shows=SHOWN)
    def get(self, request: Request) -> Response:
        wanted, given = _understood(request)
        is_stream = isinstance(request.accepted_renderer, EventStream)
        written = (is_stream and request.headers.get("Last-Event-ID")) or given["after"] or (NOW if is_stream else "0")
        after = feed.end() if written == NOW else _place(written)
        found = feed.page(self.actor, after=after, limit=given["limit"], wanted=wanted)
        document = {"results": found.messages, "after": str(found.after), "more": not found.is_last}
        return Response(document, headers=self._headers(given["wait"], found, is_stream=is_stream))

    def _headers(self, wait: float, found: feed.Page, *, is_stream: bool) -> dict[str, Any]:
        if is_stream:
            return {FOLLOW_HEADER: str(found.after), "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        seconds = wait_of(self.request, wait)
        return wait_headers(self.request, seconds, is_empty_handed=not found.messages and found.is_last)


def _understood(request: Request) -> tuple[feed.Wanted, dict[str, Any]]:
    """(what is asked for, the query's other fields). Raises Invalid for what is not known here, or given twice."""
    query = request.query_params
    known = [*EventsIn().fields, "type"]
    problems = [
        Problem(name, "is not known here", f"Known are {', '.join(known)}.") for name in query if name not in known
    ]
    problems += [
        Problem(name, "is given more than once", "Give it once.")
        for name in query
        if name != "type" and len(query.getlist(name)) > 1
    ]
    types = tuple(query.getlist("type"))
    if len(types) > MOST_TYPES or not all(re.match(TYPE, word) for word in types):
        problems.append(Problem("type", "is no type of event", "Such as hitl.request.fulfilled, or hitl.request.*."))
    if problems:
        raise Invalid(f"The filter {problems[0].path} {problems[0].message}.", errors=problems)
    form = EventsIn(data={name: query[name] for name in query if name != "type"})
    form.is_valid(raise_exception=True)
    given = dict(form.validated_data)
    return feed.Wanted(types, given["run_id"], given["request_id"]), given


def _place(written: str) -> int:
    """The number of an entry. Raises Invalid."""
    if not NUMBER.fullmatch(written):
        raise Invalid("The place is not one of ours.", errors=[Problem("after", "is no number of an event")])
    return int(written)
