# SPDX-License-Identifier: Apache-2.0
"""What means the same has one normal form and one digest."""

import json

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from playbooks.parse import digest, document_schema, parse, parse_data, to_document
from tests.playbooks.documents import DOCUMENTS
from tests.playbooks.test_parse_stories import CENSUS, LICENCE, PERMIT

slow_to_make = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


class Quoting(yaml.SafeDumper):
    """PyYAML leaves texts such as 1e3 bare, which YAML 1.1 takes for text and YAML 1.2 for a number."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
Quoting.ignore_aliases = lambda dumper, value: True
PUBLISHED = jsonschema.Draft202012Validator(document_schema())


@slow_to_make
@given(DOCUMENTS)
def test_a_normal_form_reads_as_the_same_definition(document):
    definition = parse_data(document).definition
    normal = to_document(definition)

    assert parse_data(normal).definition == definition
    assert parse(json.dumps(normal)).definition == definition
    assert to_document(parse_data(normal).definition) == normal


@slow_to_make
@given(DOCUMENTS)
def test_a_document_reads_the_same_from_json_from_yaml_and_from_a_database(document):
    definition = parse_data(document).definition
    stored = json.loads(json.dumps(parse_data(document).document, sort_keys=True))  # PostgreSQL keeps no order

    assert parse(json.dumps(document, ensure_ascii=False)).definition == definition
    assert parse(yaml.dump(document, Dumper=Quoting, sort_keys=False)).definition == definition
    assert digest(to_document(parse_data(stored).definition)) == digest(to_document(definition))


@slow_to_make
@given(DOCUMENTS)
def test_what_is_accepted_is_what_the_published_schema_says(document):
    without_nulls = json.loads(json.dumps(document), object_hook=_given)

    PUBLISHED.validate(without_nulls)
    PUBLISHED.validate(to_document(parse_data(document).definition))


def _given(mapping):
    return {key: value for key, value in mapping.items() if value is not None or key in ("", "arguments")}


def test_the_normal_form_of_the_permit():
    assert to_document(parse_data(PERMIT).definition) == {
        "id": "protest_permit",
        "steps": [
            {
                "id": "AI-Screen",
                "type": "agent",
                "role": "agent:validator",
                "call": {"action": "ai_validator.check_form"},
            },
            {"id": "Human-Approve", "type": "human", "role": "human:police_liaison"},
            {
                "id": "Collect-Fee",
                "type": "service",
                "role": "svc:finance",
                "call": {"action": "hms_ach.charge", "arguments": {"amount": "40.00", "currency": "USD"}},
            },
        ],
    }


SAME = {
    "shorthand": ({"service": "S", "action": "f"}, {"type": "script", "role": "svc:S", "call": "S.f"}),
    "the other word for id": ({"name": "x", "type": "agent"}, {"id": "x", "type": "agent", "role": "agent:x"}),
    "a call as a line": (
        {"type": "script", "call": "a.b to=c"},
        {"type": "script", "call": {"action": "a.b", "arguments": {"to": "c"}}},
    ),
    "durations": ({"type": "hitl", "token_ttl": "PT15M"}, {"type": "hitl", "token_ttl": 900}),
    "retries": ({"type": "agent", "retries": 5}, {"type": "agent", "retries": {"maximum_attempts": 6}}),
    "a default written down": ({"type": "agent", "effect": "keyed", "retries": 3}, {"type": "agent"}),
    "options": ({"type": "hitl", "options": ["a"]}, {"type": "hitl", "options": [{"key": "a", "label": "a"}]}),
    "the defaults of a group": (
        {"type": "parallel", "join": "ALL", "on_branch_failure": "FAIL_FAST", "branches": [{"key": "a", "steps": []}]},
        {"type": "parallel", "branches": [{"key": "a", "tasks": []}]},
    ),
    "the default of a child run": (
        {"type": "playbook", "playbook": "q", "parent_close_policy": "TERMINATE"},
        {"type": "playbook", "playbook": "q"},
    ),
    "what follows the steps of a branch": (
        {"type": "agent", "on_reject": {"tasks": [], "then": "FAIL_RUN"}},
        {"type": "agent", "on_reject": {"steps": []}},
    ),
    "numbers": (
        {"type": "script", "call": {"action": "a", "arguments": {"n": 2.0}}},
        {"type": "script", "call": {"action": "a", "arguments": {"n": 2}}},
    ),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_two_ways_to_write_one_thing_have_one_digest(one, other):
    def digest_of(step):
        step = step if "name" in step or "id" in step else {"id": "x", **step}
        return digest(to_document(parse_data({"id": "p", "steps": [step]}).definition))

    assert digest_of(one) == digest_of(other)


def test_references_between_steps_keep_their_meaning_in_the_normal_form():
    decide = {"id": "decide", "type": "human", "role": "human:clerk", "on_reject": {"to": "end"}}
    cases = [{"key": "yes", "case": "PASS", "steps": []}, {"key": "else", "steps": []}]
    steps = [decide, {"id": "which", "type": "switch", "on": "decide", "cases": cases}]
    document = {"id": "p", "steps": [*steps, {"id": "end", "type": "agent", "role": "agent:end"}]}

    assert to_document(parse_data(document).definition) == document


def test_a_different_order_of_form_fields_is_a_different_playbook():
    def digest_of(*names):
        schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
        return digest(to_document(parse_data({"id": "p", "steps": [], "payload_schema": schema}).definition))

    assert digest_of("name", "date") != digest_of("date", "name")


def test_the_digest_is_sha_256_over_rfc_8785():
    # printf '{"id":"p","steps":[],"title":"\xe2\x82\xac"}' | sha256sum
    assert (
        digest({"title": "€", "id": "p", "steps": []})
        == "18c507742e12fa1694166c150ad98502ad541dfc330607c4d79c749adec1c54f"
    )


@pytest.mark.parametrize("document", [PERMIT, json.loads(LICENCE), json.loads(CENSUS)])
def test_the_published_schema_accepts_the_documents_of_the_stories(document):
    PUBLISHED.validate(document)


@pytest.mark.parametrize(
    "document",
    [
        {"id": "p", "steps": [{"id": "x"}]},
        {"id": "p", "steps": [{"id": "x", "type": "agent", "retires": 3}]},
        {"id": "p", "steps": [{"id": "x", "role": "validator"}]},
        {"id": "p", "steps": [{"id": "x", "type": "script", "form": {}}]},
        {"id": "a b", "steps": []},
        {"id": "p", "stepps": []},
    ],
)
def test_the_published_schema_refuses_what_the_parser_refuses(document):
    assert not PUBLISHED.is_valid(document)


def test_the_published_schema_is_a_schema_and_describes_every_field():
    schema = document_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    undescribed = [
        f"{name}.{field}"
        for name, part in {"": schema, **schema["$defs"]}.items()
        for field, value in part["properties"].items()
        if "description" not in value and "$ref" not in value and field != "type"
    ]

    assert undescribed == []
