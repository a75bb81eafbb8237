# SPDX-License-Identifier: Apache-2.0
"""Whatever a playbook says and whatever happens in whatever order, a run ends, or waits for what its position shows.

The simulation itself checks after every event: nothing is opened twice or closed twice, no step is entered or left
twice, never more branches run than may, the position counts exactly what is open and is no larger, and reads back from
JSON unchanged.
"""

import cel
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from playbooks.parse import parse_data
from runs import engine
from tests.playbook_strategies import MISSING, VALUES, playbooks
from tests.runs.simulation import Answers, Simulation, passes

SEEDS = st.integers(0, 2**32)
slow_to_make = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def definition_of(document):
    return parse_data(document).definition


@slow_to_make
@given(playbooks(), SEEDS, SEEDS)
def test_every_run_ends(document, seed, order):
    run = Simulation(definition_of(document), Answers(seed), order).run()

    event(type(run.end).__name__)
    assert isinstance(run.end, engine.Complete | engine.Fail)


@slow_to_make
@given(playbooks(), SEEDS, SEEDS)
def test_a_run_ends_the_same_in_every_order(document, seed, order):
    definition, answers = definition_of(document), Answers(seed, retries=False)
    run = Simulation(definition, answers, order).run()
    completes, outcomes = passes(definition, answers)

    assert isinstance(run.end, engine.Complete) == completes
    assert {path: run.outcomes[path] for path in run.left} == {path: outcomes[path] for path in run.left}


@slow_to_make
@given(playbooks(), SEEDS, SEEDS)
def test_a_run_that_fails_undoes_what_was_completed_the_last_first_and_each_once(document, seed, order):
    run = Simulation(definition_of(document), Answers(seed), order).run()

    event(f"undone: {len(run.undone)}")
    assert run.undone == ([] if isinstance(run.end, engine.Complete) else run.completed[::-1])


@slow_to_make
@given(playbooks(), SEEDS, SEEDS, st.integers(1, 8))
def test_a_run_that_is_cancelled_undoes_what_was_completed_too(document, seed, order, after):
    run = Simulation(definition_of(document), Answers(seed), order).run(cancel_after=after)

    event(type(run.end).__name__)
    assert run.undone == ([] if isinstance(run.end, engine.Complete) else run.completed[::-1])


@slow_to_make
@given(playbooks(), SEEDS, SEEDS)
def test_a_failed_run_can_be_tried_again_from_where_it_stood(document, seed, order):
    definition = definition_of(document)
    failed = Simulation(definition, Answers(seed), order).run()
    if isinstance(failed.end, engine.Complete):
        return
    again = Simulation(definition, Answers(seed + 1), order)
    again.outcomes.update(failed.outcomes)
    root = definition.steps[failed.position.blocks[""]].id
    again.take(engine.step_retried(definition, failed.position, root, again.outcomes.evaluate))
    again.go_on()

    assert isinstance(again.end, engine.Complete | engine.Fail)


@pytest.mark.parametrize("kinds", [("agent",), ("wait",), ("human", "switch"), ("service", "parallel", "foreach")])
def test_the_strategy_makes_only_the_kinds_it_is_asked_for(kinds):
    @given(playbooks(kinds=kinds))
    @settings(max_examples=30)
    def check(document):
        assert {str(step.kind) for step in definition_of(document).walk()} <= set(kinds)

    check()


@pytest.mark.parametrize("expression", VALUES)
def test_the_expressions_of_the_strategy_have_the_same_values_in_cel(expression):
    if VALUES[expression] is MISSING:
        with pytest.raises(KeyError):
            cel.evaluate(expression, {"payload": {}})
    else:
        assert cel.evaluate(expression, {"payload": {}}) == VALUES[expression]
