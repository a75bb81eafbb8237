# SPDX-License-Identifier: Apache-2.0
"""What comes next: (version, position, what just happened) → moves and the new position.

Pure: no ORM, no clock, no settings, so it can simulate a playbook and be property-tested. One event costs the same at
the thousandth task as at the first.

A playbook is blocks of steps within blocks of steps. A step that is done by somebody, a wait and a child run are its
leaves: each is opened by one move, and one event tells how it went. The engine then goes on in the block, and where
the block ends, in the block around it. `paths.py` says how places are written; the last id of a path says which step
it is, so of a plain sequence nothing is kept but the index of the step under way, and of a branch nothing at all.
`position.py` says what is kept of parallel and foreach steps: counts and arrivals.

Events, each a function here that answers an Advance:

    start                                    the run begins
    step_ended                               a step ended with an outcome; a verdict may be a failure
    step_rejected                            people said no, also when an agent or a service had asked in mid-task
    step_failed                              its attempts are exhausted
    step_skipped                             an operator passes an incident over, with or without output
    step_retried                             an operator tries an incident again
    timer_fired, signal_received, child_ended
    run_failed                               the run's own clock ran out, or an operator ends it
    run_cancelled                            nothing runs any more in a run that was to be cancelled

Moves (`moves.py`) are applied in their order, all in the transaction of the event:

    Open, SetTimer, AwaitSignal, StartChild  a leaf begins, and exactly one event answers it, unless it is closed
    Incident                                 a leaf, or a step around leaves, waits for an operator
    Close                                    what was open beneath a path ends; its losers get no event any more
    Enter, Leave, Skip                       what happens to steps that nobody does
    Compensate                               one completed step is undone; an event answers it as it does Open
    Complete, Fail, Cancelled                the run ends; always the last move, and never with anything open

A Close never covers what the same Advance opens. A failure goes up from block to block until a step bears it: by its
join, its tolerated failures, its `on_failure`. At the top the run fails. Before it ends, failed or cancelled, every
completed step with a `compensate` is undone, the last completed first, each once, one after another.

Conditions, items, inputs and moments are evaluated by a function that the caller hands in. It gets the expression, the
path that asks, and which steps this event has begun, ended and left out so far. It raises Unevaluable where data is
missing; the step that asked has then failed with that reason.
"""

from __future__ import annotations

from typing import Any

from playbooks.definition import Definition, Step, StepKind, Wait
from playbooks.expressions import Unevaluable
from runs.engine.expressions import MAX_ITEMS, Evaluate
from runs.engine.moves import (
    AwaitSignal,
    Cancelled,
    Close,
    Compensate,
    Complete,
    Enter,
    Fail,
    Incident,
    Leave,
    Move,
    Open,
    SetTimer,
    Skip,
    StartChild,
)
from runs.engine.paths import ROOT, UNDONE, is_beneath, items_around, step_id_of
from runs.engine.position import Fan, Position, Undoing
from runs.engine.walk import Advance, Walk, done_last

__all__ = [
    "MAX_ITEMS",
    "ROOT",
    "Advance",
    "AwaitSignal",
    "Cancelled",
    "Close",
    "Compensate",
    "Complete",
    "Enter",
    "Evaluate",
    "Fail",
    "Fan",
    "Incident",
    "Leave",
    "Move",
    "Open",
    "Position",
    "SetTimer",
    "Skip",
    "StartChild",
    "Undoing",
    "Unevaluable",
    "child_ended",
    "completed_late",
    "is_beneath",
    "items_around",
    "run_cancelled",
    "run_failed",
    "signal_received",
    "start",
    "step_at",
    "step_ended",
    "step_failed",
    "step_rejected",
    "step_retried",
    "step_skipped",
    "timer_fired",
]


def no_expressions(expression: str, path: str, told: object) -> Any:
    raise AssertionError(f"{path} asks for {expression}, and nobody was handed in to evaluate it")


def start(definition: Definition, evaluate: Evaluate = no_expressions) -> Advance:
    walk = Walk(definition, Position(), evaluate)
    walk.start()
    return walk.advance()


def step_ended(
    definition: Definition, position: Position, path: str, outcome: str, evaluate: Evaluate = no_expressions
) -> Advance:
    """A step ended with a word. A verdict that ends failed is a failure, or a person's rejection."""
    step = step_at(definition, path)
    if not step.ends_failed(outcome):
        return _passed(definition, position, path, evaluate)
    reason = f"its outcome was {outcome}"
    if step.kind is StepKind.HUMAN:
        return step_rejected(definition, position, path, evaluate, reason=reason)
    return _failed(definition, position, path, evaluate, reason, is_verdict=True)


def step_rejected(
    definition: Definition,
    position: Position,
    path: str,
    evaluate: Evaluate = no_expressions,
    *,
    reason: str = "it was rejected",
) -> Advance:
    """`on_reject` says what follows."""
    walk = Walk(definition, position, evaluate)
    walk.failed(path, reason, rejected=True, is_final=True)
    return walk.advance()


def step_failed(
    definition: Definition,
    position: Position,
    path: str,
    evaluate: Evaluate = no_expressions,
    *,
    reason: str = "",
    is_final: bool = False,
) -> Advance:
    """A step's fault exhausted its retries: `on_exhausted`, then `on_failure` say what follows.

    `is_final`: an operator lets an incident fail, so it does not become one again.
    """
    return _failed(definition, position, path, evaluate, reason, is_final=is_final)


def step_skipped(definition: Definition, position: Position, path: str, evaluate: Evaluate = no_expressions) -> Advance:
    """An operator passes an incident over: the run goes on, and there is nothing to undo."""
    return _passed(definition, position, path, evaluate, did_something=False)


def step_retried(definition: Definition, position: Position, path: str, evaluate: Evaluate = no_expressions) -> Advance:
    """The step begins again; of its branches, those that have not passed. `path` is an incident's.

    Or it is that of the playbook's step at which another run failed, and `position` is where that run ended: then
    this is how a new run begins there.
    """
    walk = Walk(definition, position, evaluate)
    if path.endswith(UNDONE):
        walk.undone_again(path)
    else:
        walk.retried(path)
    return walk.advance()


def timer_fired(definition: Definition, position: Position, path: str, evaluate: Evaluate = no_expressions) -> Advance:
    """A wait is over, or a signal has not come in time, which is a failure."""
    wait = step_at(definition, path).shape
    assert isinstance(wait, Wait), f"{path} is no wait"
    if not wait.signal:
        return _passed(definition, position, path, evaluate)
    reason = f"the signal {wait.signal} did not come within {wait.timeout} s"
    return _failed(definition, position, path, evaluate, reason)


def signal_received(
    definition: Definition, position: Position, path: str, evaluate: Evaluate = no_expressions
) -> Advance:
    return _passed(definition, position, path, evaluate)


def child_ended(
    definition: Definition, position: Position, path: str, state: str, evaluate: Evaluate = no_expressions
) -> Advance:
    """`state` is the one in which the child run ended; any but `completed` is a failure."""
    if state == "completed":
        return _passed(definition, position, path, evaluate)
    return _failed(definition, position, path, evaluate, f"its run ended {state}")


def run_failed(definition: Definition, position: Position, *, reason: str) -> Advance:
    """All that is open ends, what can be undone is undone, and the run fails. Nothing changes if it is at that."""
    return _stopped(definition, position, Fail("", reason=reason))


def run_cancelled(definition: Definition, position: Position) -> Advance:
    """What can be undone is undone, and the run ends cancelled; if it is failing already, it goes on with that."""
    return _stopped(definition, position, Cancelled())


def completed_late(definition: Definition, position: Position, path: str) -> Position:
    """A task was completed in a run that is being cancelled, or may have been when it was closed.

    It advances nothing, but is undone with the others.
    """
    if step_at(definition, path).compensate is None:
        return position
    return Position(position.blocks, done_last(position.undo, path), position.undoing)


def step_at(definition: Definition, path: str) -> Step:
    """The step of a task's path; for a compensation, the step that undoes. Raises KeyError."""
    step = definition.step(step_id_of(path))
    return step.undoing if path.endswith(UNDONE) else step


def _passed(
    definition: Definition, position: Position, path: str, evaluate: Evaluate, *, did_something: bool = True
) -> Advance:
    walk = Walk(definition, position, evaluate)
    if path.endswith(UNDONE):
        walk.undone(path)
    else:
        walk.passed(path, did_something=did_something)
    return walk.advance()


def _failed(
    definition: Definition,
    position: Position,
    path: str,
    evaluate: Evaluate,
    reason: str,
    *,
    is_verdict: bool = False,
    is_final: bool = False,
) -> Advance:
    walk = Walk(definition, position, evaluate)
    if path.endswith(UNDONE):
        walk.not_undone(path, reason, is_final=is_final)
    else:
        walk.failed(path, reason, is_final=is_verdict or is_final)
    return walk.advance()


def _stopped(definition: Definition, position: Position, ending: Fail | Cancelled) -> Advance:
    if position.undoing is not None:
        return Advance(position, ())
    walk = Walk(definition, position, no_expressions)
    walk.stop()
    walk.undo(ending)
    return walk.advance()
