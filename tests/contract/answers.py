# SPDX-License-Identifier: Apache-2.0
"""What an answer of the HTTP API looks like, said once for all tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from config.problem import PROBLEM

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")  # RFC 3339 in UTC
OF_A_FAULT = {"path", "message", "remedy"}


def json_of(answer: Any, status: int = 200) -> Any:
    """The body of an answer that must have this status."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.content[:500]!r}"
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The RFC 9457 document of a refusal with this status and code."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.content[:500]!r}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert set(PROBLEM["required"]) <= set(document) <= set(PROBLEM["properties"])
    assert (document["status"], document["code"]) == (status, code)
    assert document["type"] == f"urn:hms-act:problem:{code}"
    assert document["title"]
    assert document["detail"][-1] in ".!?:", f"no sentence: {document['detail']!r}"
    for fault in document.get("errors", []):
        assert set(fault) - {"line", "code"} == OF_A_FAULT, fault
        assert fault["message"]
    if status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    if status == 405:
        assert answer.headers["Allow"]
    return document


def paths_of(document: dict[str, Any]) -> list[str]:
    return [fault["path"] for fault in document["errors"]]


def is_moment(value: Any) -> bool:
    return isinstance(value, str) and MOMENT.fullmatch(value) is not None


def pages(api: Any, path: str, **query: Any) -> Iterator[list[Any]]:
    """The results page by page, by following `next` as it is."""
    answer = json_of(api.get(path, query))
    while True:
        assert set(answer) == {"results", "next", "previous"}
        yield answer["results"]
        if answer["next"] is None:
            return
        answer = json_of(api.get(answer["next"]))
