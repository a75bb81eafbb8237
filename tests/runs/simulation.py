# SPDX-License-Identifier: Apache-2.0
"""A run without a database: it answers what the engine asks for, in any order, and holds the engine to its word.

`Answers` says how each step goes, by its path and how often it was tried, so two runs in different orders can be
compared. `passes` is what they have to agree with: a second, sequential reading of what a playbook means.
"""

import json
import random
import re
from collections import Counter

from playbooks.definition import Foreach, Handler, Jump, Parallel, StepKind, Switch
from runs import engine
from runs.engine import Position, Unevaluable
from runs.engine.paths import UNDONE, block_of, holder_of, within
from tests.playbook_strategies import MISSING, OUTCOMES, VALUES

OPENS = (engine.Open, engine.SetTimer, engine.AwaitSignal, engine.StartChild, engine.Compensate, engine.Incident)
ENDS = (engine.Complete, engine.Fail, engine.Cancelled)
OUTCOME_OF = re.compile(r'steps\["([^"]+)"\]\.outcome == "([^"]+)"')


class Answers:
    """How each step goes, drawn from a seed: (path, try) → an answer, the same however often it is asked."""

    def __init__(self, seed, *, retries=True):
        self.seed, self.retries = seed, retries

    def _of(self, path, attempt):
        return random.Random(f"{self.seed} {path} {attempt}")

    def of_leaf(self, step, path, attempt):
        """An outcome; or `fault`, which for a wait is that its signal did not come."""
        chance = self._of(path, attempt)
        match step.kind:
            case StepKind.WAIT:
                can_fail = step.shape.signal and step.shape.timeout is not None
                return "fault" if can_fail and chance.random() < 0.4 else "PASS"
            case StepKind.PLAYBOOK:
                return chance.choice(["PASS", "PASS", "fault"])
        outcomes = [outcome for outcome in OUTCOMES if step.allows(outcome)]
        return "PASS" if chance.random() < 0.5 else chance.choice([*outcomes, "fault"])

    def of_operator(self, step, path, attempt):
        if not self.retries:  # what comes of trying branches again depends on the order in which they failed
            return self._of(f"{path}!", 0).choice(["skip", "fail"])
        return self._of(f"{path}!", attempt).choice(["skip", "fail", "retry"] if attempt < 4 else ["skip", "fail"])


class Outcomes(dict):
    """Path → outcome, of the steps that have ended; evaluates the expressions of `tests/playbook_strategies.py`."""

    def evaluate(self, expression, path, told=()):
        asked = OUTCOME_OF.fullmatch(expression)
        value = VALUES.get(expression, MISSING) if asked is None else self._outcome(asked[1], path)
        if value is MISSING:
            raise Unevaluable(f"`{expression}` at {path} has no value")
        return value if asked is None else value == asked[2]

    def _outcome(self, step_id, path):
        """That of the nearest step of this id, in the block or around it."""
        while path:
            block = block_of(path)
            if within(block, step_id) in self:
                return self[within(block, step_id)]
            path = holder_of(block)[0] if block else ""
        return MISSING


class Simulation:
    """Call `run`, then read `end` (the last move) and what was counted on the way."""

    def __init__(self, definition, answers, order=0):
        self.definition, self.answers = definition, answers
        self.order = random.Random(order)
        self.position = Position()
        self.outcomes = Outcomes()
        self.open = {}  # path → the move that opened it
        self.closed = Counter()  # path → how often it was closed unfinished
        self.tries = Counter()  # path → how often it was opened
        self.entered, self.left = Counter(), Counter()  # path → how often
        self.skipped = ""  # what an operator has just passed over
        self.completed = []  # paths that can be undone, in the order of their completion
        self.undone = []
        self.most = Counter()  # path of a step with branches → most of them open at once
        self.end = None
        self.events = 0

    # --- Going on ---

    def run(self, *, cancel_after=None):
        self.take(engine.start(self.definition, self.outcomes.evaluate))
        return self.go_on(cancel_after=cancel_after)

    def go_on(self, *, cancel_after=None):
        while self.end is None:
            assert self.open, f"the run waits for nothing: {self.position}"
            if self.events == cancel_after and self.position.undoing is None:
                self.cancel()
            else:
                self.answer(self.order.choice(sorted(self.open)))
        return self

    def cancel(self):
        """Some of what is open ends first, and advances nothing; the rest is closed."""
        for path, move in sorted(self.open.items()):
            if isinstance(move, engine.Open) and self.order.random() < 0.5:
                del self.open[path]
                self.complete(move.step, path)
                self.position = engine.completed_late(self.definition, self.position, path)
        self.take(engine.run_cancelled(self.definition, self.position))

    def answer(self, path):
        move = self.open.pop(path)
        self.tries[path] += 1
        if isinstance(move, engine.Incident):
            self.take(self.answer_of_operator(move, path))
        elif path.endswith(UNDONE):
            self.take(self.answer_of_compensation(path))
        else:
            self.take(self.answer_of_leaf(move.step, path))

    def answer_of_leaf(self, step, path):
        answer = self.answers.of_leaf(step, path, self.tries[path])
        given = (self.definition, self.position, path)
        if answer != "fault" and not step.ends_failed(answer):
            self.complete(step, path)
        match step.kind, answer:
            case StepKind.WAIT, "fault":
                return engine.timer_fired(*given, self.outcomes.evaluate)
            case StepKind.WAIT, _:
                told = engine.signal_received if step.shape.signal else engine.timer_fired
                return told(*given, self.outcomes.evaluate)
            case StepKind.PLAYBOOK, _:
                state = "completed" if answer == "PASS" else self.order.choice(["failed", "cancelled", "terminated"])
                return engine.child_ended(*given, state, self.outcomes.evaluate)
            case _, "fault":
                return engine.step_failed(*given, self.outcomes.evaluate, reason="Timeout: no answer")
        self.outcomes[path] = answer
        return engine.step_ended(*given, answer, self.outcomes.evaluate)

    def answer_of_compensation(self, path):
        self.undone.append(path.removesuffix(UNDONE))
        if self.order.random() < 0.3:
            return engine.step_failed(self.definition, self.position, path, reason="the bank is closed")
        return engine.step_ended(self.definition, self.position, path, "PASS")

    def answer_of_operator(self, move, path):
        given = (self.definition, self.position, path, self.outcomes.evaluate)
        match self.answers.of_operator(move.step, path, self.tries[path]):
            case "skip":
                self.skipped = path
                return engine.step_skipped(*given)
            case "fail":
                return engine.step_failed(*given, reason="an operator says so", is_final=True)
        if path.endswith(UNDONE):
            self.undone.remove(path.removesuffix(UNDONE))
        self.forget_beneath(path)
        return engine.step_retried(*given)

    def forget_beneath(self, path):
        """A step that is tried again may open again what it opened before."""
        for counts in (self.closed, self.left, self.entered):
            for known in [known for known in counts if known == path or engine.is_beneath(known, path)]:
                del counts[known]

    def complete(self, step, path):
        if step.compensate is not None and path != self.skipped:
            self.completed = [*(done for done in self.completed if done != path), path]

    # --- Taking in what the engine says ---

    def take(self, advance):
        self.events += 1
        before = set(self.open)
        opened_now = set()
        for move in advance.moves:
            assert self.end is None, "a run ends with its last move"
            match move:
                case engine.Close(path):
                    beneath = {known for known in self.open if engine.is_beneath(known, path)}
                    assert not beneath & opened_now, "a Close covers nothing that the same event opens"
                    self.closed.update(beneath)
                    for known in beneath:
                        del self.open[known]
                case engine.SetTimer(_, path) if isinstance(self.open.get(path), engine.AwaitSignal):
                    assert path not in before, "a signal's time limit is set together with it"
                case _ if isinstance(move, OPENS):
                    assert move.path not in self.open, f"{move.path} is open already"
                    assert move.path not in self.closed, f"{move.path} was closed"
                    self.open[move.path] = move
                    opened_now.add(move.path)
                case engine.Enter(_, path):
                    self.entered[path] += 1
                case engine.Leave(step, path, outcome) if not step.branches:
                    assert outcome == "FAIL", f"{path} could not begin"
                    self.outcomes[path] = outcome
                case engine.Leave(step, path, outcome):
                    self.left[path] += 1
                    self.outcomes[path] = outcome
                    if outcome == "PASS":
                        self.complete(step, path)
                case _ if isinstance(move, ENDS):
                    assert not self.open, f"the run ends with {sorted(self.open)} open"
                    self.end = move
        self.skipped = ""
        self.position = advance.position
        self.check()

    def check(self):
        assert Position.from_json(json.loads(json.dumps(self.position.as_json()))) == self.position
        assert all(count == 1 for count in (*self.closed.values(), *self.entered.values(), *self.left.values()))
        if self.end is None:
            self.check_what_is_open()
        fans = [(path, fan) for path, fan in self.position.blocks.items() if isinstance(fan, engine.Fan)]
        allowed = 80 + sum(len(path) + 40 + fan.total for path, fan in fans)
        allowed += sum(len(path) + 4 for path in self.position.undo)
        if self.position.undoing is not None:
            allowed += sum(len(text) + 4 for text in self.position.undoing.as_json())
        assert len(json.dumps(self.position.as_json())) <= allowed, "a position is as large as what is open"

    def check_what_is_open(self):
        branches = {}  # path of a parallel or foreach step → its branches in which something is open
        for path in self.open:
            here = path
            while block := block_of(here):
                here, part = holder_of(block)
                if isinstance(part, int) and not isinstance(self.shape_at(here), Switch):
                    branches.setdefault(here, set()).add(part)
        running = {path: fan.running for path, fan in self.position.blocks.items() if isinstance(fan, engine.Fan)}
        if self.position.undoing is None:
            assert {path: count for path, count in running.items() if count} == {
                path: len(parts) for path, parts in branches.items()
            }, "what is open is what the position says"
            idle = {path for path, count in running.items() if not count}
            assert idle <= set(self.open), "a step that is over is forgotten, unless it waits for an operator"
        for path, parts in branches.items():
            limit = self.shape_at(path).max_concurrency
            self.most[path] = max(self.most[path], len(parts))
            assert limit is None or len(parts) <= limit

    def shape_at(self, path):
        return engine.step_at(self.definition, path).shape


# What a playbook means, read a second time --------------------------------------------------------------------


def passes(definition, answers):
    """Whether a run completes, read step by step without any order: (whether, its outcomes by path)."""
    outcomes = Outcomes()
    return _block_passes(definition.steps, "", answers, outcomes) is True, outcomes


REJECTED, VERDICT = "rejected", "verdict"


def _block_passes(steps, block, answers, outcomes):
    index = 0
    while index < len(steps):
        step, path = steps[index], within(block, steps[index].id)
        went = _step_passes(step, path, answers, outcomes)
        index += 1
        if went is True:
            continue
        field = "on_reject" if went == REJECTED else "on_failure"
        reaction = getattr(step, field)
        if isinstance(reaction, Handler):
            if not _block_passes(reaction.steps, f"{path}/{field}", answers, outcomes):
                return False
            reaction = reaction.then
        if isinstance(reaction, Jump):
            index = [later.id for later in steps].index(reaction.to)
        elif reaction == "FAIL_RUN":
            return False
        elif reaction == "SKIP_DOWNSTREAM":
            return True
    return True


def _step_passes(step, path, answers, outcomes):
    try:
        if step.when and not outcomes.evaluate(step.when, path):
            return True
        went = _went(step, path, answers, outcomes)
    except Unevaluable:
        went = False
    if went is False and step.on_exhausted == "INCIDENT":
        went = answers.of_operator(step, path, 0) == "skip"
    if step.branches:
        outcomes[path] = "PASS" if went else "FAIL"
    return False if went == VERDICT else went


def _went(step, path, answers, outcomes):
    """True; False, which can be an incident; or one of the two words."""
    shape = step.shape
    if isinstance(shape, Switch):
        for number, case in enumerate(step.branches):
            condition = shape.condition(case)
            if not condition or outcomes.evaluate(condition, path):
                return _block_passes(case.steps, f"{path}/{number}", answers, outcomes)
        raise Unevaluable("no case holds")
    if isinstance(shape, Foreach):
        items = outcomes.evaluate(shape.items, path)
        went = [_block_passes(step.branches[0].steps, f"{path}[{i}]", answers, outcomes) for i in range(len(items))]
        return went.count(False) <= _tolerated(shape, len(went))
    if isinstance(shape, Parallel):
        went = [_block_passes(b.steps, f"{path}/{i}", answers, outcomes) for i, b in enumerate(step.branches)]
        needed = {"ANY": 1, "ALL_DONE": 0, "ALL": len(went) - _tolerated(shape, len(went))}.get(shape.join, shape.join)
        return went.count(True) >= needed
    answer = answers.of_leaf(step, path, 1)
    if answer == "fault":
        return False
    outcomes[path] = answer
    if step.kind in (StepKind.WAIT, StepKind.PLAYBOOK) or not step.ends_failed(answer):
        return True
    return REJECTED if step.kind is StepKind.HUMAN else VERDICT


def _tolerated(shape, total):
    if shape.tolerated_failure_count is not None:
        return shape.tolerated_failure_count
    return 0 if shape.tolerated_failure_percentage is None else total * int(shape.tolerated_failure_percentage) // 100
