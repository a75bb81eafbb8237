# SPDX-License-Identifier: Apache-2.0
"""What votes add up to under a policy: the pure rules, without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.policy import Cast, Eligible, Person, Policy, Rule, Stage, bar, tally, unsatisfiable, with_counts

A, B = "human:a", "human:b"


def rule(place="1.1", role=A, **more):
    return Rule(id=place, role=role, **more)


def one_stage(*rules, **more):
    return Policy(stages=(Stage(rules or (rule(),)),), **more)


def cast(voter, *rules, outcome="PASS", stage=0):
    return Cast(voter, stage, outcome, outcome == "FAIL", frozenset(rules or ("1.1",)))


def person(number=1, *roles, **more):
    return Person(id=number, kind="human", active=True, roles=frozenset(roles or (A,)), name=f"p{number}", **more)


# Thresholds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "votes", "outcome"),
    [
        (1, [cast(1)], "PASS"),
        (2, [cast(1)], None),
        (2, [cast(1), cast(2)], "PASS"),
        (2, [cast(1, outcome="defer"), cast(2)], None),
        (2, [cast(1, outcome="defer"), cast(2), cast(3, outcome="defer")], "defer"),
        (2, [cast(1), cast(2, outcome="FAIL")], "FAIL"),
        (3, [cast(1), cast(2)], None),
    ],
)
def test_a_rule_wants_so_many_of_one_outcome_and_one_rejection_is_a_veto(wanted, votes, outcome):
    found = tally(one_stage(rule(approvals=wanted)), votes, stage=0)

    assert (found.outcome, found.failed) == (outcome, outcome == "FAIL")


def test_a_rule_may_want_several_rejections():
    policy = one_stage(rule(approvals=2, rejections=2))

    assert tally(policy, [cast(1, outcome="FAIL")], stage=0).outcome is None
    assert tally(policy, [cast(1, outcome="FAIL"), cast(2), cast(3)], stage=0).outcome == "PASS"
    assert tally(policy, [cast(1, outcome="FAIL"), cast(2, outcome="FAIL")], stage=0).outcome == "FAIL"


def test_it_says_what_is_missing():
    found = tally(one_stage(rule(approvals=3), rule("1.2", B)), [cast(1, "1.1"), cast(2, "1.1")], stage=0)

    assert [(each.rule.whom, each.wanted) for each in found.missing] == [(A, 1), (B, 1)]


# Two groups -----------------------------------------------------------------------------------------------


def test_t04_two_votes_from_one_group_do_not_stand_for_one_of_each():
    policy = one_stage(rule("1.1", A), rule("1.2", B))

    assert tally(policy, [cast(1, "1.1"), cast(2, "1.1")], stage=0).outcome is None
    assert tally(policy, [cast(1, "1.1"), cast(2, "1.2")], stage=0).outcome == "PASS"


def test_t04_a_person_in_both_groups_counts_for_both_unless_the_policy_says_otherwise():
    both = [cast(1, "1.1", "1.2")]
    shared = one_stage(rule("1.1", A), rule("1.2", B))
    exclusive = one_stage(rule("1.1", A, exclusive=True), rule("1.2", B, exclusive=True))

    assert tally(shared, both, stage=0).outcome == "PASS"
    assert tally(exclusive, both, stage=0).outcome is None
    assert tally(exclusive, [*both, cast(2, "1.1")], stage=0).outcome == "PASS"  # the first is then counted for B


@given(
    st.lists(st.sets(st.sampled_from(["1.1", "1.2", "1.3"]), min_size=1), max_size=6),
    st.tuples(*[st.integers(1, 2)] * 3),
)
def test_exclusive_rules_are_satisfied_just_where_people_can_be_seated(fits, wanted):
    """Held against trying every seating."""
    rules = [rule(f"1.{n}", A, approvals=wanted[n - 1], exclusive=True) for n in (1, 2, 3)]
    votes = [cast(number, *rules_of) for number, rules_of in enumerate(fits)]

    def possible(left, needs):
        if not any(needs.values()):
            return True
        if not left:
            return False
        first, *others = left
        tries = [possible(others, needs)]
        tries += [possible(others, {**needs, name: needs[name] - 1}) for name in first if needs[name]]
        return any(tries)

    needs = {f"1.{n}": wanted[n - 1] for n in (1, 2, 3)}
    assert (tally(one_stage(*rules), votes, stage=0).outcome == "PASS") == possible(list(fits), needs)


# Stages ---------------------------------------------------------------------------------------------------

TWO_STAGES = Policy(stages=(Stage((rule("1.1", A),)), Stage((rule("2.1", B, approvals=2),))))


def test_a_stage_that_is_satisfied_opens_the_next_and_only_the_last_decides():
    found = tally(TWO_STAGES, [cast(1)], stage=0)
    assert (found.stage, found.outcome) == (1, None)
    assert [(each.rule.whom, each.wanted) for each in found.missing] == [(B, 2)]

    later = [cast(1), cast(2, "2.1", stage=1)]
    assert tally(TWO_STAGES, later, stage=1).outcome is None
    assert tally(TWO_STAGES, [*later, cast(3, "2.1", stage=1)], stage=1).outcome == "PASS"


def test_a_rejection_in_any_stage_ends_it():
    assert tally(TWO_STAGES, [cast(1), cast(2, "2.1", stage=1, outcome="FAIL")], stage=1).outcome == "FAIL"


def test_whoever_comes_in_a_later_stage_waits_for_the_earlier_one():
    later = person(2, B)

    assert bar(TWO_STAGES, later, stage=0).reason == f"{A} must vote first."
    assert bar(TWO_STAGES, later, stage=1) is None


# Blind ----------------------------------------------------------------------------------------------------


def test_blind_votes_that_differ_are_found_once_all_are_in():
    policy = one_stage(rule(approvals=2), blind=True)

    first = tally(policy, [cast(1, outcome="FAIL")], stage=0)
    assert (first.diverged, first.outcome, first.missing[0].wanted) == (False, None, 1)
    assert tally(policy, [cast(1, outcome="FAIL"), cast(2, outcome="FAIL")], stage=0).outcome == "FAIL"
    divided = tally(policy, [cast(1, outcome="FAIL"), cast(2)], stage=0)
    assert (divided.diverged, divided.outcome) == (True, None)
    assert tally(policy, [cast(1), cast(2)], stage=0).outcome == "PASS"


# People ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "more", "code"),
    [
        (person(1), {}, None),
        (person(1, "human:other"), {}, "role_required"),
        (Person(1, "agent", True, frozenset({A})), {}, "forbidden"),
        (Person(1, "human", False, frozenset({A})), {}, "forbidden"),
        (person(1), {"makers": {1: "asked for this"}}, "forbidden"),
        (person(1), {"doers": {1: "did the step draft"}}, "forbidden"),
        (person(1), {"voters": {1}}, "forbidden"),
        (person(1, "human:other"), {"lent": {"1.1"}}, None),
        (person(1, "human:other"), {"lent": {"1.1"}, "makers": {1: "asked for this"}}, "forbidden"),
    ],
)
def test_who_may_vote(who, more, code):
    found = bar(one_stage(), who, **more)

    assert (found.code if found else None) == code


def test_a_rule_names_a_role_people_or_a_permission():
    named = one_stage(Rule(users=("p7",)))
    permitted = one_stage(Rule(permission="runs.control"))

    assert bar(named, person(7, "human:other")) is None
    assert bar(named, person(8, "human:other")).code == "role_required"
    assert bar(permitted, person(1, "human:other", permissions=frozenset({"runs.control"}))) is None
    assert bar(permitted, person(1, "human:other")).code == "role_required"


# Before anybody votes -------------------------------------------------------------------------------------


def able(*people):
    return [Eligible(number, f"p{number}", rules, barred) for number, rules, barred in people]


def test_a_percentage_is_counted_when_it_is_frozen_of_those_who_may():
    policy = one_stage(rule(percent=50))
    people = able(*[(n, ("1.1",), "") for n in range(5)], (9, ("1.1",), "asked for this"))

    assert with_counts(policy, people).stages[0].rules[0].approvals == 3
    assert with_counts(policy, []).stages[0].rules[0].approvals == 1


@pytest.mark.parametrize(
    ("policy", "people", "found"),
    [
        (one_stage(rule(approvals=2)), able((1, ("1.1",), "")), [f"2 of {A} must approve, and 1 can."]),
        (one_stage(), able((1, ("1.1",), "asked for this")), [f"1 of {A} must approve, and 0 can."]),
        (one_stage(), able((1, ("1.1",), "")), []),
        (TWO_STAGES, able((1, ("1.1", "2.1"), ""), (2, ("2.1",), "")), ["3 people must approve, and 2 can."]),
    ],
)
def test_what_nobody_can_satisfy_is_known_at_once(policy, people, found):
    assert unsatisfiable(policy, people) == found
