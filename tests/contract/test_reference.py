# SPDX-License-Identifier: Apache-2.0
"""The reference of the HTTP API names every call, filter, field and code there is, and no other."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.urls import URLPattern, get_resolver

from approvals import agent_api as agents
from approvals import api as approvals
from approvals import outside_api as outside
from approvals import people_api as people
from approvals import secret_api as secrets
from approvals import talk_api as talk
from approvals import talk_back_api as talk_back
from config import api as envelope
from config.errors import Refused
from config.middleware import API_PREFIXES
from playbooks import api as playbooks
from playbooks import rule_api as rules
from runs import api, task_api
from runs import api_shapes as runs
from runs import event_api as events

TEXT = (settings.BASE_DIR / "docs" / "reference" / "http-api.md").read_text()
CALL = re.compile(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`\s]*)`")
DESCRIPTION = {"/api/schema", "/api/docs"}
OF_PAGES = {"form_expired", "policy_exists", "policy_published", "link_over", "wrong_code"}
"""Codes that no call answers with."""


def calls() -> Iterator[tuple[str, str]]:
    for pattern in _patterns(get_resolver()):
        path = "/" + re.sub(r"<[^>]*?:?(\w+)>", "{}", re.sub(r"\(\?P<\w+>[^()]*?\)", "{}", _plain(pattern)))
        if path.startswith(API_PREFIXES) and path not in DESCRIPTION:
            yield from ((method, path) for method in _methods(pattern.callback))


def _patterns(resolver: Any, prefix: str = "") -> Iterator[Any]:
    for each in resolver.url_patterns:
        each.full = prefix + str(each.pattern)
        if isinstance(each, URLPattern):
            yield each
        else:
            yield from _patterns(each, each.full)


def _plain(pattern: Any) -> str:
    return str(pattern.full).replace("^", "").replace(r"\Z", "")


def _methods(view: Any) -> Iterator[str]:
    for method in ("get", "post", "put", "patch", "delete"):
        if hasattr(view.cls, method):
            yield method.upper()


def test_it_names_every_call_and_no_other():
    named = {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in CALL.findall(TEXT)}
    elsewhere = {("GET", "/healthz"), ("GET", "/readyz")}

    assert named == set(calls()) | elsewhere


def test_it_names_every_code_and_no_other():
    ours = {kind.code for kind in _kinds(Refused)} - OF_PAGES - {"refused"}
    of_the_library = set(envelope.STATUS_CODES.values())
    table = TEXT[TEXT.index("## Errors") :]
    named = {
        code
        for column in re.findall(r"^\| \d[\d, ]*\|([^|]*)\|", table, re.MULTILINE)
        for code in re.findall(r"`([a-z_]+)`", column)
    }

    assert named - {"fault"} == ours | of_the_library


def _kinds(kind: type[Refused]) -> Iterator[type[Refused]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


@pytest.mark.parametrize(
    ("call", "filters"),
    [
        ("GET /acts/runs", api.RunFilter),
        ("GET /acts/tasks", task_api.TaskFilter),
        ("GET /hitl/requests", approvals.RequestFilter),
    ],
)
def test_it_names_every_filter(call, filters):
    line = next(line for line in TEXT.splitlines() if f"`{call}`" in line)
    named = re.findall(r"`([a-z_]+)`", line.split("|")[2])

    assert set(filters.base_filters) <= set(named)


BODIES = {
    "POST /acts/run": runs.StartIn,
    "PATCH /acts/runs/{id}/cancel": runs.ReasonIn,
    "PATCH /acts/runs/{id}/terminate": runs.TerminateIn,
    "POST /acts/runs/{id}/signals/{name}": runs.SignalIn,
    "POST /acts/tasks/next": runs.NextIn,
    "POST /acts/tasks/{id}/complete": runs.CompleteIn,
    "POST /acts/tasks/{id}/fail": runs.FailIn,
    "POST /acts/tasks/{id}/heartbeat": runs.TokenIn,
    "POST /acts/tasks/{id}/release": runs.ReleaseIn,
    "POST /acts/tasks/{id}/request-approval": runs.AskIn,
    "POST /acts/tasks/{id}/resolve": runs.ResolveIn,
    "POST /hitl/requests": approvals.CreateIn,
    "GET /hitl/requests/{id}": approvals.WaitIn,
    "POST /hitl/requests/{id}/cancel": agents.CancelIn,
    "GET /acts/events": events.EventsIn,
    "POST /hitl/requests/{id}/claim": approvals.ClaimIn,
    "POST /hitl/requests/{id}/takeover": people.TakeOverIn,
    "POST /hitl/requests/{id}/assign": people.AssignIn,
    "POST /hitl/requests/{id}/delegate": people.DelegateIn,
    "POST /hitl/requests/{id}/extend": people.ExtendIn,
    "POST /hitl/requests/{id}/fulfill": approvals.FulfillIn,
    "POST /hitl/requests/{id}/reject": approvals.RejectIn,
    "POST /hitl/requests/{id}/comment": talk.CommentIn,
    "POST /hitl/requests/{id}/attachments": talk.AttachIn,
    "POST /hitl/requests/{id}/draft": talk.DraftIn,
    "POST /hitl/requests/{id}/unwrap": secrets.UnwrapIn,
    "POST /hitl/requests/{id}/replace-secret": secrets.ReplaceIn,
    "PATCH /hitl/requests/{id}": approvals.ReviseIn,
    "POST /hitl/requests/{id}/request-info": talk_back.QuestionIn,
    "POST /hitl/requests/{id}/answer": talk_back.AnswerIn,
    "POST /hitl/requests/{id}/request-changes": talk_back.FeedbackIn,
    "POST /hitl/external/{system}": outside.DecisionIn,
    "POST /acts/playbooks/{id}/versions/{n}/retire": playbooks.RetireIn,
    "POST /acts/rulesets": rules.RuleSetIn,
    "POST /acts/rulesets/{id}/versions": rules.RulesIn,
    "PUT /acts/rulesets/{id}/versions/{n}": rules.RulesIn,
    "POST /acts/rulesets/{id}/versions/{n}/retire": rules.RetireRulesIn,
}


@pytest.mark.parametrize("call", BODIES)
def test_it_names_every_field_of_a_body(call):
    line = next(line for line in TEXT.splitlines() if f"`{call}`" in line)
    named = re.findall(r"`([a-z_]+)`", line.replace("\\|", " ").split("|")[2])

    assert set(BODIES[call]().fields) <= set(named)


@pytest.mark.parametrize(
    ("name", "shown"), [("A run is", runs.RunOut), ("A task is", runs.TaskOut), ("A request is", approvals.RequestOut)]
)
def test_it_names_every_field_of_an_answer(name, shown):
    described = re.search(rf"{name} `\{{(.*?)\}}`", TEXT, re.DOTALL)
    assert described is not None

    assert set(re.split(r",\s+", described[1])) == set(shown().fields)


def test_each_body_there_is_stands_here():
    """A body added to a room and not to `BODIES` would go unchecked."""
    known = set(BODIES.values()) | {playbooks.CloneIn, approvals.OptionIn, outside.ButtonIn}
    found = {
        kind
        for room in (runs, events, approvals, agents, outside, people, talk, talk_back, secrets, playbooks, rules)
        for name, kind in inspect.getmembers(room, inspect.isclass)
        if name.endswith("In") and kind.__module__ == room.__name__
    }

    assert found == known
