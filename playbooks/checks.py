# SPDX-License-Identifier: Apache-2.0
"""What several fields of a document must agree on.

These look at the plain data, not at the models, so that they speak in the same answer as the faults of single
fields. They therefore trust nothing: a value of the wrong type is left to its model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from playbooks.definition import MAX_NESTING, PERFORMED_KINDS, StepKind
from playbooks.places import Flaw, Path, did_you_mean, listed, path_text, shown
from playbooks.schema import KIND_WORDS, MAX_ROLE_NAME, kind_of

Step = Mapping[str, Any]

MAX_IDS_TOGETHER = 200  # characters: keeps the path of every task within what its column holds
MADE_UP_ID = 16  # characters, at most
BLOCKS, BRANCHES, REACTIONS = ("steps", "tasks"), ("branches", "cases"), ("on_failure", "on_reject")


def flaws(document: Step) -> Iterator[Flaw]:
    yield from _block_flaws(document, "playbook")
    yield from _repeated_ids(document)
    yield from _nesting_flaws(document)
    yield from _reference_flaws(document)
    for path, step in steps_within(document):
        for flaw in _step_flaws(step):
            yield Flaw((*path, *flaw.at), flaw.message, flaw.remedy)


def steps_within(part: Step, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every step, those inside composite steps included, with its path."""
    for key in BLOCKS:
        for position, step in enumerate(_list(part.get(key))):
            at = (*path, key, position)
            yield at, step
            if isinstance(step, Mapping):
                yield from steps_within(step, at)
    for key in BRANCHES:
        for position, block in enumerate(_list(part.get(key))):
            if isinstance(block, Mapping):
                yield from steps_within(block, (*path, key, position))
    for key, detour in _detours(part):
        yield from steps_within(detour, (*path, key))


def _detours(step: Step) -> Iterator[tuple[str, Step]]:
    """What a failure or rejection branches to, with its field."""
    for key in REACTIONS:
        detour = step.get(key)
        if isinstance(detour, Mapping):
            yield key, detour


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _given(part: Step, *keys: str) -> list[str]:
    return [key for key in keys if part.get(key) is not None]


def _block_flaws(part: Step, noun: str) -> Iterator[Flaw]:
    given = _given(part, "steps", "tasks")
    if not given:
        yield Flaw(("steps",), "`steps` is missing.", f"List the steps of the {noun} under `steps` (or `tasks`).")
    elif len(given) > 1:
        yield Flaw(("tasks",), "Both `steps` and `tasks` are given.", "They mean the same: keep one.")


def _repeated_ids(document: Step) -> Iterator[Flaw]:
    first: dict[str, Path] = {}
    for path, step in steps_within(document):
        key = next(iter(_given(step, "id", "name")), "id") if isinstance(step, Mapping) else "id"
        step_id = step.get(key) if isinstance(step, Mapping) else None
        if not isinstance(step_id, str):
            continue
        if step_id in first:
            message = f"The step id {shown(step_id)} is used twice: {path_text(first[step_id])} has it too."
            yield Flaw((*path, key), message, "Give each step of the playbook its own id.")
        first.setdefault(step_id, path)


# Where steps stand to each other -----------------------------------------------------------------------------


def _nesting_flaws(document: Step) -> Iterator[Flaw]:
    for path, step in steps_within(document):
        around = _steps_around(document, path)
        if len(around) == MAX_NESTING:  # what lies deeper still is said by this
            message = f"Steps stand in steps more than {MAX_NESTING} levels deep."
            yield Flaw(path, message, "Move the inner steps to a playbook of their own: a step of type `playbook`.")
        together = sum(_id_length(each) for each in (*around, step))
        if around and together > MAX_IDS_TOGETHER:
            message = f"The ids of this step and of those around it have {together} characters together."
            yield Flaw(path, message, f"At most {MAX_IDS_TOGETHER}: give shorter ids; for people there is `title`.")


def _steps_around(document: Step, path: Path) -> list[Any]:
    ends = [end for end in range(2, len(path) - 1) if path[end - 2] in BLOCKS and isinstance(path[end - 1], int)]
    return [_value_at(document, path[:end]) for end in ends]


def _id_length(step: Any) -> int:
    given = _id_of(step)
    return len(given) if isinstance(given, str) else MADE_UP_ID


def _id_of(step: Any) -> Any:
    return next((step[key] for key in _given(step, "id", "name")), None) if isinstance(step, Mapping) else None


def _value_at(document: Any, path: Path) -> Any:
    for key in path:
        document = document[key]
    return document


def _reference_flaws(document: Step) -> Iterator[Flaw]:
    """Of fields that name another step: `to` a later one of the same list, `on` one that stands before."""
    places = {_id_of(step): path for path, step in steps_within(document) if isinstance(_id_of(step), str)}
    earlier: dict[str, Any] = {}
    for path, step in steps_within(document):
        if not isinstance(step, Mapping):
            continue
        for key, detour in _detours(step):
            target = detour.get("to")
            if isinstance(target, str) and not _comes_later(document, path, places.get(target, ())):
                message = f"No later step of the same list is called {shown(target)}."
                yield Flaw((*path, key, "to"), message, "Name a step that stands after this one, in the same list.")
        if kind_of(step) is StepKind.SWITCH and isinstance(step.get("on"), str):
            for flaw in _outcome_flaws(step, earlier):
                yield Flaw((*path, *flaw.at), flaw.message, flaw.remedy)
        if isinstance(_id_of(step), str):
            earlier[_id_of(step)] = step


def _comes_later(document: Step, path: Path, target: Path) -> bool:
    """Steps of a parallel step's `tasks` are branches of their own: none of them comes after another."""
    if path[:-1] != target[:-1] or path[-1] >= target[-1]:  # type: ignore[operator]  # both are positions
        return False
    holder = _value_at(document, path[:-2])
    return not (path[-2] == "tasks" and kind_of(holder) is StepKind.PARALLEL)


def _outcome_flaws(switch: Step, earlier: Mapping[Any, Any]) -> Iterator[Flaw]:
    asked = earlier.get(switch["on"])
    if asked is None or kind_of(asked) not in PERFORMED_KINDS:
        message = f"No earlier step that ends with an outcome is called {shown(switch['on'])}."
        yield Flaw(("on",), message, "Name an agent, human or service step that stands before the switch.")
        return
    options = [option.get("key") if isinstance(option, Mapping) else option for option in _list(asked.get("options"))]
    known = ["PASS", "FAIL", *(option for option in options if isinstance(option, str))]
    for position, case in enumerate(_list(switch.get("cases"))):
        outcome = case.get("case") if isinstance(case, Mapping) else None
        if isinstance(outcome, str) and outcome not in known:
            message = f"{shown(outcome)} is not an outcome of the step {shown(switch['on'])}."
            remedy = did_you_mean(outcome, known) or f"Its outcomes are {listed(dict.fromkeys(known))}."
            yield Flaw(("cases", position, "case"), message, remedy)


# Single steps ------------------------------------------------------------------------------------------------


def _step_flaws(step: Any) -> Iterator[Flaw]:
    if not isinstance(step, Mapping):
        message = f"A step is a mapping of fields, not {shown(step)}."
        yield Flaw((), message, 'Write for example `{"id": "AI-Screen", "role": "agent:validator"}`.')
        return
    kind = kind_of(step)
    if kind is None:
        yield _kind_flaw(step)
    yield from _id_flaws(step, kind)
    yield from _detour_flaws(step)
    if kind is not None and kind in RULES:
        yield from RULES[kind](step)


def _kind_flaw(step: Step) -> Flaw:
    if step.get("type") is not None:
        remedy = did_you_mean(str(step["type"]), KIND_WORDS) or f"Types are {listed(KIND_WORDS)}."
        return Flaw(("type",), f"{shown(step['type'])} is not a type of step.", remedy)
    if step.get("role") is not None:
        remedy = "A role begins with `agent:`, `human:` or `svc:`, for example `agent:validator`."
        return Flaw(("role",), f"{shown(step['role'])} is not a role.", remedy)
    remedy = 'Give it a `type` such as "script", or a `role` such as "agent:validator".'
    return Flaw((), "Nothing says what kind of step this is.", remedy)


def _id_flaws(step: Step, kind: StepKind | None) -> Iterator[Flaw]:
    given = _given(step, "id", "name")
    if len(given) > 1:
        yield Flaw(
            ("name",), "Both `id` and `name` are given.", "They mean the same; for people to read there is `title`."
        )
    if not given and (kind is None or kind in PERFORMED_KINDS):
        yield Flaw(("id",), "`id` is missing.", "Give the step an id that is unique in the playbook.")
    if kind in PERFORMED_KINDS and not _given(step, "role", "service", "agent"):
        step_id = step.get(given[0]) if given else None
        if isinstance(step_id, str) and len(step_id) > MAX_ROLE_NAME:
            message = "`role` is missing, and the id is too long to name one."
            yield Flaw(("role",), message, f"Give a role, or an id of at most {MAX_ROLE_NAME} characters.")


def _detour_flaws(step: Step) -> Iterator[Flaw]:
    for key, detour in _detours(step):
        given = _given(detour, "to", *BLOCKS)
        if not given:
            remedy = "Name a later step: `{to: …}`, or list steps: `{steps: […]}`."
            yield Flaw((key,), "Nothing says where the run branches to.", remedy)
        elif len(given) > 1:
            yield Flaw(
                (key, given[1]), f"The run would branch to several places: {listed(given)}.", "Keep one of them."
            )
        elif given == ["to"] and _given(detour, "then"):
            message = "`then` goes with `steps`."
            yield Flaw((key, "then"), message, "Leave it out: the run goes on at the step that `to` names.")


def _agent_flaws(step: Step) -> Iterator[Flaw]:
    if _given(step, "action") and not _given(step, "agent"):
        yield Flaw(("action",), "`action` goes with `agent`.", "Write `call` instead.")
    if len(_given(step, "action", "call")) > 1:
        yield Flaw(("call",), "Both `action` and `call` are given.", "They mean the same: keep one.")
    if len(_given(step, "agent", "role")) > 1 and step["role"] != f"agent:{step['agent']}":
        message = f"`agent` and `role` name two roles, {shown(step['agent'])} and {shown(step['role'])}."
        yield Flaw(("role",), message, "Keep one of them.")


def _service_flaws(step: Step) -> Iterator[Flaw]:
    given = _given(step, "service", "action")
    if given == ["service"]:
        yield Flaw(("action",), "`action` is missing beside `service`.", "Name the action of the service.")
    if given == ["action"]:
        yield Flaw(("action",), "`action` goes with `service`.", "Add `service`, or write `call` instead.")
    if len(given) == 2 and _given(step, "call"):
        yield Flaw(("call",), "`service` and `action` are the call already.", "Keep those two, or `call`.")


def _parallel_flaws(step: Step) -> Iterator[Flaw]:
    given = _given(step, "branches", "tasks")
    if not given:
        remedy = "List the steps that run side by side under `tasks`, or whole branches under `branches`."
        yield Flaw(("branches",), "The parallel step has no branches.", remedy)
    elif len(given) > 1:
        yield Flaw(("tasks",), "Both `branches` and `tasks` are given.", "Keep one of them.")
    for position, branch in enumerate(_list(step.get("branches"))):
        yield from _inner_block_flaws(branch, ("branches", position), "branch")
    wanted, branches = step.get("join"), _list(step.get(given[0])) if given else []
    if isinstance(wanted, int) and branches and wanted > len(branches):
        message = f"`join` waits for {wanted} of {len(branches)} branches."
        yield Flaw(("join",), message, "Wait for fewer, or write `ALL`.")
    tolerated = _given(step, "tolerated_failure_count", "tolerated_failure_percentage")
    if tolerated and wanted not in (None, "ALL"):
        yield Flaw((tolerated[0],), f"`{tolerated[0]}` goes with the join ALL.", "Leave it out.")


def _switch_flaws(step: Step) -> Iterator[Flaw]:
    cases = _list(step.get("cases"))
    outcomes: set[Any] = set()
    for position, case in enumerate(cases):
        yield from _inner_block_flaws(case, ("cases", position), "case")
        if isinstance(case, Mapping):
            for flaw in _case_flaws(case, step, is_last=position == len(cases) - 1, outcomes=outcomes):
                yield Flaw(("cases", position, *flaw.at), flaw.message, flaw.remedy)
    if _given(step, "on") and not outcomes:
        yield Flaw(("on",), "`on` goes with cases that name an outcome.", "Give each case a `case`, or leave `on` out.")


def _case_flaws(case: Step, switch: Step, *, is_last: bool, outcomes: set[Any]) -> Iterator[Flaw]:
    """`outcomes` are those of the cases before; that of this one is added."""
    given = _given(case, "when", "case")
    if not given and not is_last:
        message = "A case without a condition hides the cases after it."
        yield Flaw((), message, "Give it a `when` or a `case`, or put it last: there it is the default.")
    if len(given) > 1:
        yield Flaw(("case",), "Both `when` and `case` are given.", "Keep one of them.")
    if "case" not in given or not isinstance(case["case"], str):
        return
    if not _given(switch, "on"):
        remedy = "Name the step whose outcome it is: `on` beside `cases`."
        yield Flaw(("case",), "`case` is an outcome, and `on` does not say of which step.", remedy)
    if case["case"] in outcomes:
        yield Flaw(
            ("case",), f"An earlier case is {shown(case['case'])} already.", "The first one runs: leave this out."
        )
    outcomes.add(case["case"])


def _inner_block_flaws(block: Any, path: Path, noun: str) -> Iterator[Flaw]:
    if isinstance(block, Mapping):
        for flaw in _block_flaws(block, noun):
            yield Flaw((*path, *flaw.at), flaw.message, flaw.remedy)


def _foreach_flaws(step: Step) -> Iterator[Flaw]:
    yield from _block_flaws(step, "foreach step")


def _wait_flaws(step: Step) -> Iterator[Flaw]:
    given = _given(step, "duration", "until", "signal")
    if not given:
        yield Flaw((), "Nothing says what is waited for.", "Give `duration`, `until` or `signal`.")
    elif len(given) > 1:
        yield Flaw((given[1],), f"The step waits for several things: {listed(given)}.", "Keep one of them.")
    if _given(step, "timeout") and "signal" not in given:
        yield Flaw(("timeout",), "`timeout` goes with `signal`.", "Leave it out.")


RULES: Mapping[StepKind, Callable[[Step], Iterator[Flaw]]] = {
    StepKind.AGENT: _agent_flaws,
    StepKind.SERVICE: _service_flaws,
    StepKind.PARALLEL: _parallel_flaws,
    StepKind.FOREACH: _foreach_flaws,
    StepKind.SWITCH: _switch_flaws,
    StepKind.WAIT: _wait_flaws,
}
