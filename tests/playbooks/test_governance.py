# SPDX-License-Identifier: Apache-2.0
"""Holding data against rules: what fires, what comes of it, and what the finding says."""

import time

import pytest

from playbooks import governance, rules, seeds
from playbooks.governance import Checked
from playbooks.rules import ASK_HUMAN, FAIL, PASS, Rule

HOLDS, HOLDS_NOT = "payload.n == 1", "payload.n == 2"


def known(data=None, *, payload=None, mapped=None):
    return governance.names(
        payload=payload or {"n": 1},
        data=data or {},
        steps={},
        run={"id": 7},
        input=mapped or {},
        mapped=mapped is not None,
    )


def rule(when=HOLDS, result=FAIL, **more):
    return Rule(**{"id": "rule", "when": when, "result": result, "because": "It shall not be.", **more})


def rule_set(*given, slug="privacy"):
    return Checked(slug, slug.title(), "privacy", 3, rules.digest(given), given)


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ([rule(HOLDS_NOT, FAIL)], PASS),
        ([rule(HOLDS, FAIL)], FAIL),
        ([rule(HOLDS, ASK_HUMAN)], ASK_HUMAN),
        ([rule(HOLDS, ASK_HUMAN), rule(HOLDS, FAIL)], FAIL),
        ([rule(HOLDS, ASK_HUMAN), rule(HOLDS_NOT, FAIL)], ASK_HUMAN),
        ([rule("payload.nothing > 1", ASK_HUMAN)], FAIL),
        ([rule("payload.n", ASK_HUMAN)], FAIL),
        ([rule("payload.n > 'text'", ASK_HUMAN)], FAIL),
    ],
)
def test_the_worst_of_what_fires_is_the_result(given, result):
    assert governance.check([rule_set(*given)], known()).result == result


def test_a_finding_names_what_fired_with_its_evidence_and_what_was_checked():
    fires = rule(HOLDS, title="No ones", evidence={"n": "payload.n", "lost": "data.x"})
    other = rule_set(rule(HOLDS_NOT), slug="ethics")
    found = governance.check([rule_set(fires), other], known()).as_json()

    (fired,) = found["fired"]
    assert {name: fired[name] for name in ("rule_set", "version", "rule", "title", "result", "because")} == {
        "rule_set": "privacy",
        "version": 3,
        "rule": "rule",
        "title": "No ones",
        "result": FAIL,
        "because": "It shall not be.",
    }
    assert fired["evidence"]["n"] == 1
    assert "`data.x` at privacy@3/rule has no value" in fired["evidence"]["lost"]["no_value"]
    assert [(each["rule_set"], each["version"], each["rules"]) for each in found["checked"]] == [
        ("privacy", 3, 1),
        ("ethics", 3, 1),
    ]
    assert fired["sha256"] == found["checked"][0]["sha256"] == rules.digest([fires])


def test_a_rule_that_cannot_be_judged_says_which_where_and_what_was_there():
    (fired,) = governance.check([rule_set(rule("data.A.n < 3"))], known({"B": {"n": 1}})).fired

    assert fired.fault == "`data.A.n < 3` at privacy@3/rule has no value: there is no 'A'. There was: data has B."


@pytest.mark.parametrize("missing", [[], ["privacy@9"]])
def test_rules_that_are_not_there_are_no_pass(missing):
    found = governance.check([], known(), missing)

    assert found.result == FAIL
    assert found.fired[0].fault == f"{missing[0] if missing else 'the default layer'} has no published rules"


def test_a_rule_set_that_is_missing_beside_others_is_no_pass():
    assert governance.check([rule_set(rule(HOLDS_NOT))], known(), ["safety"]).result == FAIL


def test_long_evidence_is_kept_as_its_digest():
    (fired,) = governance.check([rule_set(rule(evidence={"t": "data.A"}))], known({"A": "x" * 5000})).fired

    assert fired.evidence["t"]["characters"] == 5002
    assert len(fired.evidence["t"]["sha256"]) == 64


def test_the_text_is_that_of_earlier_steps_however_deep_or_of_the_mapped_input():
    data = {"A": {"b": ["x", {"c": "y"}]}, "n": 3}

    assert known(data, payload={"p": "z"})["text"] == "A\nb\nx\nc\ny\nn"
    assert known(data, mapped={"suggestion": "only this"})["text"] == "suggestion\nonly this"


def test_much_data_is_checked_in_a_moment():
    rows = [{"name": f"row {number}", "text": "x" * 40} for number in range(20_000)]
    began = time.monotonic()

    assert governance.check(default_layer(), known({"A": {"rows": rows}})).result == PASS
    assert time.monotonic() - began < 10, "with an expression for each text it is minutes"


# The layer that comes with the product --------------------------------------------------------------------

CENSUS = {
    "CollectResponses": {"responses": 1280, "regions": ["Northwest", "Delta"]},
    "AnalyzeData": {"suggestion": "Send two more field offices to the Delta region.", "smallest_group": 212},
}


def default_layer():
    return [
        Checked(slug, told["title"], told["concern"], 1, rules.digest(told["rules"]), told["rules"])
        for slug, told in seeds.default_layer().items()
    ]


def judged(**said):
    return governance.check(default_layer(), known({**CENSUS, "AnalyzeData": {**CENSUS["AnalyzeData"], **said}}))


def test_there_are_rules_for_each_concern():
    assert {each.concern for each in default_layer()} == {"ethics", "privacy", "safety", "compliance"}


@pytest.mark.parametrize("data", [{}, CENSUS, {"A": None, "B": [1], "C": "text", "D": 3}])
def test_the_ordinary_passes(data):
    assert governance.check(default_layer(), known(data)).fired == ()


@pytest.mark.parametrize(
    ("said", "result", "by"),
    [
        ({"suggestion": "Visit the person with 123-45-6789."}, FAIL, ["privacy@1/personal-number"]),
        ({"notes": [{"who": "call ann@example.org"}]}, ASK_HUMAN, ["privacy@1/contact-details"]),
        ({"personal_data": True}, FAIL, ["privacy@1/declared-personal-data"]),
        ({"smallest_group": 9}, FAIL, ["privacy@1/small-groups"]),
        ({"smallest_group": "few"}, FAIL, ["privacy@1/small-groups"]),
        ({"unequal_treatment": True}, ASK_HUMAN, ["ethics@1/unequal-treatment"]),
        ({"excluded_groups": ["people without an address"]}, ASK_HUMAN, ["ethics@1/excluded-groups"]),
        ({"may_harm": True}, FAIL, ["safety@1/may-harm"]),
        ({"risk": "critical"}, ASK_HUMAN, ["safety@1/high-risk"]),
        ({"irreversible": True}, ASK_HUMAN, ["safety@1/irreversible"]),
        ({"breaks_law": True}, FAIL, ["compliance@1/breaks-law"]),
        ({"legal_doubt": True, "may_harm": True}, FAIL, ["safety@1/may-harm", "compliance@1/legal-doubt"]),
        ({"risk": "low", "personal_data": False, "smallest_group": 10, "excluded_groups": []}, PASS, []),
    ],
)
def test_what_a_suggestion_says_is_held_against_it(said, result, by):
    found = judged(**said)

    assert (found.result, sorted(found.fired_rules())) == (result, sorted(by))
