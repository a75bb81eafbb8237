# SPDX-License-Identifier: Apache-2.0
"""The description of the API is whole and true: every call is in it, and every example does what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jsonschema_rs
import pytest
import yaml
from django.conf import settings
from django.core.management import call_command
from django.test import Client
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from approvals.talk import save_draft
from config.openapi import PROBLEM_TYPE, description, refusals
from tests.approvals.outside import SLACK_SECRET, SLACK_TOKEN, click_of, clicked, decision_of, linked, sent_in, value_of
from tests.contract import world as worlds
from tests.contract.answers import json_of
from tests.contract.closed import closed_description
from tests.contract.world import World
from tests.factories import PERMIT
from tests.hostile.calls import api_calls
from tests.people import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.once]  # the description is the same whatever it is served from

ANSWERS_A_FILE = {"get_attachment"}
METHODS = ("get", "post", "put", "patch", "delete")

# What programs were written against: an id keeps its address for ever. New calls are added here.
IDS = {
    "log_in": "POST /auth/token",
    "refresh_token": "POST /auth/token/refresh",
    "start_run": "POST /acts/run",
    "list_runs": "GET /acts/runs",
    "get_run": "GET /acts/runs/{run_id}",
    "cancel_run": "PATCH /acts/runs/{run_id}/cancel",
    "terminate_run": "PATCH /acts/runs/{run_id}/terminate",
    "send_signal": "POST /acts/runs/{run_id}/signals/{signal}",
    "list_events": "GET /acts/events",
    "next_task": "POST /acts/tasks/next",
    "list_tasks": "GET /acts/tasks",
    "get_task": "GET /acts/tasks/{task_id}",
    "complete_task": "POST /acts/tasks/{task_id}/complete",
    "fail_task": "POST /acts/tasks/{task_id}/fail",
    "heartbeat": "POST /acts/tasks/{task_id}/heartbeat",
    "renew_lease": "POST /acts/tasks/{task_id}/renew",
    "request_approval": "POST /acts/tasks/{task_id}/request-approval",
    "resume_task": "POST /acts/tasks/{task_id}/resume",
    "release_task": "POST /acts/tasks/{task_id}/release",
    "resolve_incident": "POST /acts/tasks/{task_id}/resolve",
    "list_playbooks": "GET /acts/playbooks",
    "create_playbook": "POST /acts/playbooks",
    "get_playbook": "GET /acts/playbooks/{slug}",
    "add_version": "POST /acts/playbooks/{slug}/versions",
    "get_version": "GET /acts/playbooks/{slug}/versions/{number}",
    "edit_version": "PUT /acts/playbooks/{slug}/versions/{number}",
    "publish_version": "POST /acts/playbooks/{slug}/versions/{number}/publish",
    "retire_version": "POST /acts/playbooks/{slug}/versions/{number}/retire",
    "validate_playbook": "POST /acts/playbooks/validate",
    "playbook_schema": "GET /acts/playbooks/schema",
    "list_rule_sets": "GET /acts/rulesets",
    "create_rule_set": "POST /acts/rulesets",
    "get_rule_set": "GET /acts/rulesets/{rule_set}",
    "add_rules": "POST /acts/rulesets/{rule_set}/versions",
    "get_rules": "GET /acts/rulesets/{rule_set}/versions/{number}",
    "edit_rules": "PUT /acts/rulesets/{rule_set}/versions/{number}",
    "publish_rules": "POST /acts/rulesets/{rule_set}/versions/{number}/publish",
    "retire_rules": "POST /acts/rulesets/{rule_set}/versions/{number}/retire",
    "list_requests": "GET /hitl/requests",
    "create_request": "POST /hitl/requests",
    "get_request": "GET /hitl/requests/{request_id}",
    "claim_request": "POST /hitl/requests/{request_id}/claim",
    "release_request": "POST /hitl/requests/{request_id}/release",
    "fulfill_request": "POST /hitl/requests/{request_id}/fulfill",
    "revise_request": "PATCH /hitl/requests/{request_id}",
    "take_over_request": "POST /hitl/requests/{request_id}/takeover",
    "assign_request": "POST /hitl/requests/{request_id}/assign",
    "delegate_request": "POST /hitl/requests/{request_id}/delegate",
    "extend_request": "POST /hitl/requests/{request_id}/extend",
    "request_info": "POST /hitl/requests/{request_id}/request-info",
    "answer_info": "POST /hitl/requests/{request_id}/answer",
    "request_changes": "POST /hitl/requests/{request_id}/request-changes",
    "cancel_request": "POST /hitl/requests/{request_id}/cancel",
    "list_templates": "GET /hitl/templates",
    "get_statistics": "GET /hitl/statistics",
    "reject_request": "POST /hitl/requests/{request_id}/reject",
    "list_comments": "GET /hitl/requests/{request_id}/comment",
    "comment_request": "POST /hitl/requests/{request_id}/comment",
    "list_attachments": "GET /hitl/requests/{request_id}/attachments",
    "attach_to_request": "POST /hitl/requests/{request_id}/attachments",
    "get_attachment": "GET /hitl/requests/{request_id}/attachments/{attachment_id}",
    "get_draft": "GET /hitl/requests/{request_id}/draft",
    "save_draft": "POST /hitl/requests/{request_id}/draft",
    "unwrap_secret": "POST /hitl/requests/{request_id}/unwrap",
    "revoke_secret": "POST /hitl/requests/{request_id}/revoke-secret",
    "replace_secret": "POST /hitl/requests/{request_id}/replace-secret",
    "list_receipt_keys": "GET /hitl/receipt-keys",
    "get_receipt": "GET /hitl/requests/{request_id}/receipt",
    "spend_receipt": "POST /hitl/requests/{request_id}/spend",
    "revoke_receipt": "POST /hitl/requests/{request_id}/revoke",
    "undo_approval": "POST /hitl/requests/{request_id}/undo",
    "external_decision": "POST /hitl/external/{system}",
    "slack_click": "POST /hitl/slack/interactive",
}


@dataclass(frozen=True)
class Operation:
    id: str
    method: str
    path: str
    said: Mapping[str, Any]

    def __str__(self) -> str:
        return self.id

    @property
    def example(self) -> Any:
        """Of the body; None where there is none."""
        contents = self.said.get("requestBody", {}).get("content", {})
        return contents.get("application/json", {}).get("example")

    def good_answers(self) -> dict[int, Any]:
        return {int(status): answer for status, answer in self.said["responses"].items() if status < "300"}


def operations() -> list[Operation]:
    return [
        Operation(said["operationId"], method.upper(), path, said)
        for path, methods in description()["paths"].items()
        for method, said in methods.items()
        if method in METHODS
    ]


each_operation = pytest.mark.parametrize("operation", operations(), ids=str)


# The document -----------------------------------------------------------------------------------------------


def test_it_is_made_without_a_warning_and_is_valid(tmp_path):
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema.yaml"))

    made = yaml.safe_load((tmp_path / "schema.yaml").read_text())
    assert made["openapi"].startswith("3.1")
    assert made == description()


@pytest.mark.parametrize(
    ("query", "accept", "kind", "read"),
    [
        ("", "*/*", "json", json.loads),
        ("", "application/json", "json", json.loads),
        ("", "application/vnd.oai.openapi+json", "json", json.loads),
        ("", "application/yaml", "yaml", yaml.safe_load),
        ("", "application/vnd.oai.openapi", "openapi", yaml.safe_load),
        ("?format=json", "text/html", "json", json.loads),
        ("?format=yaml", "*/*", "yaml", yaml.safe_load),
    ],
)
def test_anybody_may_read_it_as_json_or_as_yaml(query, accept, kind, read):
    answer = Client().get(f"/api/schema{query}", headers={"Accept": accept})

    assert answer.status_code == 200
    assert kind in answer.headers["Content-Type"]
    assert read(answer.content) == description()


def test_it_can_be_read_in_a_browser_without_any_other_host():
    page = Client().get("/api/docs")

    assert page.status_code == 200
    assert "swagger-ui" in page.text
    assert "http://" not in page.text.replace("http://testserver", "")
    assert "https://" not in page.text


def test_every_call_of_the_api_is_described_and_no_other():
    assert {(each.method, each.path) for each in operations()} == {(call.method, call.template) for call in api_calls()}


def test_every_id_is_a_name_that_keeps_its_address():
    assert {each.id: f"{each.method} {each.path}" for each in operations()} == IDS
    assert all(name.isidentifier() and name == name.lower() for name in IDS)


def shows_no_credential(path: str) -> bool:
    """It asks for one, or is signed instead."""
    return path.startswith(("/auth/", "/hitl/slack/", "/hitl/external/"))


@each_operation
def test_a_call_has_a_tag_a_summary_examples_and_every_refusal(operation):
    said = operation.said
    declared = {tag["name"] for tag in description()["tags"]}

    assert set(said["tags"]) <= declared
    assert said["summary"]
    assert said.get("description") or said["summary"]
    assert said.get("security") == ([{}] if shows_no_credential(operation.path) else [{"bearer": []}, {"session": []}])
    if "requestBody" in said:
        assert all("example" in content for content in said["requestBody"]["content"].values())
    for status, answer in said["responses"].items():
        assert answer["description"]
        if status >= "400":
            assert set(answer["content"]) == {PROBLEM_TYPE}
        elif status not in {"204", "304"} and operation.id not in ANSWERS_A_FILE:
            assert "example" in answer["content"]["application/json"]


@each_operation
def test_the_examples_are_as_the_description_says(operation):
    for content in operation.said.get("requestBody", {}).get("content", {}).values():
        assert faults(content["schema"], content["example"]) == []
    for answer in operation.good_answers().values():
        for content in answer.get("content", {}).values():
            assert operation.id in ANSWERS_A_FILE or faults(content["schema"], content["example"]) == []


def test_each_code_has_one_status_a_sentence_and_a_line_in_the_table():
    known = refusals()

    assert len(known) > 20
    for code, refusal in known.items():
        assert refusal.sentence[-1] in ".?", refusal
        assert f"| `{code}` | {refusal.status} |" in description()["info"]["description"]
    named = {
        code
        for each in operations()
        for answer in each.said["responses"].values()
        for content in answer.get("content", {}).values()
        if "allOf" in content["schema"]
        for code in content["schema"]["allOf"][1]["properties"]["code"]["enum"]
    }
    # The others are of pages, of addresses that are no call, or the root of all refusals.
    of_pages = {"form_expired", "policy_exists", "policy_published", "link_over", "wrong_code"}
    assert set(known) - named == {"method_not_allowed"} | of_pages


def test_repetition_and_change_are_described_where_they_are_honoured():
    header = {
        each.id: {parameter["name"] for parameter in each.said.get("parameters", []) if parameter["in"] == "header"}
        for each in operations()
    }

    assert header["start_run"] == {"Idempotency-Key"}
    assert header["complete_task"] == {"Idempotency-Key", "If-Match"}
    assert header["next_task"] == header["log_in"] == header["get_run"] == set()
    assert header["resume_task"] == {"If-Match"}
    assert "ETag" in next(each for each in operations() if each.id == "get_run").said["responses"]["200"]["headers"]


# The examples, sent -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """Who sends an example, about which rows, and what only the server could have told them."""

    by: Client
    ids: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)  # in place of the example's
    status: int = 200
    send: Callable[[Any], Any] | None = None  # the example, where it goes another way than as JSON with a credential


def _held(world: World) -> Scene:
    return Scene(world.clients["agent"], {"task_id": world.held.task.pk}, {"token": world.held.token})


def _approved(world: World) -> Scene:
    return Scene(world.clients["agent"], {"task_id": world.approved.task.pk}, {"token": world.approved.token})


def _version(number: int, status: int = 200) -> Callable[[World], Scene]:
    return lambda world: Scene(
        world.clients["administrator"], {"slug": "protest_permit", "number": number}, status=status
    )


def _asked(world: World) -> Scene:
    return Scene(world.clients["liaison"], {"request_id": world.asked.pk})


def _drafted(world: World) -> Scene:
    save_draft(request_id=world.asked.pk, actor=world.user("liaison"), notes="So far")
    return _asked(world)


def _decided_outside(world: World) -> Scene:
    asked = decision_of(world.asked)
    return Scene(
        Client(), send=lambda example: sent_in({**example, **asked}, path=f"/hitl/external/{world.system.name}")
    )


def _clicked(world: World) -> Scene:
    linked(world.user("liaison"))
    click = click_of("U024BE7LH", value_of(world.asked))
    return Scene(Client(), send=lambda example: clicked(click))


def _by(name: str, status: int = 200, **ids: Any) -> Callable[[World], Scene]:
    return lambda world: Scene(world.clients[name], ids, status=status)


def _with_refresh_token(world: World) -> Scene:
    tokens = json_of(_log_in().by.post("/auth/token", _log_in().known, content_type="application/json"))
    return Scene(world.clients["anonymous"], known={"refresh": tokens["refresh"]})


def _by_administrator(which: str) -> Callable[[World], Scene]:
    return lambda world: Scene(world.clients["administrator"], {"request_id": getattr(world, which).pk})


def _permitted(world: World) -> Scene:
    return Scene(world.clients["agent"], {"request_id": world.permitted.pk})


def _wondered(world: World) -> Scene:
    return Scene(world.clients["agent"], {"request_id": world.wondered.pk})


def _log_in(world: World | None = None) -> Scene:
    return Scene(Client(), known={"username": "liaison", "password": PASSWORD})


SCENES: Mapping[str, Callable[[World], Scene]] = {
    "log_in": _log_in,
    "refresh_token": _with_refresh_token,
    "start_run": _by("agent", 202),
    "list_runs": _by("agent"),
    "get_run": lambda world: Scene(world.clients["agent"], {"run_id": world.run.pk}),
    "cancel_run": lambda world: Scene(world.clients["administrator"], {"run_id": world.run.pk}),
    "terminate_run": lambda world: Scene(world.clients["administrator"], {"run_id": world.run.pk}),
    "send_signal": lambda world: Scene(world.clients["agent"], {"run_id": world.run.pk, "signal": "paid"}),
    "list_events": _by("agent"),
    "next_task": _by("agent"),
    "list_tasks": _by("agent"),
    "get_task": _held,
    "complete_task": _held,
    "fail_task": _held,
    "heartbeat": _held,
    "renew_lease": _held,
    "request_approval": _held,
    "resume_task": _approved,
    "release_task": _held,
    "resolve_incident": lambda world: Scene(world.clients["administrator"], {"task_id": world.incident.pk}),
    "list_playbooks": _by("author"),
    "create_playbook": _by("author", 201),
    "get_playbook": _by("author", slug="protest_permit"),
    "add_version": _version(1, status=201),
    "get_version": _version(1),
    "edit_version": _version(2),
    "publish_version": _version(2),
    "retire_version": _version(1),
    "validate_playbook": _by("author"),
    "playbook_schema": _by("agent"),
    "list_rule_sets": _by("auditor"),
    "create_rule_set": _by("administrator", 201),
    "get_rule_set": _by("author", rule_set="fair"),
    "add_rules": _by("administrator", 201, rule_set="fair"),
    "get_rules": _by("author", rule_set="fair", number=1),
    "edit_rules": _by("administrator", rule_set="fair", number=2),
    "publish_rules": _by("administrator", rule_set="fair", number=2),
    "retire_rules": _by("administrator", rule_set="fair", number=1),
    "list_requests": _by("liaison"),
    "create_request": _by("agent", 201),
    "get_request": _asked,
    "claim_request": _asked,
    "release_request": lambda world: Scene(world.clients["liaison"], {"request_id": world.claimed.pk}),
    "fulfill_request": _asked,
    "reject_request": _asked,
    "list_comments": _asked,
    "comment_request": lambda world: replace(_asked(world), status=201),
    "list_attachments": _asked,
    "attach_to_request": lambda world: replace(_asked(world), status=201),
    "get_attachment": lambda world: Scene(
        world.clients["liaison"], {"request_id": world.asked.pk, "attachment_id": world.attached.pk}
    ),
    "get_draft": _drafted,
    "save_draft": _asked,
    "unwrap_secret": lambda world: Scene(world.clients["agent"], {"request_id": world.secret.pk}),
    "revoke_secret": lambda world: Scene(world.clients["liaison"], {"request_id": world.secret.pk}),
    "replace_secret": lambda world: Scene(world.clients["liaison"], {"request_id": world.secret.pk}),
    "revise_request": _wondered,
    "take_over_request": lambda world: Scene(world.clients["liaison"], {"request_id": world.elsewhere.pk}),
    "assign_request": _by_administrator("asked"),
    "delegate_request": lambda world: Scene(world.clients["liaison"], {"request_id": world.asked.pk}, status=201),
    "extend_request": _by_administrator("timed"),
    "request_info": _asked,
    "answer_info": _wondered,
    "request_changes": _asked,
    "cancel_request": _wondered,
    "list_templates": _by("agent"),
    "get_statistics": _by("auditor"),
    "list_receipt_keys": _by("auditor"),
    "get_receipt": _permitted,
    "spend_receipt": lambda world: replace(_permitted(world), known={"input": {"to": worlds.CANARY}}),
    "revoke_receipt": _permitted,
    "undo_approval": lambda world: Scene(world.clients["liaison"], {"request_id": world.held_back.pk}),
    "external_decision": _decided_outside,
    "slack_click": _clicked,
}


@pytest.fixture(scope="module")
def shared_world(shared_db: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        worlds.surroundings(patch, tmp_path_factory.mktemp("marks"))
        patch.setattr(settings, "SLACK_TOKEN", SLACK_TOKEN)
        patch.setattr(settings, "SLACK_SIGNING_SECRET", SLACK_SECRET)
        yield worlds.build()


@pytest.fixture
def world(shared_world: World, db: None) -> World:
    """Each test has it as it was built."""
    return shared_world


def sent(operation: Operation, scene: Scene, **headers: str) -> Any:
    if scene.send is not None:
        return scene.send(operation.example)
    example = {**operation.example, **scene.known} if operation.example is not None else None
    body = b"" if example is None else json.dumps(example).encode()
    path = operation.path.format(**scene.ids)
    return scene.by.generic(operation.method, path, body, content_type="application/json", headers=headers)


@each_operation
def test_each_example_is_answered_as_it_says(operation, world):
    scene = SCENES[operation.id](world)
    answer = sent(operation, scene)

    if operation.id in ANSWERS_A_FILE:
        assert (answer.status_code, answer.content) == (200, worlds.FILE)
        return
    found = json_of(answer, scene.status)
    shown = operation.good_answers()[scene.status]["content"]["application/json"]
    assert faults(shown["schema"], found, closed=True) == []
    if operation.id != "playbook_schema":  # of which the example shows only the beginning
        assert set(found) == set(shown["example"])
    for name in operation.said["responses"][str(scene.status)].get("headers", {}):
        assert name in answer.headers or name == "Idempotency-Replayed"


@pytest.mark.parametrize(
    "id", [each.id for each in operations() if "Idempotency-Key" in str(each.said.get("parameters"))]
)
def test_what_may_be_repeated_is_answered_the_same(id, world):
    operation = next(each for each in operations() if each.id == id)
    scene = SCENES[id](world)

    first, second = (sent(operation, scene, **{"Idempotency-Key": "k1"}) for _ in range(2))

    assert second.headers["Idempotency-Replayed"] == "true"
    assert (second.status_code, second.json()) == (first.status_code, first.json())


@pytest.mark.parametrize("id", ["create_playbook", "add_version", "edit_version", "validate_playbook"])
@pytest.mark.parametrize("kind", ["application/yaml", "text/yaml", "application/x-yaml"])
def test_the_example_of_a_document_may_be_yaml(id, kind, world):
    operation = next(each for each in operations() if each.id == id)
    scene = SCENES[id](world)
    body = yaml.safe_dump(operation.example)

    answer = scene.by.generic(operation.method, operation.path.format(**scene.ids), body, content_type=kind)

    assert answer.status_code == scene.status


ASKED = {"token": "lease_x", "reason": "May I?"}


@pytest.mark.parametrize(
    ("id", "body"),
    [
        ("start_run", {}),
        ("start_run", {"playbook": "protest_permit", "protocol_id": 1}),
        ("create_request", {"title": "May I?", "role": "svc:finance"}),
        ("create_request", {"title": "May I?", "role": "human:"}),
        ("request_approval", {**ASKED, "role": "agent:validator"}),
        ("request_approval", {**ASKED, "options": ["two words"]}),
        ("create_playbook", ["no object"]),
    ],
)
def test_a_body_that_no_world_could_accept_is_ruled_out_by_the_description(id, body, world):
    operation = next(each for each in operations() if each.id == id)
    by, path = world.clients["administrator"], operation.path.format(task_id=world.held.task.pk)
    if id == "request_approval":
        by, body = world.clients["agent"], {**body, "token": world.held.token}

    assert by.post(path, body, content_type="application/json").status_code == 422
    assert faults(operation.said["requestBody"]["content"]["application/json"]["schema"], body) != []


@pytest.mark.parametrize(
    "text", [" ", "\t\n", "\x1f", "\x85", "\xa0", "\u2003", "\ufeff", "\u200b", "x", " x "], ids=ascii
)
def test_what_is_blank_is_blank_for_whoever_reads_the_description(text, world):
    """Python reads regular expressions in a way of its own; this validator reads them as JavaScript does."""
    title = description()["components"]["schemas"]["CreateIn"]["properties"]["title"]
    body = {"title": text, "role": worlds.LIAISON_ROLE}

    answer = world.clients["agent"].post("/hitl/requests", body, content_type="application/json")

    assert (answer.status_code == 201) == jsonschema_rs.is_valid(title, text)
    assert (answer.status_code == 422) == (faults(title, text) != [])


def test_whatever_is_judged_may_be_anything(world):
    operation = next(each for each in operations() if each.id == "validate_playbook")
    answer = world.clients["author"].post(operation.path, [429], content_type="application/json")

    assert json_of(answer)["valid"] is False
    assert faults(operation.said["requestBody"]["content"]["application/json"]["schema"], [429]) == []


@pytest.mark.parametrize(
    ("id", "name", "value", "headers", "query"),
    [
        ("cancel_run", "If-Match", "3", {"If-Match": "3"}, ""),
        ("cancel_run", "If-Match", '"3', {"If-Match": '"3'}, ""),
        ("list_runs", "version", 2**63, {}, f"?version={2**63}"),
        ("list_tasks", "run", 0, {}, "?run=0"),
    ],
)
def test_a_parameter_that_no_world_could_accept_is_ruled_out_by_the_description(id, name, value, headers, query, world):
    operation = next(each for each in operations() if each.id == id)
    said = next(each for each in operation.said["parameters"] if each["name"] == name)
    path = operation.path.format(run_id=world.run.pk) + query

    answer = world.clients["administrator"].generic(operation.method, path, b"{}", "application/json", headers=headers)

    assert answer.status_code == 422
    assert faults(said["schema"], value) != []


def test_a_copy_of_a_version_is_described_beside_the_document(world):
    operation = next(each for each in operations() if each.id == "add_version")
    schema = operation.said["requestBody"]["content"]["application/json"]["schema"]

    assert faults(schema, {"clone": 1}) == []
    answer = world.clients["administrator"].post(
        "/acts/playbooks/protest_permit/versions", {"clone": 1}, content_type="application/json"
    )
    made = json_of(answer, 201)
    assert made["document"]["steps"] == PERMIT["steps"]


def test_nothing_to_do_is_a_204_without_a_body(world):
    operation = next(each for each in operations() if each.id == "next_task")
    answer = sent(operation, Scene(world.clients["foreign_agent"], known={"role": "agent:elsewhere"}))

    assert (answer.status_code, answer.content) == (204, b"")
    assert "content" not in operation.good_answers()[204]


def test_several_tasks_are_answered_as_described(world):
    operation = next(each for each in operations() if each.id == "next_task")
    found = json_of(sent(operation, Scene(world.clients["agent"], known={"limit": 5})))

    assert set(found) == {"tasks"}
    schema = operation.good_answers()[200]["content"]["application/json"]["schema"]
    assert faults(schema, found, closed=True) == []


@pytest.mark.parametrize("id", [each.id for each in operations() if not shows_no_credential(each.path)])
def test_a_stranger_is_refused_as_described(id, world):
    operation = next(each for each in operations() if each.id == id)
    scene = SCENES[operation.id](world)
    answer = sent(operation, Scene(world.clients["anonymous"], scene.ids, scene.known))

    shown = operation.said["responses"]["401"]
    assert answer.status_code == 401
    assert faults(shown["content"][PROBLEM_TYPE]["schema"], answer.json()) == []
    assert set(shown["headers"]) <= set(answer.headers)


# Reading the description ------------------------------------------------------------------------------------


def faults(schema: Any, value: Any, *, closed: bool = False) -> list[str]:
    """What is wrong with a value; `closed`: fields that the components do not name are wrong too."""
    document = closed_description() if closed else description()
    registry = Registry().with_resource("urn:api", Resource(document, DRAFT202012))
    validator = Draft202012Validator(_absolute(schema), registry=registry, format_checker=openapi_formats)
    return [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(value)]


openapi_formats = Draft202012Validator.FORMAT_CHECKER


def _absolute(schema: Any) -> Any:
    return json.loads(json.dumps(schema).replace('"#/', '"urn:api#/'))
