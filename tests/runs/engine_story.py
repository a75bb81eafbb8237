# SPDX-License-Identifier: Apache-2.0
"""A run told event by event: each call answers what the engine asks for, as words.

story = Story(agent("a"), parallel("check", [agent("b")], [agent("c")]))
assert story.starts() == ["open a"]
assert story.ended("a") == ["enter check", "open check/0/b", "open check/1/c"]
"""

from functools import partial

from playbooks.parse import parse_data
from runs import engine
from runs.engine import Position, Unevaluable


def agent(step_id, **fields):
    return {"id": step_id, "type": "agent", **fields}


def human(step_id, **fields):
    return {"id": step_id, "type": "human", **fields}


def parallel(step_id, *branches, **fields):
    return {"id": step_id, "type": "parallel", "branches": [{"steps": list(steps)} for steps in branches], **fields}


def foreach(step_id, items, *steps, **fields):
    return {"id": step_id, "type": "foreach", "items": items, "steps": list(steps), **fields}


def switch(step_id, *cases, **fields):
    return {"id": step_id, "type": "switch", "cases": list(cases), **fields}


def wait(step_id, **fields):
    return {"id": step_id, "type": "wait", **fields}


class Story:
    """`values` are what expressions give, by their text; any other cannot be evaluated."""

    def __init__(self, *steps, values=None):
        self.definition = parse_data({"id": "story", "steps": list(steps)}).definition
        self.position = Position()
        self.values = values or {}
        self.asked = []  # (expression, path)

    def evaluate(self, expression, path, told):
        self.asked.append((expression, path))
        if expression not in self.values:
            raise Unevaluable(f"`{expression}` at {path} has no value")
        return self.values[expression]

    def take(self, advance):
        self.position = advance.position
        self.moves = advance.moves
        return [in_words(move) for move in advance.moves]

    def starts(self):
        return self.take(engine.start(self.definition, self.evaluate))

    def _told(self, event, path, *said, **more):
        return self.take(event(self.definition, self.position, path, *said, self.evaluate, **more))

    def ended(self, path, outcome="PASS"):
        return self._told(engine.step_ended, path, outcome)

    def child_ended(self, path, state):
        return self._told(engine.child_ended, path, state)

    def __getattr__(self, name):
        """`story.failed("a")` is the event `step_failed`, and so on."""
        events = {"rejected": engine.step_rejected, "failed": engine.step_failed, "skipped": engine.step_skipped}
        events |= {"retried": engine.step_retried, "timer": engine.timer_fired, "signal": engine.signal_received}
        if name not in events:
            raise AttributeError(name)
        return partial(self._told, events[name])


def in_words(move):
    match move:
        case engine.SetTimer(_, path, seconds, moment):
            return f"timer {path} {moment.isoformat() if moment else seconds}"
        case engine.AwaitSignal(_, path, name):
            return f"await {path} {name}"
        case engine.Enter(_, path, items, case):
            return " ".join(["enter", path, *([str(list(items))] if items else []), *([case] if case else [])])
        case engine.Leave(_, path, outcome, passed, failed):
            counts = [f"{passed}+{failed}"] if passed or failed else []
            return " ".join(["leave", path, outcome, *counts])
        case engine.Fail(step_id, path):
            return f"fail {path}" if step_id else "fail"
        case engine.Complete() | engine.Cancelled():
            return type(move).__name__.lower()
    words = {"StartChild": "child"}
    name = type(move).__name__
    return f"{words.get(name, name.lower())} {move.path}"
