# SPDX-License-Identifier: Apache-2.0
"""The engine is pure: it says what comes next, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from playbooks.definition import Definition, Option, Step, StepKind
from runs import engine
from runs.engine import Advance, Complete, Fail, Open, Position


def line_of(*ids: str, **options: tuple[Option, ...]) -> Definition:
    made = tuple(Step(i, StepKind.AGENT, role="agent:x", options=options.get(i, ())) for i in ids)
    return Definition(id="story", steps=made)


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
    assert engine.step_ended(line_of("a", "b"), Position({"": 0}), "a", "FAIL").moves == (Fail("a"),)


def test_an_option_ends_the_run_only_if_it_says_so():
    options = (Option("later", "Later"), Option("deny", "Deny", ends="fail"))
    definition = line_of("a", "b", a=options)

    assert engine.step_ended(definition, Position({"": 0}), "a", "deny").moves == (Fail("a"),)
    assert engine.step_ended(definition, Position({"": 0}), "a", "later").moves == (Open(definition.steps[1], "b"),)


def test_a_fault_that_exhausted_its_retries_ends_the_run():
    assert engine.step_failed(line_of("a", "b"), Position({"": 0}), "a").moves == (Fail("a"),)


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
