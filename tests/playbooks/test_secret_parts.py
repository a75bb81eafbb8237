# SPDX-License-Identifier: Apache-2.0
"""Which values a schema keeps secret: by mark, however deep, and whichever alternative says it."""

import pytest

from playbooks.payloads import payload_problems
from playbooks.secret_parts import holds_secret, secret_names

PASSWORD = {"type": "string", "format": "password"}
WRITE_ONLY = {"type": "string", "writeOnly": True}
TEXT = {"type": "string"}


def of(**properties):
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "secret"),
    [
        (of(key=PASSWORD, name=TEXT), {"key"}),
        (of(key=WRITE_ONLY, name=TEXT), {"key"}),
        (of(key={**TEXT, "writeOnly": False}), set()),
        (of(key={"type": "integer", "writeOnly": True}), {"key"}),
        (of(login=of(user=TEXT, password=PASSWORD), name=TEXT), {"login"}),
        (of(keys={"type": "array", "items": PASSWORD}), {"keys"}),
        (of(key={"oneOf": [{"const": ""}, PASSWORD]}), {"key"}),
        (of(a=of(b=of(c=PASSWORD))), {"a"}),
        ({**of(name=TEXT, key=TEXT), "additionalProperties": PASSWORD}, {"login", "keys", "a", "other"}),
        ({**of(name=TEXT), "writeOnly": True}, {"key", "name", "login", "keys", "a", "other"}),
        ({**of(key=TEXT), "allOf": [of(key=PASSWORD)]}, {"key"}),
        ({**of(name=TEXT), "if": of(name={"const": "x"}), "then": of(key=PASSWORD)}, {"key"}),
        ({**of(name=TEXT), "anyOf": [{"oneOf": [of(key=WRITE_ONLY)]}]}, {"key"}),
        (of(key=True, name=TEXT), set()),
        ({}, set()),
    ],
)
def test_a_value_is_secret_if_any_part_of_its_schema_is(schema, secret):
    assert secret_names(schema, ["key", "name", "login", "keys", "a", "other"]) == secret


def test_only_names_that_are_asked_about_are_told():
    assert secret_names(of(key=PASSWORD), ["name"]) == frozenset()


@pytest.mark.parametrize(("schema", "holds"), [(None, False), (True, False), (TEXT, False), (PASSWORD, True)])
def test_whatever_is_no_schema_holds_no_secret(schema, holds):
    assert holds_secret(schema) is holds


@pytest.mark.parametrize(
    "rule",
    [{"maxLength": 3}, {"enum": ["a"]}, {"const": "a"}, {"type": "integer"}, {"allOf": [{"maxLength": 3}]}],
)
def test_what_is_wrong_with_a_secret_is_said_without_the_secret(rule):
    schema = of(key={**PASSWORD, **rule}, name={"type": "string", "maxLength": 2})

    problems = payload_problems(schema, {"key": "canary-value", "name": "Ann"}, name="response_data")

    assert {problem.path for problem in problems} == {"response_data.key", "response_data.name"}
    assert "canary" not in str(problems)
    assert "'Ann' is too long" in str(problems)


def test_a_rule_about_the_whole_answer_does_not_quote_the_secret_in_it():
    schema = {**of(key=PASSWORD), "minProperties": 3, "anyOf": [of(key={"const": "x"})]}

    problems = payload_problems(schema, {"key": "canary-value"})

    assert len(problems) == 2
    assert "canary" not in str(problems)


def test_which_field_is_missing_is_still_said():
    problems = payload_problems({**of(key=PASSWORD, name=TEXT), "required": ["key", "name"]}, {"key": "canary-value"})

    assert [problem.message for problem in problems] == ["'name' is a required property"]
