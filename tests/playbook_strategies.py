# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies: playbooks of every kind of step, in steps within steps, that can be run to their end.

`playbooks()` gives documents as an author writes them. Every expression in them is a key of `VALUES`, or asks for the
outcome of a step that stands before in the same block or around it. So a test can evaluate them without a CEL library,
and a CEL library gives the same.
"""

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

UNDO = "tests.undo"  # the call of every `compensate`
CALL = "tests.do"  # the call of every service step
CHILD = "child"  # the playbook of every child run
SIGNAL = "go"

MISSING = object()
VALUES: Mapping[str, Any] = {
    "true": True,
    "1 < 2": True,
    "false": False,
    "payload.missing": MISSING,  # has no value
    "[]": [],
    "['a']": ["a"],
    "[1, 2, 3]": [1, 2, 3],
    "[1, 2, 3, 4, 5, 6, 7]": [1, 2, 3, 4, 5, 6, 7],
}
CONDITIONS = st.sampled_from(["true", "1 < 2", "false", "true", "1 < 2", "payload.missing"])
ITEMS = st.sampled_from(["[]", "['a']", "[1, 2, 3]", "[1, 2, 3, 4, 5, 6, 7]", "payload.missing"])
OPTIONS = ["later", {"key": "deny", "ends": "fail"}]
OUTCOMES = ("PASS", "later", "FAIL", "deny")

LEAVES = ("agent", "human", "service", "wait", "playbook")
COMPOSITES = ("parallel", "foreach", "switch")
KINDS = (*LEAVES, *COMPOSITES)


@st.composite
def playbooks(draw: Any, kinds: tuple[str, ...] = KINDS, depth: int = 4, width: int = 3) -> dict[str, Any]:
    """`kinds` names at least one leaf; `depth` is how deep steps stand in steps, `width` how many in one list."""
    return _Author(draw, kinds, depth, width).playbook()


class _Author:
    def __init__(self, draw: Callable[[Any], Any], kinds: tuple[str, ...], depth: int, width: int) -> None:
        self.draw, self.width, self.depth = draw, width, depth
        self.leaves = [kind for kind in kinds if kind in LEAVES]
        self.composites = [kind for kind in kinds if kind in COMPOSITES]
        self.count = 0

    def playbook(self) -> dict[str, Any]:
        return {"id": "random", "steps": self.block(self.depth, (), at_least=min(2, self.width))}

    def block(self, depth: int, visible: tuple[str, ...], at_least: int = 0) -> list[dict[str, Any]]:
        """`visible` are the steps before and around that end with an outcome."""
        steps: list[dict[str, Any]] = []
        lengths = [length for length in (1, 2, 3, 0, *range(4, self.width + 1)) if at_least <= length <= self.width]
        for _ in range(self.draw(st.sampled_from(lengths))):  # the first is what a shrunk example has
            step = self.step(depth, visible)
            if step["type"] in ("agent", "human", "service"):
                visible = (*visible, step["id"])
            steps.append(step)
        for position, step in enumerate(steps):
            self.say_what_follows(step, [later["id"] for later in steps[position + 1 :]], depth, visible)
        return steps

    def step(self, depth: int, visible: tuple[str, ...]) -> dict[str, Any]:
        self.count += 1
        goes_deeper = (
            depth > 1 and self.composites and self.draw(st.integers(0, 4)) >= (2 if depth == self.depth else 3)
        )
        kind = self.draw(st.sampled_from(self.composites if goes_deeper else self.leaves))
        step = {"id": f"s{self.count}", "type": kind, **getattr(self, f"a_{kind}")(depth, visible)}
        if self.sometimes():
            step["when"] = self.draw(CONDITIONS)
        if self.sometimes():
            step["on_exhausted"] = "INCIDENT"
        if self.draw(st.booleans()):
            step["compensate"] = UNDO
        return step

    def sometimes(self) -> bool:
        return bool(self.draw(st.integers(0, 3)) == 3)

    def say_what_follows(self, step: dict[str, Any], later: list[str], depth: int, visible: tuple[str, ...]) -> None:
        for field in ("on_failure", "on_reject"):
            ways = ["CONTINUE", "SKIP_DOWNSTREAM"]
            ways += ["to"] if later else []
            ways += ["steps"] if depth > 1 else []
            way = self.draw(st.sampled_from(ways)) if self.sometimes() else "FAIL_RUN"
            if way == "to":
                step[field] = {"to": self.draw(st.sampled_from(later))}
            elif way == "steps":
                then = self.draw(st.sampled_from(["FAIL_RUN", "CONTINUE", "SKIP_DOWNSTREAM"]))
                step[field] = {"steps": self.block(depth - 1, ()), "then": then}
            else:
                step[field] = way

    # --- Leaves ---

    def a_agent(self, depth: int, visible: tuple[str, ...]) -> dict[str, Any]:
        return {"role": "agent:tester", "options": OPTIONS}

    def a_human(self, depth: int, visible: tuple[str, ...]) -> dict[str, Any]:
        return {"role": "human:tester", "options": OPTIONS}

    def a_service(self, depth: int, visible: tuple[str, ...]) -> dict[str, Any]:
        return {"role": "svc:tester", "call": CALL}

    def a_wait(self, depth: int, visible: tuple[str, ...]) -> dict[str, Any]:
        ways: list[dict[str, Any]] = [{"duration": 60}, {"until": "2026-06-01T09:00:00Z"}, {"signal": SIGNAL}]
        return dict(self.draw(st.sampled_from([*ways, {"signal": SIGNAL, "timeout": 60}])))

    def a_playbook(self, depth: int, visible: tuple[str, ...]) -> dict[str, Any]:
        return {"playbook": CHILD}

    # --- Steps of steps ---

    def a_parallel(self, depth: int, visible: tuple[str, ...]) -> dict[str, Any]:
        branches = [{"steps": self.block(depth - 1, visible)} for _ in range(self.draw(st.integers(1, 4)))]
        join = self.draw(st.sampled_from(["ALL", "ALL", "ANY", "ALL_DONE", len(branches), (len(branches) + 1) // 2]))
        on_failure = self.draw(st.sampled_from(["FAIL_FAST", "WAIT_ALL"]))
        step = {"branches": branches, "join": join, "on_branch_failure": on_failure, **self.concurrency()}
        return step | (self.tolerance() if join == "ALL" else {})

    def a_foreach(self, depth: int, visible: tuple[str, ...]) -> dict[str, Any]:
        steps = self.block(depth - 1, visible, at_least=1)
        return {"items": self.draw(ITEMS), "steps": steps, **self.concurrency(), **self.tolerance()}

    def a_switch(self, depth: int, visible: tuple[str, ...]) -> dict[str, Any]:
        cases: list[dict[str, Any]] = []
        on = self.draw(st.sampled_from(visible)) if visible and self.draw(st.booleans()) else None
        if on is not None:
            cases = [{"case": outcome, "steps": self.block(depth - 1, visible)} for outcome in ("PASS", "FAIL")]
        else:
            cases = [{"when": self.draw(CONDITIONS), "steps": self.block(depth - 1, visible)}]
        if self.draw(st.booleans()):
            cases.append({"key": "otherwise", "steps": self.block(depth - 1, visible)})
        return {"cases": cases, **({"on": on} if on else {})}

    def concurrency(self) -> dict[str, Any]:
        limit = self.draw(st.none() | st.integers(1, 3))
        return {} if limit is None else {"max_concurrency": limit}

    def tolerance(self) -> dict[str, Any]:
        how = self.draw(st.sampled_from(["", "", "count", "percentage"]))
        ways = {"count": {"tolerated_failure_count": 1}, "percentage": {"tolerated_failure_percentage": 40}}
        return ways.get(how, {})
