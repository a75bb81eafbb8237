# SPDX-License-Identifier: Apache-2.0
"""What a reviewer may choose, and what follows from each choice, said by the server from the version's next step.

The sentences are made by the engine that will carry them out, not by whoever wrote the question.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from approvals.models import ActionRequest, Severity
from approvals.services import APPROVE, REJECT
from audit.shown import as_text, made_visible
from playbooks.definition import Call, Step, StepKind
from runs import engine
from runs.advance import position

SHOWN_CHARACTERS = 80  # of one argument within a sentence; the table below it shows all


@dataclass(frozen=True, slots=True)
class Choice:
    key: str  # the outcome
    label: str
    fails: bool  # a verdict that ends the run failed
    consequence: str
    opens: tuple[Step, ...] = ()  # the steps that begin at once


def choices_of(request: ActionRequest) -> list[Choice]:
    """Of an open request. A question whose options know no "no" can still be rejected."""
    offered = [(str(o["key"]), str(o["label"]), o["ends"] == "fail") for o in request.options]
    if not offered:
        offered = [(APPROVE, "Approve", False)]
    if not any(fails for _, _, fails in offered):
        offered.append((REJECT, "Reject", True))
    return [_choice(request, key, made_visible(label), fails) for key, label, fails in offered]


def label_of(request: ActionRequest, outcome: str) -> str:
    """What an outcome is called on pages, once it has been chosen."""
    labels = {APPROVE: "Approved", REJECT: "Rejected"}
    labels |= {str(option["key"]): str(option["label"]) for option in request.options}
    return made_visible(labels.get(outcome, outcome))


def word_to_type(request: ActionRequest) -> str:
    """What a reviewer types before a critical decision: the step's name, which they have to look for and read."""
    if request.severity != Severity.CRITICAL:
        return ""
    return made_visible(request.task.step) if request.task else request.id


def must_confirm(request: ActionRequest) -> bool:
    return request.severity in (Severity.HIGH, Severity.CRITICAL)


def _choice(request: ActionRequest, key: str, label: str, fails: bool) -> Choice:
    if request.task is None or request.run is None:
        asker = made_visible(request.requester.get_username())
        told = "is told no, with your reason." if fails else "gets your answer and goes on."
        return Choice(key, label, fails, f"{asker} {told} Nothing else happens here.")
    definition = request.run.version.definition
    advance = engine.step_ended(definition, position(request.run), request.task.path, key)
    opens = tuple(move.step for move in advance.moves if isinstance(move, engine.Open))
    return Choice(key, label, fails, " ".join(_sentences(advance, definition.steps, request.task.step)), opens)


def _sentences(advance: engine.Advance, steps: tuple[Step, ...], here: str) -> Iterator[str]:
    for move in advance.moves:
        match move:
            case engine.Open(step):
                yield _runs_next(step)
            case engine.Complete():
                yield "This is the last step: the run ends completed."
            case engine.Fail():
                yield f"The run ends failed.{_left_out([step.id for step in steps], here)}"


def _runs_next(step: Step) -> str:
    name, role = made_visible(step.id), made_visible(step.role)
    match step.kind:
        case StepKind.HUMAN:
            return f"{name} is next: {role} is asked."
        case StepKind.AGENT:
            return f"{name} is next, for an agent in {role}{_in_brackets(step.call)}."
        case _:
            return f"{name} runs next{_in_brackets(step.call)}."


def _in_brackets(call: Call | None) -> str:
    return f" ({', '.join([made_visible(call.action), *_arguments(call)])})" if call else ""


def _arguments(call: Call) -> Iterator[str]:
    given = dict(call.arguments)
    if {"amount", "currency"} <= given.keys():
        yield _short(f"amount {given.pop('amount')} {given.pop('currency')}")
    for name, value in given.items():
        yield _short(f"{name} {value if isinstance(value, str) else as_text(value)}")


def _short(text: str) -> str:
    line = " ".join(made_visible(text).split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…"


def _left_out(steps: list[str], here: str) -> str:
    after = [made_visible(step) for step in steps[steps.index(here) + 1 :]] if here in steps else []
    if not after:
        return ""
    *others, last = after
    names = f"{', '.join(others)} and {last}" if others else last
    return f" {names} {'are' if others else 'is'} not done."
