# SPDX-License-Identifier: Apache-2.0
"""What a reviewer may choose, and what follows from each choice, said by the server from the version's next step.

The sentences are made by the engine that will carry them out, not by whoever wrote the question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from approvals import policy, proposals, rights
from approvals.models import ActionRequest, Severity
from approvals.services import APPROVE, REJECT
from audit.shown import as_text, made_visible
from playbooks.definition import Call, Step, StepKind
from runs import engine
from runs.advance import position
from runs.inputs import Known
from runs.models import Run, Task, TaskState

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
    choices = [_choice(request, key, made_visible(label), fails) for key, label, fails in offered]
    return [_as_one_of_several(request, choice) for choice in choices]


def _as_one_of_several(request: ActionRequest, choice: Choice) -> Choice:
    """A vote that is not the last one needed moves nothing yet, and the page must not say that it does."""
    rules = rights.rules_of(request)
    if rules.is_simple:
        return choice
    fitting = frozenset(rule.id for rule in rules.stages[request.stage].rules)
    cast = policy.Cast(0, request.stage, choice.key, choice.fails, fitting)
    tally = policy.tally(rules, [*rights.votes_cast(request), cast], stage=request.stage)
    if tally.outcome is not None and not rules.blind:
        return choice
    said = f"Recorded; nothing moves until {_until(rules, tally)}. {choice.consequence}"
    return replace(choice, consequence=said, opens=())


def _until(rules: policy.Policy, tally: policy.Tally) -> str:
    if rules.blind:
        return "all who must vote have; nobody sees another's vote before their own"
    wanted = max((missing.wanted for missing in tally.missing), default=1)
    of = " and ".join(dict.fromkeys(made_visible(missing.rule.whom) for missing in tally.missing))
    return f"{'one more person has' if wanted == 1 else f'{wanted} more people have'} approved, of {of}"


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
        if request.action is not None and not fails:
            return Choice(key, label, fails, f"{proposals.sentence(request)}{_hold(request)}")
        told = "is told no, with your reason." if fails else "gets your answer and goes on."
        return Choice(key, label, fails, f"{asker} {told} Nothing else happens here.")
    run, task = request.run, request.task
    definition, here = run.version.definition, position(run)
    event = engine.step_rejected if fails else partial(engine.step_ended, outcome=key)
    try:
        advance = event(definition, here, task.path, evaluate=_Supposed(run, task, key).evaluate)
    except _Unknown as unknown:
        return Choice(key, label, fails, f"What follows depends on what is answered: {unknown}.")
    opens = tuple(move.step for move in advance.moves if isinstance(move, engine.Open))
    said = " ".join(_sentences(advance, definition.steps, task))
    return Choice(key, label, fails, said if fails else f"{said}{_hold(request)}", opens)


def _hold(request: ActionRequest) -> str:
    """How long an approval can be undone, if it can."""
    seconds = rights.rules_of(request).hold_seconds
    return f" It can be undone for {in_words(seconds)}; until then nothing happens." if seconds else ""


def in_words(seconds: float) -> str:
    """`9 min`, `40 s`, `2 h 5 min`."""
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if hours:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{minutes} min" if minutes >= 2 else f"{max(0, int(seconds))} s"


class _Unknown(Exception):
    """What follows is read from the answer itself."""


class _Supposed(Known):
    """What the run would know if this were the answer; its output is not known yet."""

    def __init__(self, run: Run, task: Task, outcome: str) -> None:
        super().__init__(run)
        self.supposed = task
        self.outcome = outcome

    def evaluate(self, expression: str, path: str, told: Sequence[engine.Move]) -> Any:
        if re.search(rf"\bdata\b.*{re.escape(self.supposed.step)}", expression):
            raise _Unknown(f"`{made_visible(expression)}`")
        return super().evaluate(expression, path, told)

    def _steps(self, scope: str) -> dict[str, Any]:
        answered = {"state": TaskState.COMPLETED, "outcome": self.outcome, "output": None}
        return {**super()._steps(scope), self.supposed.step: answered}


def _sentences(advance: engine.Advance, steps: tuple[Step, ...], task: Task) -> Iterator[str]:
    said = False
    for move in advance.moves:
        for text in _said_of(move, steps, task):
            said = True
            yield text
    if not said:
        yield "The run goes on when the other branches have ended too."


def _said_of(move: engine.Move, steps: tuple[Step, ...], task: Task) -> Iterator[str]:
    match move:
        case engine.Open(step) | engine.StartChild(step):
            yield _runs_next(step)
        case engine.SetTimer(step) | engine.AwaitSignal(step):
            yield f"{made_visible(step.id)} is next: the run waits there."
        case engine.Skip(step):
            yield f"{made_visible(step.id)} is left out."
        case engine.Compensate(step):
            yield f"What {made_visible(step.id)} did is undone{_in_brackets(step.call)}, and then the run ends."
        case engine.Close(path):
            around = f" in {made_visible(path)}" if path else ""
            yield f"Everything that is open{around} is closed."
        case engine.Incident(step):
            yield f"{made_visible(step.id)} waits for an operator."
        case engine.Complete():
            yield "This is the last step: the run ends completed."
        case engine.Fail():
            yield f"The run ends failed.{_left_out([step.id for step in steps], task.path.partition('/')[0])}"


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
