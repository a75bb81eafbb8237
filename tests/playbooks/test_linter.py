# SPDX-License-Identifier: Apache-2.0
"""What is wrong or odd with a playbook that can be read: each code, its place, and what no fault is found with."""

from functools import partial

import pytest
from hypothesis import given

from approvals import approvers, policy_document
from playbooks.definition import Branch, Definition, Parallel, Step, StepKind
from playbooks.linter import LEVELS, Facts, lint
from playbooks.parse import parse, parse_data
from playbooks.policies import Reader
from tests.house.tree import ROOT
from tests.playbook_strategies import playbooks

AGENT = {"type": "agent", "role": "agent:a"}
HUMAN = {"type": "human", "role": "human:h"}
CALL = {"type": "service", "role": "svc:s", "call": "known.call"}
PUBLISHED = {"quiet": ({"time": {"expires": "2d", "on_timeout": "approve"}}, 1)}
POLICIES = Reader(
    flaws=policy_document.flaws,
    needs=partial(approvers.needs, named=PUBLISHED.get),
    silence=partial(approvers.silence, named=PUBLISHED.get),
)
SILENCE = {"time": {"expires": "2d", "on_timeout": "approve"}}
SECRET = {"type": "object", "properties": {"key": {"type": "string", "format": "password"}}}

FACTS = Facts(
    policies=POLICIES,
    known_calls=["known.call", "known.undo", "known.query"],
    queryable_calls=["known.query"],
    members={"agent:a": frozenset({1}), "human:h": frozenset({2}), "human:none": frozenset(), "svc:s": frozenset()},
    playbooks={"child": frozenset({1, 3})},
    rule_sets={"privacy", "privacy@1", "ours"},
    takes_secrets=False,
    conditions={"ours": ("data.a.x > 1", '"b" in data && data.b.x > 1'), "": ("data.exists(s, s == 'x')",)},
)


def step(id, kind=AGENT, **more):
    return {"id": id, **kind, **more}


def parallel(*branches, id="both", **more):
    return {"id": id, "type": "parallel", "branches": [{"steps": list(each)} for each in branches], **more}


def switch(*cases, id="which", **more):
    return {"id": id, "type": "switch", "cases": list(cases), **more}


def foreach(*steps, id="each", items="payload.list", **more):
    return {"id": id, "type": "foreach", "items": items, "steps": list(steps), **more}


def found(*steps, facts=FACTS, but=()):
    definition = parse_data({"id": "story", "steps": list(steps)}).definition
    return [(each.code, each.path) for each in lint(definition, facts) if each.code not in but]


GOOD = {
    "an earlier step": [step("a"), step("b", when='data.a.x && steps["a"].outcome == "PASS"')],
    "a step around": [step("a"), foreach(step("b", input={"x": "item.y + data.a.z"}))],
    "a step of the same branch": [parallel([step("a"), step("b", when="data.a.x")], [step("c")])],
    "all branches of an earlier step": [parallel([step("a")], [step("b")]), step("c", when="data.a.x && data.b.x")],
    "a step that may not have run, and is asked for first": [
        switch({"when": "payload.x", "steps": [step("a")]}, {"steps": [step("b")]}),
        step("c", when='"a" in steps && data.a.x || has(data.b) && data.b.x'),
    ],
    "its own result, by output": [step("a", output={"x": "output.x"})],
    "a macro over data, and words in texts": [step("a", when="data.exists(s, s == 'data.nobody')")],
    "a handler that asks for the step that failed": [step("a", on_failure={"steps": [step("b", when="steps.a.x")]})],
    "a case of a rejection that goes on": [
        step("a", HUMAN, on_reject="CONTINUE"),
        switch({"case": "FAIL", "steps": [step("b")]}, on="a"),
    ],
    "a moment": [{"id": "a", "type": "wait", "until": "2026-06-01T09:00:00Z"}],
    "rules and a child that are there": [
        {"id": "a", "type": "governance", "rules": ["privacy", "privacy@1"]},
        {"id": "b", "type": "playbook", "playbook": "child", "version": 3},
    ],
    "rules whose steps are there": [step("a"), {"id": "r", "type": "governance", "rules": ["ours"]}],
    "the default layer": [{"id": "r", "type": "governance"}],
    "effects that nobody undoes": [step("a", CALL), step("b")],
    "an effect that can be asked for": [step("a", {**CALL, "call": "known.query"}, effect="query_first")],
    "silence where it harms little and can be undone": [
        step("a", HUMAN, severity="low", policy=SILENCE),
        step("b", CALL, compensate="known.undo"),
    ],
    "a time-out that approves nothing": [
        step("a", HUMAN, severity="high", policy={"time": {"expires": "2d", "on_timeout": "reject"}})
    ],
    "a form without secrets": [step("a", HUMAN, form={"type": "object", "properties": {"key": {"type": "string"}}})],
    "the last effect": [step("a", CALL, compensate="known.undo"), step("b", CALL)],
}
BAD = {
    "no_steps": [([], "steps")],
    "no_meaning": [
        ([parallel([step("a")], timeouts={"schedule_to_close": 60})], "steps[0].timeouts"),
        ([foreach(step("a"), output={"n": "size(output)"})], "steps[0].output"),
        ([switch({"steps": [step("a")]}, retries=5)], "steps[0].retries"),
    ],
    "bad_policy": [
        ([step("a", HUMAN, policy={"quorum": 2})], "steps[0].policy.quorum"),
        ([step("a", HUMAN, policy={"required_approvals": 0})], "steps[0].policy.required_approvals"),
        ([step("a", HUMAN, policy={"required_approvals": True})], "steps[0].policy.required_approvals"),
        ([step("a", HUMAN, policy={"forbid_self_approval": "no"})], "steps[0].policy.forbid_self_approval"),
    ],
    "no_query": [
        ([step("a", CALL, effect="query_first")], "steps[0].effect"),
        ([step("a", effect="query_first")], "steps[0].effect"),
    ],
    "unknown_call": [
        ([step("a", CALL, call="no.such")], "steps[0].call"),
        ([step("a", CALL, compensate="no.such")], "steps[0].compensate"),
    ],
    "unknown_playbook": [
        ([{"id": "a", "type": "playbook", "playbook": "nobody"}], "steps[0].playbook"),
        ([{"id": "a", "type": "playbook", "playbook": "child", "version": 2}], "steps[0].playbook"),
    ],
    "unknown_rule_set": [
        ([{"id": "a", "type": "governance", "rules": ["privacy", "ethics"]}], "steps[0].rules[1]"),
        ([{"id": "a", "type": "governance", "rules": ["privacy@2"]}], "steps[0].rules[0]"),
    ],
    "unknown_name": [
        ([step("a", when="item.x")], "steps[0].when"),
        ([foreach(step("b"), items="item.x")], "steps[0].items"),
        ([step("a", when="output.x")], "steps[0].when"),
        ([step("a", output={"x": "paylod.x"})], "steps[0].output.x"),
        ([{"id": "a", "type": "wait", "until": "when.x"}], "steps[0].until"),
        ([switch({"when": "crowd > 3", "steps": []})], "steps[0].cases[0].when"),
    ],
    "no_such_step": [
        ([step("a", when="data.nobody.x")], "steps[0].when"),
        ([step("a", HUMAN, policy={"distinct_from_steps": ["nobody"]})], "steps[0].policy.distinct_from_steps"),
    ],
    "cannot_have_run": [
        ([step("a", when="data.b.x"), step("b")], "steps[0].when"),
        ([step("a", when="data.a.x")], "steps[0].when"),
        ([parallel([step("a")], [step("b", when="data.a.x")])], "steps[0].branches[1].steps[0].when"),
        (
            [switch({"when": "payload.x", "steps": [step("a")]}, {"steps": [step("b", input={"y": "data.a.x"})]})],
            "steps[0].cases[1].steps[0].input.y",
        ),
        ([foreach(step("a")), step("b", when="data.a.x")], "steps[1].when"),
        ([step("a", on_failure={"steps": [step("b")]}, when="data.b.x")], "steps[0].when"),
        ([parallel([step("b")], when="data.b.x")], "steps[0].when"),
    ],
    "endless_retries": [([step("a", retries={"maximum_attempts": 0})], "steps[0].retries")],
    "join_cannot_be_met": [
        ([parallel([step("a")], [step("b")], tolerated_failure_count=3)], "steps[0].tolerated_failure_count"),
    ],
    "may_not_have_run": [
        ([switch({"when": "payload.x", "steps": [step("a")]}), step("b", when="data.a.x")], "steps[1].when"),
        ([parallel([step("a")], [step("b")], join="ANY"), step("c", when="data.a.x")], "steps[1].when"),
        (
            [step("a", on_failure={"steps": [step("b")], "then": "CONTINUE"}), step("c", when="data.b.x")],
            "steps[1].when",
        ),
        ([step("a", on_failure={"to": "c"}), step("b"), step("c", when="data.b.x")], "steps[2].when"),
        ([step("a", on_failure={"to": "c"}), step("b"), step("c"), step("d", when="data.b.x")], "steps[3].when"),
    ],
    "never_runs": [
        ([step("a", when="1 > 2")], "steps[0].when"),
        ([switch({"when": "true", "steps": []}, {"steps": []})], "steps[0].cases[1]"),
        ([switch({"when": "payload.x", "steps": []}, {"when": "payload.x", "steps": []})], "steps[0].cases[1]"),
        ([switch({"when": "false", "steps": []}, {"steps": []})], "steps[0].cases[0]"),
        ([step("a", HUMAN), switch({"case": "FAIL", "steps": []}, {"steps": []}, on="a")], "steps[1].cases[0]"),
    ],
    "rule_asks_for_more": [
        ([step("b"), {"id": "r", "type": "governance", "rules": ["privacy", "ours"]}, step("a")], "steps[1].rules[1]"),
    ],
    "runs_itself": [([{"id": "a", "type": "playbook", "playbook": "story"}], "steps[0].playbook")],
    "role_missing": [([step("a", role="agent:nobody")], "steps[0].role")],
    "role_without_members": [([step("a", HUMAN, role="human:none")], "steps[0].role")],
    "no_such_policy": [([step("a", HUMAN, policy="fees")], "steps[0].policy.use")],
    "too_few_people": [([step("a", HUMAN, policy={"required_approvals": 2})], "steps[0].policy.required_approvals")],
    "nobody_left": [
        (
            [step("a", HUMAN), step("b", HUMAN, policy={"distinct_from_steps": ["a"]})],
            "steps[1].policy.distinct_from_steps",
        )
    ],
    "silence_approves_nothing": [
        ([step("a", HUMAN, policy=SILENCE)], "steps[0].policy.time.on_timeout"),
        ([step("a", HUMAN, severity="critical", policy={"use": "quiet"})], "steps[0].policy.use"),
        (
            [step("a", HUMAN, severity="low", policy=SILENCE, form={"type": "object", "properties": {}})],
            "steps[0].policy.time.on_timeout",
        ),
        ([step("a", HUMAN, severity="low", policy=SILENCE), step("b", CALL)], "steps[0].policy.time.on_timeout"),
    ],
    "secret_used_twice": [
        (
            [
                step("a", HUMAN, form=SECRET),
                step("b", CALL, input={"key": "data.a.key"}),
                step("c", CALL, input={"key": 'data["a"]["key"]'}),
            ],
            "steps[2].input",
        ),
    ],
    "no_key_ring": [([step("a", HUMAN, form=SECRET)], "steps[0].form")],
    "not_undone": [
        ([step("a", CALL, effect="once"), step("b")], "steps[0]"),
        ([step("a", CALL, compensate="known.undo"), step("b", CALL), step("c", HUMAN)], "steps[1]"),
    ],
}
CASES = [(code, steps, path) for code, cases in BAD.items() for steps, path in cases]


@pytest.mark.parametrize("what", GOOD)
def test_nothing_is_wrong_with(what):
    assert found(*GOOD[what]) == []


@pytest.mark.parametrize(("code", "steps", "path"), CASES, ids=[f"{code} at {path}" for code, _, path in CASES])
def test_what_is_wrong_is_found_at_its_place(code, steps, path):
    others = () if code == "not_built" else ("not_built",)

    assert found(*steps, but=(*others, *({"not_undone", "no_key_ring"} - {code}))) == [(code, path)]


def test_a_secret_that_one_of_two_cases_uses_is_used_once():
    steps = [
        step("a", HUMAN, form=SECRET),
        switch(
            {"when": "payload.x", "steps": [step("b", CALL, input={"key": "data.a.key"})]},
            {"steps": [step("c", CALL, input={"key": "data.a.key"})]},
        ),
    ]

    assert found(*steps, but=["no_key_ring"]) == []


def test_a_join_beyond_its_branches_is_found_in_a_definition_too():
    """A document with one is refused before."""
    both = Step(
        "both", StepKind.PARALLEL, branches=(Branch("a", (Step("a", StepKind.AGENT),)),), shape=Parallel(join=2)
    )

    findings = [(each.code, each.path) for each in lint(Definition("story", (both,)))]

    assert ("join_cannot_be_met", "steps[0].join") in findings


def test_every_code_has_a_case_and_a_line_in_the_reference():
    page = (ROOT / "docs" / "reference" / "findings.md").read_text()

    assert set(BAD) == set(LEVELS)
    for code, level in LEVELS.items():
        assert f"| `{code}` | {level} |" in page


def test_errors_come_first_with_their_lines_and_a_role_is_told_once():
    steps = ["{id: b, role: 'agent:x'}", "{id: c, role: 'agent:x'}", "{id: d, role: 'svc:x', call: no.such}"]
    parsed = parse("\n- ".join(["id: a\nsteps:", *steps]))

    findings = lint(parsed.definition, Facts(known_calls=[], members={}), parsed.lines)

    assert [(each.code, each.level, each.line) for each in findings] == [
        ("unknown_call", "error", 5),
        ("role_missing", "warning", 3),
    ]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([step("a", when="data.b.x"), step("b")], "it comes later"),
        ([step("a", when="data.a.x")], "it is that step itself"),
        ([parallel([step("a")], [step("b", when="data.a.x")])], 'it stands in another branch of "both"'),
        ([foreach(step("a")), step("b", when="data.a.x")], 'it runs for single items of "each"'),
        (
            [switch({"when": "payload.x", "steps": [step("a")]}, {"steps": [step("b", when="data.a.x")]})],
            'it stands in another case of "which"',
        ),
    ],
)
def test_why_a_step_cannot_have_run_is_told(steps, said):
    (finding,) = lint(parse_data({"id": "story", "steps": steps}).definition)[-1:]

    assert said in finding.message


@pytest.mark.parametrize(
    ("members", "is_told"), [({}, True), ({"human:r": frozenset()}, True), ({"human:r": {1}}, False)]
)
def test_a_governance_step_that_names_nobody_needs_reviewers(members, is_told):
    facts = Facts(members=members, review_role="human:r")

    told = found({"id": "a", "type": "governance"}, facts=facts)
    assert told == ([("role_without_members", "steps[0].role")] if is_told else [])
    assert ("role_missing", "steps[0].role") in found({"id": "a", "type": "governance", "role": "human:x"}, facts=facts)


def test_what_is_not_known_is_not_judged_by():
    steps = [step("a", CALL, call="no.such"), step("b", HUMAN), {"id": "c", "type": "playbook", "playbook": "nobody"}]

    assert found(*steps, facts=Facts()) == []


@given(playbooks())
def test_whatever_can_be_read_can_be_judged(document):
    findings = lint(parse_data(document).definition, FACTS)

    assert {finding.code for finding in findings} <= set(LEVELS)
    assert all(finding.message and finding.remedy for finding in findings)
    assert not {finding.code for finding in findings} & {"cannot_have_run", "no_such_step", "unknown_name"}
