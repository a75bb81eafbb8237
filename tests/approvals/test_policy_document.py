# SPDX-License-Identifier: Apache-2.0
"""Policies as people write them: read, complained about in their own terms, frozen and read again."""

import pytest

from approvals.policy import BreakGlass, Edits, Reasons
from approvals.policy_document import PolicyInvalid, as_json, flaws, parse, read, written
from approvals.policy_shown import in_words

FULL = """\
stages:
  - name: legal
    rules:
      - {role: "human:legal", approvals: 1, rejections: 2}
      - {users: [ana, ben], exclusive: true}
  - rules:
      - {role: "human:board", percent: 50}
      - {permission: runs.control}
distinct_from_steps: [draft]
reasons: {on_approve_from: high, codes: {late: Too late}}
assurance: {critical: step_up}
hold: 10m
blind: true
constraints: [ceiling, uses]
break_glass: {role: "human:duty", review_role: "human:audit", review_within: 2h}
edits: {allowed: true, narrowing: {input.amount: down}}
time: {due: 1d}
notify: {show: [amount]}
"""


def of(text, role="human:x"):
    return written(parse(text), role=role)


def test_everything_that_is_written_is_kept():
    policy = of(FULL)

    first, second = policy.stages
    assert next((r.id, r.role, r.approvals, r.rejections) for r in first.rules) == ("1.1", "human:legal", 1, 2)
    assert (first.rules[1].users, first.rules[1].exclusive, first.rules[1].role) == (("ana", "ben"), True, "")
    assert (second.rules[0].percent, second.rules[1].permission) == (50, "runs.control")
    assert policy.reasons == Reasons(on_reject=True, on_approve_from="high", codes={"late": "Too late"})
    assert (policy.assurance_for("critical"), policy.assurance_for("high")) == ("step_up", "session")
    assert (policy.hold_seconds, policy.blind, policy.constraints) == (600, True, ("ceiling", "uses"))
    assert policy.break_glass == BreakGlass("human:duty", "human:audit", 7200)
    assert policy.edits == Edits(True, {"input.amount": "down"})
    assert (policy.time, policy.notify) == ({"due": "1d"}, {"show": ["amount"]})


@pytest.mark.parametrize("text", [FULL, "required_approvals: 2", "{}", "forbid_self_approval: false"])
def test_what_is_frozen_reads_the_same(text):
    policy = of(text)

    assert read(as_json(policy)) == policy
    assert as_json(read(as_json(policy))) == as_json(policy)


def test_most_are_one_line():
    assert as_json(of("{}", role="human:legal")) == {"stages": [{"rules": [{"id": "1.1", "role": "human:legal"}]}]}


def test_requests_of_the_first_release_are_read_too():
    stored = {
        "role": "human:legal",
        "required_approvals": 2,
        "forbid_self_approval": False,
        "reject_needs_reason": False,
    }
    policy = read(stored)

    assert (policy.stages[0].rules[0].role, policy.stages[0].rules[0].approvals) == ("human:legal", 2)
    assert (policy.forbid_self_approval, policy.reasons.on_reject) == (False, False)


def test_a_rule_without_people_is_for_the_role_that_is_asked():
    assert of("stages: [{rules: [{approvals: 2}]}]", role="human:legal").roles == ("human:legal",)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("stages: []", "stages"),
        ("stages: [{rules: []}]", "stages[0].rules"),
        ("quorum: 2", "quorum"),
        ("stages: [{rules: [{role: 'agent:x'}]}]", "stages[0].rules[0].role"),
        ("stages: [{rules: [{role: 'human:x', users: [a]}]}]", "stages[0].rules[0]"),
        ("stages: [{rules: [{approvals: 1, percent: 5}]}]", "stages[0].rules[0].percent"),
        ("stages: [{rules: [{approvals: 0}]}]", "stages[0].rules[0].approvals"),
        ("stages: [{rules: [{permission: control}]}]", "stages[0].rules[0].permission"),
        ("{stages: [{rules: [{}]}], required_approvals: 2}", "required_approvals"),
        ("hold: 8d", "hold"),
        ("hold: soon", "hold"),
        ("assurance: fingerprint", "assurance"),
        ("break_glass: {role: 'human:x'}", "break_glass.review_role"),
        ("constraints: [colour]", "constraints[0]"),
        ("edits: {narrowing: {amount: sideways}}", "edits.narrowing.amount"),
        ("reasons: {on_approve_from: huge}", "reasons.on_approve_from"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_a_remedy(text, path):
    with pytest.raises(PolicyInvalid) as refused:
        parse(text)

    assert [problem.path for problem in refused.value.errors] == [path]
    assert all(problem.remedy for problem in refused.value.errors)
    assert refused.value.errors[0].line == 1


@pytest.mark.parametrize("text", ["[1]", "word", ": :", "a: &x [*x]"])
def test_what_is_no_mapping_is_refused(text):
    with pytest.raises(PolicyInvalid):
        parse(text)


def test_a_name_takes_the_published_policy_and_what_stands_beside_it_wins():
    def named(name):
        return ({"required_approvals": 3, "hold": 60}, 4) if name == "fees" else None

    policy = written({"use": "fees", "hold": 5}, role="human:x", named=named)
    assert (policy.name, policy.version, policy.hold_seconds, policy.votes_wanted) == ("fees", 4, 5, 3)
    with pytest.raises(PolicyInvalid, match="No policy 'fines' is published"):
        written({"use": "fines"}, role="human:x", named=named)


def test_a_short_policy_has_no_flaws():
    assert flaws({"required_approvals": 2, "distinct_from_steps": ["a"], "reject_needs_reason": False}) == []


def test_it_is_said_in_sentences():
    said = in_words(of(FULL))

    assert said[0] == "legal: 1 member of human:legal decides, and 2 rejections end it; and 1 of ana, ben decides."
    assert "An approval takes effect 10 minutes later; until then it can be taken back." in said
    assert "Where the harm is critical, it needs your password once more." in said
