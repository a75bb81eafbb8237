# SPDX-License-Identifier: Apache-2.0
"""Calls that nobody thought of: made up from the description of the API, and sent by people and programs of each kind.

- Nothing breaks: no answer is a 5xx.
- Each answer is one that the description names: status, media type, headers, body.
- What the description rules out is refused. What it allows is not called invalid, unless that depends on more than the
  call: on what is there, or on a policy.

These tests send the same calls each time. `make fuzz` (scripts/fuzz.py) sends others, for as long as it is let.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import schemathesis
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, connection, transaction
from django.test import Client
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as generation
from hypothesis import strategies as st

from approvals.claiming import claim_request
from tests.contract import world as worlds
from tests.contract.answers import json_of
from tests.contract.closed import closed_description
from tests.contract.world import LIAISON_ROLE, World
from tests.people import PASSWORD, key_of
from tests.playbooks.documents import DOCUMENTS

pytestmark = pytest.mark.django_db

SEED = os.environ.get("HMS_ACT_FUZZ_SEED", "1")
CALLS = int(os.environ.get("HMS_ACT_FUZZ_CALLS", "6"))  # of each visitor by each operation
ANSWERS = os.environ.get("HMS_ACT_FUZZ_ANSWERS")  # a file that gets a line for each call

VISITORS = ("anonymous", "agent", "liaison", "author", "administrator", "auditor")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)
TAKE_A_DOCUMENT = {"create_playbook", "add_version", "edit_version", "validate_playbook"}
# Where a call may be refused as invalid that the description allows: no schema knows what is there, what a template
# leaves to say, what is in a file, or the calendar.
DEPENDS = {"cursor", "id", "outcome", "payload", "playbook", "protocol_id", "reason", "template", "to", "version"}
DEPENDS |= {"title", "content", "period", "output"}


# The world ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(shared_db: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all tests here: each call is undone."""
    with pytest.MonkeyPatch.context() as patch:
        worlds.surroundings(patch, tmp_path_factory.mktemp("marks"))
        patch.setattr(settings, "RATE_LIMITS", dict.fromkeys(settings.RATE_LIMITS, 0))  # 0 is none
        patch.setattr(settings, "AGENT_LEASE_SECONDS", 24 * 3600)  # no lease ends meanwhile
        _may_be_idle()
        yield worlds.build()


def _may_be_idle() -> None:
    """Our transaction stays open while calls are made up, which a busy machine may take its time for."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


@contextmanager
def _undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def _credentials(world: World, visitor: str) -> dict[str, str]:
    """An agent comes with a key, people with a token."""
    if visitor == "anonymous":
        return {}
    token = key_of(world.user(visitor))[1] if visitor == "agent" else _tokens(visitor)["access"]
    return {"Authorization": f"Bearer {token}"}


def _tokens(username: str) -> Any:
    given = {"username": username, "password": PASSWORD}
    return json_of(Client().post("/auth/token", given, content_type="application/json"))


@dataclass(frozen=True)
class Known:
    """What this world has for one place in a call, and how often one of that stands there."""

    place: str
    share: float
    values: Sequence[Any]

    @property
    def name(self) -> str:
        return self.place.replace(".", "-")


def _known(world: World) -> Iterator[Known]:
    """Made-up values alone would all be stopped at the door."""
    runs, roles = [world.run.pk, world.decided.run_id], ["agent:validator", LIAISON_ROLE, "svc:finance"]
    tags = [row.etag for row in (world.run, world.held.task, world.asked, world.draft)]
    _, claim = claim_request(request_id=world.claimed.pk, actor=world.user("liaison"))
    yield Known("path.run_id", 0.8, runs)
    yield Known("path.task_id", 0.8, [world.held.task.pk, world.approved.task.pk, world.asked.task_id])
    yield Known("path.request_id", 0.8, [world.asked.pk, world.claimed.pk, world.decided.pk, world.secret.pk])
    yield Known("path.attachment_id", 0.8, [world.attached.pk])
    yield Known("path.slug", 0.8, ["protest_permit", "looks", str(world.published.playbook_id)])
    yield Known("path.number", 0.8, [1, 2])
    yield Known("header.If-Match", 0.8, ["*", "*", "*", *tags])
    yield Known("query.cursor", 0.8, [_cursor(world, path) for path in ("/acts/runs", "/hitl/requests")])
    yield Known("query.run", 0.1, runs)
    yield Known("query.role", 0.1, roles)
    yield Known("query.playbook", 0.1, ["protest_permit"])
    yield Known("body.token", 0.7, [world.held.token, world.approved.token, claim])
    yield Known("body.role", 0.7, roles)
    yield Known("body.playbook", 0.7, ["protest_permit", "looks"])
    yield Known("body.protocol_id", 0.7, [world.published.playbook_id])
    yield Known("body.version", 0.5, [1, 2])
    yield Known("body.clone", 0.5, [1, 2])
    yield Known("body.revision", 0.5, [1])
    yield Known("body.outcome", 0.7, ["PASS", "FAIL"])
    yield Known("body.agent_id", 0.5, ["agent"])
    yield Known("body.username", 0.7, ["liaison", "agent"])
    yield Known("body.password", 0.7, [PASSWORD])
    yield Known("body.refresh", 0.7, [_tokens("liaison")["refresh"]])


def _cursor(world: World, path: str) -> str:
    following = json_of(world.clients["superuser"].get(path, {"limit": 1}))["next"]
    return parse_qs(urlsplit(following).query)["cursor"][0]


# The calls ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def api(world: World) -> Any:
    """The description, ready to make up calls from."""
    known = list(_known(world))
    config = {
        "dictionaries": {each.name: {"values": each.values} for each in known},
        "parameters": {each.place: {"dictionary": each.name, "probability": each.share} for each in known},
        "generation": {"with-security-parameters": False},
        "output": {"sanitization": {"enabled": False}},  # the secrets of this world are worth nothing
        "checks": {"enabled": False, **{name: {"enabled": True} for name in CHECKS}},
    }
    found = schemathesis.openapi.from_dict(closed_description(), config=schemathesis.Config.from_dict(config))
    found.app = get_wsgi_application()
    found.hook(flatmap_body)
    return found


def flatmap_body(context: Any, body: Any) -> st.SearchStrategy[Any]:
    """Documents in place of objects, which is all that the description calls them. (The name makes it a hook.)"""
    if context.operation.definition.raw["operationId"] in TAKE_A_DOCUMENT and isinstance(body, dict):
        return st.just(body) | DOCUMENTS | DOCUMENTS.map(lambda document: {**document, "id": "protest_permit"})
    return st.just(body)


@pytest.mark.parametrize("visitor", VISITORS)
def test_every_answer_is_one_that_the_description_names(visitor, world, api, subtests):
    headers = _credentials(world, visitor)

    for found in api.get_all_operations():
        operation = found.ok()
        with subtests.test(operation.label):
            _made_up(operation, visitor)(lambda case: _answered_as_described(case, visitor, headers))()


def _made_up(operation: Any, visitor: str) -> Any:
    """Decorates a test of calls by this operation, of which about half are ruled out by the description."""
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode])
    many = generation(
        max_examples=CALLS,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: seed(f"{SEED} {visitor} {operation.label}")(many(given(case=cases)(test)))


def _answered_as_described(case: Any, visitor: str, headers: Mapping[str, str]) -> None:
    with _connection_kept(), _undone():
        answer = case.call(headers=headers)
    if ANSWERS:
        _write_down(case, visitor, answer)
    case.validate_response(answer, headers=headers, additional_checks=[what_is_allowed_is_valid])


@contextmanager
def _connection_kept() -> Iterator[None]:
    """A server may give up its connection with any request, and our transaction would go with it."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in signals:
            signal.connect(close_old_connections)


def what_is_allowed_is_valid(context: Any, answer: Any, case: Any) -> None:
    if answer.status_code != 422 or case.meta.generation.mode.is_negative:
        return
    problem = answer.json()
    places = {fault["path"].partition(".")[0] for fault in problem.get("errors", [])}
    assert problem["code"] != "invalid" or places & DEPENDS or "NUL" in problem["detail"], problem


def _write_down(case: Any, visitor: str, answer: Any) -> None:
    """One line: what is the same on every database, a tab, and what helps to understand it."""
    body = answer.json() if answer.content else {}
    gist = body["code"] if answer.status_code >= 400 else len(body.get("results", ()))
    with open(str(ANSWERS), "a", encoding="utf-8") as file:
        print(visitor, case.operation.label, answer.status_code, gist, end="\t", file=file)
        print(ascii(case.as_curl_command()), ascii(answer.text), file=file)
