# SPDX-License-Identifier: Apache-2.0
"""Rules as people write them: what they come to be, and what is said of those that cannot be used."""

import pytest

from playbooks import rules
from playbooks.rules import Rule, RulesInvalid

WRITTEN = """
rules:
  - id: small
    title: No small groups
    when: data.Count.n < 10
    result: FAIL
    because: Too few.
    evidence: [data.Count.n]
  - id: odd
    when: payload.odd
    result: ASK_HUMAN
    because: It is odd.
    evidence:
      how: payload.how
"""
READ = (
    Rule("small", "data.Count.n < 10", "FAIL", "Too few.", "No small groups", {"data.Count.n": "data.Count.n"}),
    Rule("odd", "payload.odd", "ASK_HUMAN", "It is odd.", "", {"how": "payload.how"}),
)
ONE = {"id": "a", "when": "payload.x", "result": "FAIL", "because": "No."}


def faults(document):
    with pytest.raises(RulesInvalid) as refused:
        rules.parse(document) if isinstance(document, str) else rules.parse_data(document)
    return [(fault.path, fault.line) for fault in refused.value.errors]


def test_what_is_written_is_read():
    assert rules.parse(WRITTEN) == READ


def test_the_bare_list_says_the_same():
    assert rules.parse_data(rules.as_json(READ)) == READ


def test_what_is_stored_is_read_back_and_has_the_same_digest():
    stored = rules.as_json(READ)

    assert rules.of_stored(stored) == READ
    assert rules.digest(READ) == rules.digest(rules.of_stored(stored))


def test_other_rules_have_another_digest():
    assert rules.digest(READ) != rules.digest(READ[:1])


@pytest.mark.parametrize(
    ("document", "places"),
    [
        ("{", [("", 1)]),
        ("3", [("", 1)]),
        ("rules: []", [("rules", 1)]),
        ("rules:\n- 4", [("rules[0]", 2)]),
        ("rules:\n- id: a\n  when: 1 +\n  result: NO\n  because: x", [("rules[0].when", 3), ("rules[0].result", 4)]),
        ({"rules": [{**ONE, "when": "foo.x"}]}, [("rules[0].when", None)]),
        ({"rules": [{**ONE, "when": "data.map(x, data.map(y, y))"}]}, [("rules[0].when", None)]),
        ({"rules": [{**ONE, "evidence": ["payload.x", "item"]}]}, [("rules[0].evidence[1]", None)]),
        ({"rules": [{**ONE, "evidence": {"x": 3}}]}, [("rules[0].evidence.x", None)]),
        ({"rules": [{**ONE, "because": ""}]}, [("rules[0].because", None)]),
        ({"rules": [{**ONE, "reason": "No."}]}, [("rules[0].reason", None)]),
        ({"rules": [ONE, ONE]}, [("rules[1].id", None)]),
        ({"rules": [ONE], "title": "x"}, [("title", None)]),
        ({"rules": [{**ONE, "id": f"r{number}"} for number in range(101)]}, [("rules", None)]),
    ],
)
def test_each_fault_is_told_with_its_place(document, places):
    assert faults(document) == places


def test_each_fault_comes_with_a_remedy():
    with pytest.raises(RulesInvalid) as refused:
        rules.parse_data({"rules": [{"id": "a", "if": "paylod.x", "when": "paylod.x", "result": "NO"}]})

    assert {(fault.path, fault.remedy) for fault in refused.value.errors} == {
        ("rules[0].because", 'Write for example "A group of fewer than ten people would be shown.".'),
        ("rules[0].if", "Did you mean `when`?"),
        ("rules[0].when", "Did you mean `payload`?"),
        ("rules[0].result", "Write one of `FAIL`, `ASK_HUMAN`."),
    }
