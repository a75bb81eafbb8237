# SPDX-License-Identifier: Apache-2.0
"""What several fields of a document must agree on.

These look at the plain data, not at the models, so that they speak in the same answer as the faults of single
fields. They therefore trust nothing: a value of the wrong type is left to its model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from playbooks.definition import PERFORMED_KINDS, StepKind
from playbooks.places import Flaw, Path, did_you_mean, listed, path_text, shown
from playbooks.schema import KIND_WORDS, MAX_ROLE_NAME, kind_of

Step = Mapping[str, Any]


def flaws(document: Step) -> Iterator[Flaw]:
    yield from _block_flaws(document, "playbook")
    yield from _repeated_ids(document)
    for path, step in steps_within(document):
        for flaw in _step_flaws(step):
            yield Flaw((*path, *flaw.at), flaw.message, flaw.remedy)


def steps_within(part: Step, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every step, those inside composite steps included, with its path."""
    for key in ("steps", "tasks"):
        for position, step in enumerate(_list(part.get(key))):
            at = (*path, key, position)
            yield at, step
            if isinstance(step, Mapping):
                yield from steps_within(step, at)
    for key in ("branches", "cases"):
        for position, block in enumerate(_list(part.get(key))):
            if isinstance(block, Mapping):
                yield from steps_within(block, (*path, key, position))


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


def _step_flaws(step: Any) -> Iterator[Flaw]:
    if not isinstance(step, Mapping):
        message = f"A step is a mapping of fields, not {shown(step)}."
        yield Flaw((), message, 'Write for example `{"id": "AI-Screen", "role": "agent:validator"}`.')
        return
    kind = kind_of(step)
    if kind is None:
        yield _kind_flaw(step)
    yield from _id_flaws(step, kind)
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


def _switch_flaws(step: Step) -> Iterator[Flaw]:
    cases = _list(step.get("cases"))
    for position, case in enumerate(cases):
        yield from _inner_block_flaws(case, ("cases", position), "case")
        is_last = position == len(cases) - 1
        if isinstance(case, Mapping) and not _given(case, "when") and not is_last:
            message = "A case without a condition hides the cases after it."
            yield Flaw(("cases", position), message, "Give it a `when`, or put it last: there it is the default.")


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


RULES: Mapping[StepKind, Callable[[Step], Iterator[Flaw]]] = {
    StepKind.AGENT: _agent_flaws,
    StepKind.SERVICE: _service_flaws,
    StepKind.PARALLEL: _parallel_flaws,
    StepKind.FOREACH: _foreach_flaws,
    StepKind.SWITCH: _switch_flaws,
    StepKind.WAIT: _wait_flaws,
}
