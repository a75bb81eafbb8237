# SPDX-License-Identifier: Apache-2.0
"""The engine is pure: it says what comes next, and nothing else. Parallel and foreach: test_engine_joins.py."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks.definition import Definition, Option, Step, StepKind
from runs import engine
from runs.engine import Advance, Complete, Fail, Open, Position
from runs.engine.expressions import MAX_ITEMS
from runs.models import Task
from tests.runs.engine_story import Story, agent, foreach, human, parallel, switch, wait


def line_of(*ids: str, **options: tuple[Option, ...]) -> Definition:
    made = tuple(Step(i, StepKind.AGENT, role="agent:x", options=options.get(i, ())) for i in ids)
    return Definition(id="story", steps=made)


# A plain line of steps ----------------------------------------------------------------------------------------


def test_a_run_starts_with_its_first_step():
    definition = line_of("a", "b")

    assert engine.start(definition) == Advance(Position({"": 0}), (Open(definition.steps[0], "a"),))


def test_a_passed_step_opens_the_next():
    definition = line_of("a", "b")

    advance = engine.step_ended(definition, Position({"": 0}), "a", "PASS")

    assert advance == Advance(Position({"": 1}), (Open(definition.steps[1], "b"),))


def test_the_last_step_completes_the_run():
    assert engine.step_ended(line_of("a"), Position({"": 0}), "a", "PASS") == Advance(Position({}), (Complete(),))


def test_the_verdict_fail_ends_the_run_and_names_the_step():
    advance = engine.step_ended(line_of("a", "b"), Position({"": 0}), "a", "FAIL")

    assert advance.moves == (Fail("a", "a", reason="its outcome was FAIL"),)


def test_an_option_ends_the_run_only_if_it_says_so():
    options = (Option("later", "Later"), Option("deny", "Deny", ends="fail"))
    definition = line_of("a", "b", a=options)

    assert engine.step_ended(definition, Position({"": 0}), "a", "later").moves == (Open(definition.steps[1], "b"),)
    assert engine.step_ended(definition, Position({"": 0}), "a", "deny").moves == (
        Fail("a", "a", reason="its outcome was deny"),
    )


def test_a_fault_that_exhausted_its_retries_ends_the_run():
    advance = engine.step_failed(line_of("a", "b"), Position({"": 0}), "a", reason="Timeout")

    assert advance.moves == (Fail("a", "a", reason="Timeout"),)


@given(st.integers(1, 40))
def test_every_step_is_opened_once_and_in_order_however_many_there_are(count):
    definition = line_of(*(f"s{n}" for n in range(count)))
    advance, opened = engine.start(definition), []
    while isinstance(advance.moves[0], Open):
        (move,) = advance.moves
        opened.append(move.path)
        assert len(advance.position.blocks) == 1, "the position does not grow with the run"
        advance = engine.step_ended(definition, advance.position, move.path, "PASS")

    assert opened == [step.id for step in definition.steps]
    assert advance.moves == (Complete(),)


def test_an_event_for_a_step_where_the_run_does_not_stand_is_a_fault_of_the_caller():
    with pytest.raises(AssertionError, match="b is not where the run stands"):
        engine.step_ended(line_of("a", "b"), Position({"": 0}), "b", "PASS")


# Conditions ---------------------------------------------------------------------------------------------------


def test_a_step_whose_condition_is_false_is_skipped():
    story = Story(
        agent("a", when="no"), agent("b", when="yes"), agent("c", when="no"), values={"no": False, "yes": True}
    )

    assert story.starts() == ["skip a", "open b"]
    assert story.ended("b") == ["skip c", "complete"]
    assert story.asked == [("no", "a"), ("yes", "b"), ("no", "c")]


@pytest.mark.parametrize("value", [None, 1, "true", []])
def test_a_condition_that_is_neither_true_nor_false_fails_closed(value):
    story = Story(agent("a", when="payload.flag"), values={"payload.flag": value})

    assert story.starts() == ["leave a FAIL", "fail a"]
    assert story.moves[-1].reason == f"`payload.flag` at a gives a {type(value).__name__}, not true or false"


def test_a_condition_without_its_data_fails_closed_and_says_what_was_missing():
    story = Story(agent("a", when="payload.absent"))

    assert story.starts() == ["leave a FAIL", "fail a"]
    assert story.moves[-1].reason == "`payload.absent` at a has no value"


def test_a_run_may_end_without_anything_being_done():
    assert Story(agent("a", when="no"), values={"no": False}).starts() == ["skip a", "complete"]


# Switches -----------------------------------------------------------------------------------------------------

SIZES = (
    {"key": "large", "when": "large", "steps": [agent("chief"), agent("map")]},
    {"key": "middle", "when": "middle", "steps": [agent("clerk")]},
    {"key": "else", "steps": []},
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"large": True}, ["enter size large", "open size/0/chief"]),
        ({"large": False, "middle": True}, ["enter size middle", "open size/1/clerk"]),
        ({"large": False, "middle": False}, ["enter size else", "leave size PASS", "open end"]),
        ({"large": False}, ["leave size FAIL", "fail size"]),  # the second cannot be told
    ],
)
def test_the_first_case_that_holds_runs(values, expected):
    assert Story(switch("size", *SIZES), agent("end"), values=values).starts() == expected


def test_the_run_goes_on_after_the_last_step_of_a_case():
    story = Story(switch("size", *SIZES), agent("end"), values={"large": True})
    story.starts()

    assert story.ended("size/0/chief") == ["open size/0/map"]
    assert story.ended("size/0/map") == ["leave size PASS", "open end"]


def test_a_switch_in_which_no_case_holds_fails():
    story = Story(switch("size", SIZES[0]), values={"large": False})

    assert story.starts() == ["leave size FAIL", "fail size"]
    assert story.moves[-1].reason == "no case of size holds, and there is no default"


def test_a_case_can_be_the_outcome_of_a_step():
    cases = ({"case": "PASS", "steps": [agent("grant")]}, {"case": "later", "steps": [agent("park")]})
    expressions = [f'steps["decide"].outcome == "{outcome}"' for outcome in ("PASS", "later")]
    story = Story(
        human("decide", options=["later"]),
        switch("which", *cases, on="decide"),
        values=dict(zip(expressions, (False, True), strict=True)),
    )
    story.starts()

    assert story.ended("decide", "later") == ["enter which case-2", "open which/1/park"]
    assert story.asked == [(expression, "which") for expression in expressions]


# Waits and child runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "values", "expected"),
    [
        ({"duration": "2d"}, {}, ["timer w 172800"]),
        ({"until": "2026-06-01T09:00:00-04:00"}, {}, ["timer w 2026-06-01T09:00:00-04:00"]),
        ({"until": "payload.at"}, {"payload.at": "2026-06-01T09:00:00Z"}, ["timer w 2026-06-01T09:00:00+00:00"]),
        ({"until": "t"}, {"t": datetime(2026, 6, 1, tzinfo=UTC)}, ["timer w 2026-06-01T00:00:00+00:00"]),
        ({"until": "t"}, {"t": "2026-06-01"}, ["leave w FAIL", "fail w"]),
        ({"until": "t"}, {"t": "tomorrow"}, ["leave w FAIL", "fail w"]),
        ({"until": "t"}, {"t": datetime(2026, 6, 1)}, ["leave w FAIL", "fail w"]),  # noqa: DTZ001
        ({"until": "t"}, {"t": 5}, ["leave w FAIL", "fail w"]),
        ({"until": "t"}, {}, ["leave w FAIL", "fail w"]),
        ({"signal": "paid"}, {}, ["await w paid"]),
        ({"signal": "paid", "timeout": "1h"}, {}, ["await w paid", "timer w 3600"]),
    ],
)
def test_what_a_wait_waits_for(fields, values, expected):
    assert Story(wait("w", **fields), values=values).starts() == expected


def test_a_wait_is_over_when_its_timer_fires_or_its_signal_comes():
    for fields, event in [({"duration": 5}, "timer"), ({"signal": "paid", "timeout": 5}, "signal")]:
        story = Story(wait("w", **fields), agent("a"))
        story.starts()

        assert getattr(story, event)("w") == ["open a"]


def test_a_signal_that_does_not_come_in_time_is_a_failure():
    story = Story(wait("w", signal="paid", timeout=60), agent("a"))
    story.starts()

    assert story.timer("w") == ["fail w"]
    assert story.moves[-1].reason == "the signal paid did not come within 60 s"


def test_a_child_run_passes_only_if_it_was_completed():
    for state, expected in [("completed", ["open a"]), ("failed", ["fail c"]), ("cancelled", ["fail c"])]:
        story = Story({"id": "c", "type": "playbook", "playbook": "other"}, agent("a"))

        assert story.starts() == ["child c"]
        assert story.child_ended("c", state) == expected


def test_a_governance_step_is_opened_as_others_are():
    story = Story({"id": "g", "layer": "GovernanceLayer", "action": "enforce"}, agent("a"))

    assert story.starts() == ["open g"]
    assert story.ended("g", "FAIL") == ["fail g"]


# When a step fails --------------------------------------------------------------------------------------------

TELL = {"steps": [agent("tell")]}
REACTIONS = [
    ("FAIL_RUN", ["fail a"]),
    ("CONTINUE", ["open b"]),
    ("SKIP_DOWNSTREAM", ["skip b", "skip c", "complete"]),
    ({"to": "c"}, ["skip b", "open c"]),
    ({"to": "b"}, ["open b"]),
]


@pytest.mark.parametrize(("reaction", "expected"), REACTIONS)
def test_what_a_failure_does(reaction, expected):
    for event in ("failed", "verdict"):
        story = Story(agent("a", on_failure=reaction), agent("b"), agent("c"))
        story.starts()

        assert (story.failed("a") if event == "failed" else story.ended("a", "FAIL")) == expected


@pytest.mark.parametrize(("reaction", "expected"), REACTIONS)
def test_what_a_rejection_does(reaction, expected):
    for event in ("rejected", "verdict"):
        story = Story(human("a", on_reject=reaction, on_failure={"steps": [agent("tell")]}), agent("b"), agent("c"))
        story.starts()

        assert (story.rejected("a") if event == "rejected" else story.ended("a", "FAIL")) == expected


def test_a_rejection_in_mid_task_is_a_rejection_whoever_had_asked():
    story = Story(agent("a", on_reject="CONTINUE"), agent("b"))
    story.starts()

    assert story.rejected("a") == ["open b"]


@pytest.mark.parametrize(
    ("then", "expected"),
    [("FAIL_RUN", ["fail a"]), ("CONTINUE", ["open b"]), ("SKIP_DOWNSTREAM", ["skip b", "complete"])],
)
def test_steps_of_its_own_run_first_when_a_step_has_failed(then, expected):
    handled = {"steps": [agent("tell"), agent("file")], "then": then}
    story = Story(agent("a", on_failure=handled), agent("b"))
    story.starts()

    assert story.failed("a") == ["open a/on_failure/tell"]
    assert story.ended("a/on_failure/tell") == ["open a/on_failure/file"]
    assert story.ended("a/on_failure/file") == expected


def test_when_the_steps_after_a_failure_fail_themselves_it_goes_on_as_a_failure():
    story = Story(human("a", on_reject=TELL | {"then": "CONTINUE"}, on_failure="CONTINUE"), agent("b"))
    story.starts()

    assert story.rejected("a") == ["open a/on_reject/tell"]
    assert story.failed("a/on_reject/tell") == ["fail a/on_reject/tell"]


def test_steps_after_a_failure_that_are_all_left_out_are_over_at_once():
    handled = {"steps": [agent("tell", when="no")], "then": "CONTINUE"}
    story = Story(agent("a", on_failure=handled), agent("b"), values={"no": False})
    story.starts()

    assert story.failed("a") == ["skip a/on_failure/tell", "open b"]


def test_a_failure_in_a_case_is_the_failure_of_the_switch():
    cases = {"key": "x", "steps": [agent("a"), agent("b")]}
    story = Story(switch("s", cases, on_failure="CONTINUE"), agent("c"))
    story.starts()

    assert story.failed("s/0/a") == ["leave s FAIL", "open c"]


# Incidents ----------------------------------------------------------------------------------------------------


def stuck(**fields):
    story = Story(agent("a", on_exhausted="INCIDENT", **fields), agent("b"))
    story.starts()
    assert story.failed("a", reason="Timeout") == ["incident a"]
    assert story.moves[0].reason == "Timeout"
    return story


def test_an_operator_tries_an_incident_again():
    story = stuck()

    assert story.retried("a") == ["open a"]
    assert story.ended("a") == ["open b"]


def test_an_operator_passes_an_incident_over():
    assert stuck().skipped("a") == ["open b"]


@pytest.mark.parametrize(("reaction", "expected"), [("FAIL_RUN", ["fail a"]), ("CONTINUE", ["open b"])])
def test_an_operator_lets_an_incident_fail_and_on_failure_says_what_follows(reaction, expected):
    assert stuck(on_failure=reaction).failed("a", is_final=True) == expected


def test_a_verdict_is_no_incident():
    story = Story(agent("a", on_exhausted="INCIDENT"))
    story.starts()

    assert story.ended("a", "FAIL") == ["fail a"]


def test_missing_data_can_be_an_incident_and_is_looked_at_again_on_the_next_try():
    story = Story(agent("a", when="payload.flag", on_exhausted="INCIDENT"))

    assert story.starts() == ["incident a"]
    story.values["payload.flag"] = True
    assert story.retried("a") == ["open a"]


def test_a_step_around_steps_can_be_the_incident():
    story = Story(switch("s", {"steps": [agent("a")]}, on_exhausted="INCIDENT"), agent("b"))
    story.starts()

    assert story.failed("s/0/a") == ["incident s"]
    assert story.retried("s") == ["enter s case-1", "open s/0/a"]
    assert story.failed("s/0/a") == ["incident s"]
    assert story.skipped("s") == ["leave s PASS", "open b"]


# The end by a clock of the run, and what is kept --------------------------------------------------------------


def test_a_run_whose_time_is_over_closes_what_is_open():
    story = Story(parallel("p", [agent("a")], [agent("b")]), agent("c"))
    story.starts()

    advance = engine.run_failed(story.definition, story.position, reason="its time is over")

    assert story.take(advance) == ["close ", "fail"]
    assert advance.moves[-1] == Fail("", reason="its time is over")


def test_a_position_of_before_there_were_blocks_is_read_still():
    assert Position.from_json({"": 2}) == Position({"": 2})
    assert Position.from_json({}) == Position()


def test_a_position_of_a_later_version_is_not_guessed_at():
    with pytest.raises(AssertionError, match="newer"):
        Position.from_json({"v": 2, "blocks": {}})


def test_a_position_in_json():
    story = Story(
        agent("charge", compensate="hms_ach.refund"),
        foreach("regions", "payload.regions", agent("survey"), max_concurrency=2),
        values={"payload.regions": ["n", "s", "e"]},
    )
    story.starts()
    story.ended("charge")

    assert story.position.as_json() == {"v": 1, "blocks": {"": 1, "regions": [3, 2, 2, "0", "0"]}, "undo": ["charge"]}


def test_a_list_may_not_be_longer_than_can_be_run():
    items = {"payload.all": list(range(MAX_ITEMS + 1))}
    story = Story(foreach("f", "payload.all", agent("a")), values=items)

    assert story.starts() == ["leave f FAIL", "fail f"]
    assert story.moves[-1].reason == "`payload.all` at f gives 10001 items; at most 10000 can be run"


def test_the_step_of_a_path():
    story = Story(foreach("f", "x", parallel("p", [agent("a", compensate="un.do")])))

    assert engine.step_at(story.definition, "f[3]/p/0/a").id == "a"
    assert engine.step_at(story.definition, "f[3]/p/0/a~compensate").call.action == "un.do"
    with pytest.raises(KeyError):
        engine.step_at(story.definition, "f[3]/unknown")


@pytest.mark.parametrize(
    ("path", "items"),
    [("a", []), ("f[3]/a", [("f", 3)]), ("p/0/f[3]/g[12]/a~compensate", [("p/0/f", 3), ("p/0/f[3]/g", 12)])],
)
def test_the_items_a_path_stands_for(path, items):
    assert engine.items_around(path) == items


@pytest.mark.parametrize(
    ("path", "above", "expected"),
    [
        ("a", "", True),
        ("p/0/a", "p", True),
        ("f[1]/a", "f", True),
        ("p/0/a", "p/0/a", False),
        ("pp/0/a", "p", False),
        ("a~compensate", "a", False),
    ],
)
def test_what_is_beneath_a_path(path, above, expected):
    assert engine.is_beneath(path, above) is expected


def test_the_longest_path_that_a_document_allows_fits_its_column():
    ids = [f"{level}{'x' * 24}" for level in range(8)]  # 200 characters together
    step = agent(ids[-1], compensate="un.do")
    for step_id in reversed(ids[:-1]):
        step = agent(step_id, on_failure={"steps": [step], "then": "FAIL_RUN"})
    story = Story(step)
    story.starts()
    for _ in ids[:-1]:
        story.failed(story.moves[0].path)
    story.ended(story.moves[0].path)
    (last,) = story.moves

    assert isinstance(last, engine.Compensate)
    assert 290 < len(last.path) <= Task._meta.get_field("path").max_length
