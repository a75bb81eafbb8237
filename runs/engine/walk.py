# SPDX-License-Identifier: Apache-2.0
"""One event's way through the blocks: from the step that ended, along its block, up as far as blocks end.

A block is walked in a loop and only steps within steps recurse, so a recursion is no deeper than steps may be nested.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from playbooks.definition import (
    Child,
    Definition,
    Ending,
    Foreach,
    Governance,
    Handler,
    Jump,
    Parallel,
    Step,
    Switch,
    Wait,
)
from playbooks.expressions import Unevaluable, as_data
from runs.engine import joins
from runs.engine.expressions import Evaluate, holds, items_of, moment_of
from runs.engine.moves import (
    AwaitSignal,
    Cancelled,
    Close,
    Compensate,
    Complete,
    End,
    Enter,
    Fail,
    Incident,
    Leave,
    Move,
    Open,
    Opening,
    SetTimer,
    Skip,
    StartChild,
    StepMove,
)
from runs.engine.paths import ROOT, UNDONE, block_of, holder_of, is_beneath, step_id_of, within
from runs.engine.position import Fan, Position, Undoing


class Went(Enum):
    PASSED = "passed"  # ended, and the run goes on
    WAITING = "waiting"  # an event will follow


@dataclass(frozen=True, slots=True)
class Failed:
    """A step has failed. `step_id` and `path` are where it began, which may be deep inside."""

    step_id: str
    path: str
    reason: str = ""
    rejected: bool = False
    reaction: Ending | None = None  # instead of the step's own


Result = Went | Failed
PASSED, WAITING = Went.PASSED, Went.WAITING


@dataclass(frozen=True, slots=True)
class Advance:
    position: Position
    moves: tuple[Move, ...]


class Walk:
    def __init__(self, definition: Definition, position: Position, evaluate: Evaluate) -> None:
        self.definition = definition
        self._ask = evaluate
        self._told: list[Enter | Leave | Skip] = []  # only ever added to; a part of the moves
        self._before = position
        self._blocks = dict(position.blocks)
        self._undo = position.undo
        self._undoing = position.undoing
        self._moves: list[StepMove] = []
        self._last_move: End | None = None

    def advance(self) -> Advance:
        position = Position(self._blocks, self._undo, self._undoing)
        ends = () if self._last_move is None else (self._last_move,)
        return Advance(position, (*self._moves, *ends))

    # --- What happened ---

    def start(self) -> None:
        result = self._begin(self.definition.steps, ROOT)
        if result is not WAITING:
            self._end_run(result)

    def passed(self, path: str, *, did_something: bool = True) -> None:
        self._assert_stands(path)
        self._end(path, self._pass(self._step(path), path, can_be_undone=did_something))

    def failed(self, path: str, reason: str, *, rejected: bool = False, is_final: bool = False) -> None:
        """`is_final`: no incident, whatever the step says; it is a verdict, or an operator has decided."""
        self._assert_stands(path)
        step = self._step(path)
        self._end(path, self._fail(step, path, Failed(step.id, path, reason, rejected), is_final=is_final))

    def retried(self, path: str) -> None:
        self._assert_stands(path)
        step, fan = self._step(path), self._before.fan(path)
        if fan is None:
            self._end(path, self._enter(step, path))
        else:
            self._blocks[path] = fan.again()
            self._end(path, self._fill(step, path))

    def undo(self, then: Fail | Cancelled) -> None:
        """Undo the step that was completed last; when none is left, the run ends by `then`."""
        if not self._undo:
            self._undoing, self._last_move = None, then
            return
        self._undoing = Undoing(self._undo[-1], then)
        self._undo = self._undo[:-1]
        self._compensate()

    def undone(self, path: str) -> None:
        self.undo(self._being_undone(path).then)

    def not_undone(self, path: str, reason: str, *, is_final: bool) -> None:
        """Somebody has to see it, and then may let it be."""
        undoing = self._being_undone(path)
        if is_final:
            self.undo(undoing.then)
        else:
            self._moves.append(Incident(self._step(path).undoing, path, reason))

    def undone_again(self, path: str) -> None:
        self._being_undone(path)
        self._compensate()

    def stop(self) -> None:
        """All that is open ends."""
        if self._blocks:
            self._moves.append(Close(ROOT))
        self._keep_where_it_stands()

    # --- Along a block, and up ---

    def _end(self, path: str, result: Result) -> None:
        """The step at `path` went so: go on in its block, and around it as far as blocks end."""
        while result is not WAITING:
            block = block_of(path)
            place = self.definition.places[step_id_of(path)]
            result = self._go_on(place.block, place.index, block, result)
            if result is WAITING:
                return
            if block == ROOT:
                self._end_run(result)
                return
            path, part = holder_of(block)
            result = self._end_block(path, part, result)

    def _begin(self, steps: tuple[Step, ...], block: str) -> Result:
        return self._go_on(steps, -1, block, PASSED)

    def _go_on(self, steps: tuple[Step, ...], index: int, block: str, result: Result) -> Result:
        """`steps[index]` went so: go on until a step waits, or the block has passed or failed."""
        while result is not WAITING:
            if isinstance(result, Failed):
                index, result = self._react(steps, index, block, result)
                if result is not PASSED:
                    return result
            index += 1
            if index == len(steps):
                return PASSED
            if block == ROOT:
                self._blocks[ROOT] = index
            result = self._enter(steps[index], within(block, steps[index].id))
        return WAITING

    def _react(self, steps: tuple[Step, ...], index: int, block: str, failed: Failed) -> tuple[int, Result]:
        """What the step says of its failure: (index of the last step that is over by this, how it went)."""
        step, path = steps[index], within(block, steps[index].id)
        reaction = failed.reaction or (step.on_reject if failed.rejected else step.on_failure)
        if reaction == "FAIL_RUN":
            return index, failed
        self._forget(path)
        last = index
        match reaction:
            case Handler(inner):
                field = "on_reject" if failed.rejected else "on_failure"
                result = self._begin(inner, f"{path}/{field}")
                if result is WAITING:
                    return index, WAITING
                return self._react(steps, index, block, self._end_handler(path, field, result))
            case Jump(to):
                last = self.definition.places[to].index - 1
            case "SKIP_DOWNSTREAM":
                last = len(steps) - 1
        for left_out in steps[index + 1 : last + 1]:
            self._tell(Skip(left_out, within(block, left_out.id)))
        return last, PASSED

    def _end_block(self, path: str, part: int | str, result: Result) -> Result:
        """A block inside the step at `path` has ended: what becomes of the step."""
        if isinstance(part, str):
            return self._end_handler(path, part, result)
        step = self._step(path)
        if isinstance(step.shape, Switch):
            return self._end_switch(step, path, result)
        return self._fill(step, path, self._arrive(step, path, part, result))

    def _end_handler(self, path: str, field: str, result: Result) -> Failed:
        """The step has failed still, and what follows is fixed: its handler had its chance."""
        if isinstance(result, Failed):
            return replace(result, rejected=False, reaction="FAIL_RUN")
        handler = getattr(self._step(path), field)
        return Failed(step_id_of(path), path, reaction=handler.then)

    def _end_run(self, result: Result) -> None:
        if not isinstance(result, Failed):
            self._blocks, self._undo, self._last_move = {}, (), Complete()
            return
        self._keep_where_it_stands()
        self.undo(Fail(result.step_id, result.path, result.reason))

    # --- Single steps ---

    def _enter(self, step: Step, path: str) -> Result:
        try:
            if step.when and not holds(self._evaluate, step.when, path):
                self._tell(Skip(step, path))
                return PASSED
            return self._open(step, path)
        except Unevaluable as fault:
            return self._fail(step, path, Failed(step.id, path, str(fault)), began=False)

    def _open(self, step: Step, path: str) -> Result:
        match step.shape:
            case Parallel():
                return self._fan_out(step, path, len(step.branches), Enter(step, path))
            case Foreach(items):
                found = items_of(self._evaluate, items, path)
                return self._fan_out(step, path, len(found), Enter(step, path, items=found))
            case Switch():
                return self._choose(step, step.shape, path)
            case Wait():
                self._moves += self._awaited(step, step.shape, path)
            case Child():
                self._moves.append(StartChild(step, path, self._input(step, path)))
            case None | Governance():
                self._moves.append(Open(step, path, self._input(step, path)))
        return WAITING

    def _input(self, step: Step, path: str) -> dict[str, Any] | None:
        if step.input is None:
            return None
        return {
            name: as_data(self._evaluate(entry, path), text=entry, at=path) if isinstance(entry, str) else entry
            for name, entry in step.input.items()
        }

    def _awaited(self, step: Step, wait: Wait, path: str) -> list[StepMove]:
        if wait.signal:
            limit = [SetTimer(step, path, seconds=wait.timeout)] if wait.timeout is not None else []
            return [AwaitSignal(step, path, wait.signal), *limit]
        if wait.duration is not None:
            return [SetTimer(step, path, seconds=wait.duration)]
        return [SetTimer(step, path, moment=moment_of(self._evaluate, wait.until, path))]

    def _pass(self, step: Step, path: str, *, can_be_undone: bool = True) -> Result:
        if step.compensate is not None and can_be_undone:
            self._undo = done_last(self._undo, path)
        if step.branches:
            self._leave(step, path, "PASS")
            self._forget(path)
        return PASSED

    def _fail(self, step: Step, path: str, failed: Failed, *, is_final: bool = False, began: bool = True) -> Result:
        if step.on_exhausted == "INCIDENT" and not is_final:
            self._moves.append(Incident(step, path, failed.reason))
            return WAITING
        if step.branches or not began:
            self._leave(step, path, "FAIL", failed.reason)
        return failed

    def _leave(self, step: Step, path: str, outcome: str, reason: str = "") -> None:
        fan = self._fan(path) if path in self._blocks else Fan(0)
        self._tell(Leave(step, path, outcome, fan.passed.bit_count(), fan.failed.bit_count(), reason))

    # --- Steps with branches ---

    def _choose(self, step: Step, switch: Switch, path: str) -> Result:
        for number, case in enumerate(step.branches):
            condition = switch.condition(case)
            if not condition or holds(self._evaluate, condition, path):
                self._tell(Enter(step, path, case=case.key))
                result = self._begin(case.steps, f"{path}/{number}")
                return result if result is WAITING else self._end_switch(step, path, result)
        raise Unevaluable(f"no case of {path} holds, and there is no default")

    def _end_switch(self, step: Step, path: str, result: Result) -> Result:
        if isinstance(result, Failed):
            self._forget_beneath(path)
            return self._fail(step, path, replace(result, rejected=False, reaction=None))
        return self._pass(step, path)

    def _fan_out(self, step: Step, path: str, total: int, entered: Enter) -> Result:
        self._tell(entered)
        self._blocks[path] = Fan(total)
        return self._fill(step, path)

    def _fill(self, step: Step, path: str, last: Failed | None = None) -> Result:
        """Begin as many branches as may run, until the join is decided. `last` failed in this event, if any did."""
        shape = step.shape
        assert isinstance(shape, Parallel | Foreach), f"{path} has no branches to begin"
        while (passed := joins.verdict(step, self._fan(path))) is None:
            fan = self._fan(path)
            number = fan.following
            if number is None or fan.running == shape.max_concurrency:
                return WAITING
            self._blocks[path] = fan.begun(number)
            branch = step.branches[0 if isinstance(shape, Foreach) else number]
            result = self._begin(branch.steps, _block(step, path, number))
            if result is not WAITING:
                last = self._arrive(step, path, number, result) or last
        return self._join(step, path, passed, last)

    def _arrive(self, step: Step, path: str, number: int, result: Result) -> Failed | None:
        self._blocks[path] = self._fan(path).arrived(number, passed=result is PASSED)
        if not isinstance(result, Failed):
            return None
        self._forget_beneath(_block(step, path, number))
        return result

    def _join(self, step: Step, path: str, passed: bool, last: Failed | None) -> Result:
        fan = self._fan(path)
        if fan.running:
            self._close(path)
        self._blocks[path] = fan.stopped()
        if passed:
            return self._pass(step, path)
        because = last or Failed(step.id, path)
        noun = "items" if isinstance(step.shape, Foreach) else "branches"
        reason = f"{fan.failed.bit_count()} of {fan.total} {noun} of {path} failed"
        reason = f"{reason}: {because.reason}" if because.reason else reason
        return self._fail(step, path, Failed(because.step_id, because.path, reason))

    def _close(self, path: str) -> None:
        """End what is open beneath: what began before by a Close, what this same event would begin by not beginning."""
        over = {move.path for move in self._moves if isinstance(move, Leave)}
        self._moves = [
            move
            for move in self._moves
            if not (isinstance(move, Opening | Enter) and is_beneath(move.path, path) and move.path not in over)
        ]
        if path in self._before.blocks:
            self._moves.append(Close(path))
        self._forget_beneath(path)

    # --- What is told and kept ---

    def _tell(self, move: Enter | Leave | Skip) -> None:
        self._moves.append(move)
        self._told.append(move)

    def _evaluate(self, expression: str, path: str) -> Any:
        return self._ask(expression, path, self._told)

    @property
    def _root(self) -> int:
        index = self._blocks[ROOT]
        assert isinstance(index, int), "the playbook itself is no parallel step"
        return index

    def _fan(self, path: str) -> Fan:
        fan = self._blocks[path]
        assert isinstance(fan, Fan), f"{path} is no parallel or foreach step"
        return fan

    def _step(self, path: str) -> Step:
        return self.definition.step(step_id_of(path))

    def _keep_where_it_stands(self) -> None:
        """Where a new try may begin: at the playbook's step under way, without its branches that have passed."""
        if ROOT in self._blocks:
            root = self.definition.steps[self._root].id
            fan = self._blocks.get(root)
            kept = {root: fan.stopped()} if isinstance(fan, Fan) else {}
            self._blocks = {ROOT: self._root, **kept}

    def _compensate(self) -> None:
        assert self._undoing is not None, "nothing is being undone"
        path = self._undoing.path
        self._moves.append(Compensate(self._step(path).undoing, path + UNDONE))

    def _being_undone(self, path: str) -> Undoing:
        assert self._undoing is not None, f"{path}: nothing is being undone"
        assert self._undoing.path + UNDONE == path, f"{path} is not what is being undone ({self._undoing.path})"
        return self._undoing

    def _forget(self, path: str) -> None:
        self._blocks.pop(path, None)
        self._forget_beneath(path)

    def _forget_beneath(self, path: str) -> None:
        for inner in [inner for inner in self._blocks if is_beneath(inner, path)]:
            del self._blocks[inner]

    def _assert_stands(self, path: str) -> None:
        """An event comes once for each step that was opened, and none for what was closed."""
        assert self._undoing is None, f"{path} has ended while the run is being undone"
        while block := block_of(path):
            path, part = holder_of(block)
            if isinstance(part, int) and not isinstance(self._step(path).shape, Switch):
                assert path in self._blocks, f"{path} is not open"
                assert self._fan(path).is_running(part), f"{block} is not running"
        here = self.definition.steps[self._root].id
        assert path == here, f"{path} is not where the run stands ({here})"


def done_last(undo: tuple[str, ...], path: str) -> tuple[str, ...]:
    """Once, also if it was done again: a step tried again has the same effect key, so one effect."""
    return (*(done for done in undo if done != path), path)


def _block(step: Step, path: str, number: int) -> str:
    return f"{path}[{number}]" if isinstance(step.shape, Foreach) else f"{path}/{number}"
