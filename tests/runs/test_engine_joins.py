# SPDX-License-Identifier: Apache-2.0
"""Parallel and foreach steps: when they begin their branches, when they have passed or failed, and who is closed."""

from itertools import permutations, product

import pytest

from runs import engine
from runs.engine import Fan
from tests.runs.engine_story import Story, agent, foreach, parallel, switch

ALL_FAST = {"join": "ALL", "on_branch_failure": "FAIL_FAST"}


def check_of(*letters, **fields):
    """A parallel step of branches of one step each, and a step after it; begun."""
    story = Story(parallel("check", *([agent(letter)] for letter in letters), **fields), agent("end"))
    story.starts()
    return story


def arrive(story, *arrivals):
    """`+1` passes the branch 1, `-0` fails the branch 0; what the last arrival leads to."""
    said = []
    for arrival in arrivals:
        number = int(arrival[1:])
        path = f"check/{number}/{'abcde'[number]}"
        said = story.ended(path) if arrival[0] == "+" else story.failed(path)
    return said


# Beginning ----------------------------------------------------------------------------------------------------


def test_all_branches_begin_at_once():
    story = Story(parallel("check", [agent("a"), agent("b")], [agent("c")]))

    assert story.starts() == ["enter check", "open check/0/a", "open check/1/c"]
    assert story.ended("check/0/a") == ["open check/0/b"]


def test_a_task_group_fans_out_one_branch_for_each_task():
    tasks = [{"id": "fetch_data", "type": "script"}, {"id": "ai_analysis", "type": "agent"}]
    story = Story({"type": "parallel", "tasks": tasks}, {"id": "deploy", "type": "script"})

    assert story.starts() == ["enter parallel-1", "open parallel-1/0/fetch_data", "open parallel-1/1/ai_analysis"]
    assert story.ended("parallel-1/1/ai_analysis") == []
    assert story.ended("parallel-1/0/fetch_data") == ["leave parallel-1 PASS 2+0", "open deploy"]


def test_no_more_branches_run_at_a_time_than_may():
    story = Story(parallel("check", *([agent(letter)] for letter in "abcd"), max_concurrency=2))

    assert story.starts() == ["enter check", "open check/0/a", "open check/1/b"]
    assert story.ended("check/1/b") == ["open check/2/c"]
    assert story.ended("check/2/c") == ["open check/3/d"]
    assert story.ended("check/3/d") == []
    assert story.ended("check/0/a") == ["leave check PASS 4+0", "complete"]


def test_branches_in_which_nothing_is_to_be_done_arrive_at_once():
    story = Story(parallel("check", [], [agent("a", when="no")]), agent("end"), values={"no": False})

    assert story.starts() == ["enter check", "skip check/1/a", "leave check PASS 2+0", "open end"]


def test_what_a_decided_join_would_still_have_begun_does_not_begin():
    story = Story(parallel("check", [agent("a")], [], [agent("c")], join="ANY"), agent("end"))

    assert story.starts() == ["enter check", "leave check PASS 1+0", "open end"]


# Joins --------------------------------------------------------------------------------------------------------

JOINS = [
    (ALL_FAST, ("+0", "+1"), []),
    (ALL_FAST, ("+0", "+1", "+2"), ["leave check PASS 3+0", "open end"]),
    (ALL_FAST, ("+0", "-1"), ["close check", "leave check FAIL 1+1", "fail check/1/b"]),
    (ALL_FAST, ("+0", "+1", "-2"), ["leave check FAIL 2+1", "fail check/2/c"]),
    ({"on_branch_failure": "WAIT_ALL"}, ("-1",), []),
    ({"on_branch_failure": "WAIT_ALL"}, ("-1", "+0", "-2"), ["leave check FAIL 1+2", "fail check/2/c"]),
    ({"on_branch_failure": "WAIT_ALL"}, ("-1", "+0", "+2"), ["leave check FAIL 2+1", "fail check"]),
    ({"join": "ANY"}, ("+1",), ["close check", "leave check PASS 1+0", "open end"]),
    ({"join": "ANY"}, ("-0", "-1"), []),
    ({"join": "ANY"}, ("-0", "-1", "+2"), ["leave check PASS 1+2", "open end"]),
    ({"join": "ANY"}, ("-0", "-1", "-2"), ["leave check FAIL 0+3", "fail check/2/c"]),
    ({"join": 2}, ("+0",), []),
    ({"join": 2}, ("+0", "+2"), ["close check", "leave check PASS 2+0", "open end"]),
    ({"join": 2}, ("-0", "-2"), ["close check", "leave check FAIL 0+2", "fail check/2/c"]),
    ({"join": 2, "on_branch_failure": "WAIT_ALL"}, ("-0", "-2"), []),
    ({"join": 2, "on_branch_failure": "WAIT_ALL"}, ("-0", "+1", "+2"), ["leave check PASS 2+1", "open end"]),
    ({"join": "ALL_DONE"}, ("-0", "-1"), []),
    ({"join": "ALL_DONE"}, ("-0", "+1", "-2"), ["leave check PASS 1+2", "open end"]),
    ({"tolerated_failure_count": 1}, ("-0",), []),
    ({"tolerated_failure_count": 1}, ("-0", "+1", "+2"), ["leave check PASS 2+1", "open end"]),
    ({"tolerated_failure_count": 1}, ("-0", "-1"), ["close check", "leave check FAIL 0+2", "fail check/1/b"]),
    ({"tolerated_failure_percentage": 34}, ("-0", "+1", "+2"), ["leave check PASS 2+1", "open end"]),
    ({"tolerated_failure_percentage": 33}, ("-0",), ["close check", "leave check FAIL 0+1", "fail check/0/a"]),
]


@pytest.mark.parametrize(("fields", "arrivals", "expected"), JOINS)
def test_the_last_of_these_arrivals_does(fields, arrivals, expected):
    assert arrive(check_of("a", "b", "c", **fields), *arrivals) == expected


@pytest.mark.parametrize("fields", [case[0] for case in JOINS])
def test_the_result_of_a_join_does_not_depend_on_the_order_and_comes_once(fields):
    for signs in product("+-", repeat=3):
        results = set()
        for order in permutations(range(3)):
            story, left = check_of("a", "b", "c", **fields), []
            for number in order:
                if not left:
                    left += [word for word in arrive(story, f"{signs[number]}{number}") if word.startswith("leave")]
            assert len(left) == 1
            results.add(left[0].split()[2])
        assert len(results) == 1, f"{signs} gives {results}"


def test_a_percentage_is_reckoned_exactly():
    story = Story(foreach("f", "x", agent("a"), tolerated_failure_percentage=29), values={"x": list(range(100))})
    story.starts()
    for number in range(29):
        assert story.failed(f"f[{number}]/a") == []

    assert story.failed("f[29]/a") == ["close f", "leave f FAIL 0+30", "fail f[29]/a"]


def test_of_two_limits_the_smaller_holds():
    limits = {"tolerated_failure_count": 5, "tolerated_failure_percentage": 50}
    story = Story(foreach("f", "x", agent("a"), **limits), values={"x": [1, 2]})
    story.starts()

    assert story.failed("f[0]/a") == []
    assert story.failed("f[1]/a") == ["leave f FAIL 0+2", "fail f[1]/a"]


def test_the_reason_of_a_join_says_how_many_failed_and_why_the_last_did():
    story = check_of("a", "b", **ALL_FAST)
    story.failed("check/1/b", reason="Timeout: no answer")

    assert story.moves[-1].reason == "1 of 2 branches of check failed: Timeout: no answer"


def test_a_branch_arrives_once():
    story = check_of("a", "b", "c")
    story.ended("check/1/b")

    with pytest.raises(AssertionError, match="check/1 is not running"):
        story.ended("check/1/b")


def test_nothing_arrives_at_a_join_that_is_decided():
    story = check_of("a", "b", join="ANY")
    story.ended("check/1/b")

    with pytest.raises(AssertionError, match="check is not open"):
        story.ended("check/0/a")


# Foreach ------------------------------------------------------------------------------------------------------


def test_the_same_steps_run_for_each_item_and_the_items_are_handed_over_once():
    story = Story(foreach("f", "payload.x", agent("a"), agent("b")), values={"payload.x": ["n", "s"]})

    assert story.starts() == ["enter f ['n', 's']", "open f[0]/a", "open f[1]/a"]
    assert story.ended("f[1]/a") == ["open f[1]/b"]
    assert story.ended("f[1]/b") == []
    story.ended("f[0]/a")
    assert story.ended("f[0]/b") == ["leave f PASS 2+0", "complete"]
    assert story.asked == [("payload.x", "f")]


def test_an_empty_list_is_done_at_once():
    assert Story(foreach("f", "x", agent("a")), values={"x": []}).starts() == ["enter f", "leave f PASS", "complete"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"x": {"a": 1}}, "`x` at f gives a dict, not a list"),
        ({"x": "abc"}, "`x` at f gives a str, not a list"),
        ({}, "`x` at f has no value"),
    ],
)
def test_what_is_no_list_fails_closed(values, reason):
    story = Story(foreach("f", "x", agent("a")), values=values)

    assert story.starts() == ["leave f FAIL", "fail f"]
    assert story.moves[-1].reason == reason


def test_items_begin_as_others_end_and_none_after_too_many_have_failed():
    fields = {"max_concurrency": 2, "tolerated_failure_count": 1}
    story = Story(foreach("f", "x", agent("a"), **fields), agent("end"), values={"x": [1, 2, 3, 4, 5]})

    assert story.starts() == ["enter f [1, 2, 3, 4, 5]", "open f[0]/a", "open f[1]/a"]
    assert story.failed("f[1]/a") == ["open f[2]/a"]
    assert story.ended("f[0]/a") == ["open f[3]/a"]
    assert story.failed("f[3]/a") == ["close f", "leave f FAIL 1+2", "fail f[3]/a"]


def test_a_condition_within_is_asked_for_each_item():
    story = Story(foreach("f", "x", agent("a", when="item > 1")), values={"x": [1, 2], "item > 1": True})
    story.starts()

    assert story.asked == [("x", "f"), ("item > 1", "f[0]/a"), ("item > 1", "f[1]/a")]


def test_ten_thousand_items_that_need_nothing_are_over_in_one_move_each():
    values = {"x": list(range(10_000)), "no": False}
    story = Story(foreach("f", "x", agent("a", when="no")), values=values)

    assert len(story.starts()) == 10_003  # enter, a skip for each, leave, complete


# Trying again -------------------------------------------------------------------------------------------------


def failed_foreach():
    fields = {"on_exhausted": "INCIDENT", "max_concurrency": 3}
    story = Story(foreach("f", "x", agent("a"), **fields), agent("end"), values={"x": [1, 2, 3, 4, 5]})
    story.starts()
    story.ended("f[0]/a")
    story.ended("f[2]/a")
    assert story.failed("f[1]/a") == ["close f", "incident f"]
    return story


def test_only_items_that_have_not_passed_run_again():
    story = failed_foreach()

    assert story.retried("f") == ["open f[1]/a", "open f[3]/a", "open f[4]/a"]
    assert story.ended("f[4]/a") == []
    assert story.ended("f[1]/a") == []
    assert story.ended("f[3]/a") == ["leave f PASS 5+0", "open end"]


def test_a_second_failure_is_an_incident_again():
    story = failed_foreach()
    story.retried("f")

    assert story.failed("f[4]/a") == ["close f", "incident f"]
    assert story.retried("f") == ["open f[1]/a", "open f[3]/a", "open f[4]/a"]


def test_an_operator_lets_it_fail_or_passes_it_over():
    assert failed_foreach().failed("f", is_final=True) == ["leave f FAIL 2+1", "fail f"]
    assert failed_foreach().skipped("f") == ["leave f PASS 2+1", "open end"]


def test_another_run_begins_where_this_one_failed_with_the_branches_that_have_not_passed():
    first = Story(agent("a"), parallel("check", [agent("b")], [agent("c")], on_branch_failure="WAIT_ALL"))
    first.starts()
    first.ended("a")
    first.failed("check/0/b")
    assert first.ended("check/1/c") == ["leave check FAIL 1+1", "fail check"]

    second = Story(agent("a"), parallel("check", [agent("b")], [agent("c")], on_branch_failure="WAIT_ALL"))
    second.position = engine.Position.from_json(first.position.as_json())

    assert second.retried("check") == ["open check/0/b"]
    assert second.ended("check/0/b") == ["leave check PASS 2+0", "complete"]


# Steps of steps of steps --------------------------------------------------------------------------------------


def test_a_join_within_a_branch_is_that_of_its_branch_alone():
    inner = parallel("inner", [agent("a")], [agent("b")], join="ANY")
    story = Story(foreach("f", "x", inner, agent("c")), values={"x": [1, 2]})
    story.starts()

    assert story.ended("f[1]/inner/0/a") == ["close f[1]/inner", "leave f[1]/inner PASS 1+0", "open f[1]/c"]
    assert story.position.blocks == {"": 0, "f": Fan(2, 2, 2), "f[0]/inner": Fan(2, 2, 2)}


def test_when_a_step_is_closed_everything_in_it_is_forgotten():
    inner = parallel("inner", [agent("a")], [agent("b")])
    story = Story(parallel("outer", [inner], [agent("c")], join="ANY"), agent("end"))
    story.starts()

    assert story.ended("outer/1/c") == ["close outer", "leave outer PASS 1+0", "open end"]
    assert story.position.blocks == {"": 1}


def test_a_failure_goes_up_until_a_step_bears_it():
    inner = parallel("inner", [agent("a")], [agent("b")])
    middle = switch("middle", {"steps": [inner]})
    story = Story(parallel("outer", [middle], [agent("c")], tolerated_failure_count=1), agent("end"))
    story.starts()

    assert story.failed("outer/0/middle/0/inner/1/b") == [
        "close outer/0/middle/0/inner",
        "leave outer/0/middle/0/inner FAIL 0+1",
        "leave outer/0/middle FAIL",
    ]
    assert story.ended("outer/1/c") == ["leave outer PASS 1+1", "open end"]


def test_a_failure_in_a_branch_may_be_answered_there():
    story = check_of("a", "b")
    handled = Story(parallel("check", [agent("a", on_failure={"steps": [agent("mend")], "then": "CONTINUE"})]))
    handled.starts()

    assert handled.failed("check/0/a") == ["open check/0/a/on_failure/mend"]
    assert handled.ended("check/0/a/on_failure/mend") == ["leave check PASS 1+0", "complete"]
    assert story.failed("check/0/a") == ["close check", "leave check FAIL 0+1", "fail check/0/a"]


def test_an_incident_in_a_branch_holds_its_branch_and_no_other():
    story = Story(parallel("check", [agent("a", on_exhausted="INCIDENT")], [agent("b")]))
    story.starts()

    assert story.failed("check/0/a") == ["incident check/0/a"]
    assert story.ended("check/1/b") == []
    assert story.skipped("check/0/a") == ["leave check PASS 2+0", "complete"]


# What it costs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [200, 10_000])
def test_a_position_keeps_counts_and_bits_and_no_list_of_items(count):
    story = Story(foreach("f", "x", agent("a"), agent("b")), values={"x": ["a long item"] * count})
    story.starts()
    for number in range(100):
        story.ended(f"f[{number}]/a")
        story.ended(f"f[{number}]/b")

    assert story.position.blocks == {"": 0, "f": Fan(count, count, count - 100, passed=2**100 - 1)}
    assert len(str(story.position.as_json())) < 100


def test_a_switch_that_waits_for_an_operator_keeps_nothing_of_the_case_that_failed():
    inner = parallel("check", [agent("b")], [agent("c")])
    story = Story(switch("which", {"steps": [inner]}, on_exhausted="INCIDENT"))
    story.starts()
    story.failed("which/0/check/0/b")

    assert list(story.position.blocks) == [""]
