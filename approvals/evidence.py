# SPDX-License-Identifier: Apache-2.0
"""What a reviewer reads before deciding: what exactly is bound, the run so far, the log. Complete, and only shown.

All of it is text of authors, agents and applicants: hidden characters become visible here, templates escape it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approvals.binding import what_is_asked
from approvals.changes import Changed
from approvals.models import ActionRequest
from approvals.rights import rules_of
from approvals.secrets import MASK, secret_fields
from audit import actions
from audit.canonical import canonical, digest
from audit.models import Entry, Result
from audit.shown import as_text, made_visible
from audit.visibility import entries_of_request, entries_of_run
from playbooks.definition import PERFORMED_KINDS, Call, Definition
from runs.models import OPEN_TASKS, Run, Task, TaskState

LOG_LINES = 50
KEPT_UNDER = ("asked.context.", "asked.input.", "action.payload.", "action.input.")
LONG_CHARACTERS, LONG_LINES = 800, 16  # beyond these a value scrolls in a box of its own


@dataclass(frozen=True, slots=True)
class Value:
    """One named value, complete."""

    name: str
    text: str
    is_code: bool  # JSON, not plain text
    title: str = ""  # how the playbook's form names it

    @property
    def is_long(self) -> bool:
        return len(self.text) > LONG_CHARACTERS or self.text.count("\n") >= LONG_LINES


@dataclass(frozen=True, slots=True)
class CallShown:
    heading: str
    action: str
    arguments: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class StepShown:
    """One attempt at a step, or a step that has not begun."""

    step: str
    title: str
    role: str
    state: str
    attempt: int = 1
    outcome: str = ""
    at: datetime | None = None
    note: str = ""
    fault: str = ""
    source: str = ""  # who says so
    is_checked: bool = True  # by people or the engine; what programs supply is their word
    output: tuple[Value, ...] = ()
    is_this: bool = False
    has_begun: bool = True


@dataclass(frozen=True, slots=True)
class LogLine:
    at: datetime
    actor: str
    kind: str
    what: str
    step: str
    move: str
    note: str
    refused: str  # the code of the refusal, if it is one


@dataclass(frozen=True, slots=True)
class Evidence:
    payload: tuple[Value, ...]  # of the run, or the context an agent sent along
    call: CallShown | None  # what this very step was declared to do
    steps: tuple[StepShown, ...]
    log: tuple[LogLine, ...]
    bound_text: str  # everything the digest is about, as JSON
    bound_bytes: int  # length of its canonical form; 0 if it has none
    digest: str  # of what is shown here, computed anew; the stored one has to equal it
    may_see_run: bool


def evidence_for(request: ActionRequest, reader: Any) -> Evidence:
    """Of a request that the reader may see, read with its run, version, task and requester."""
    may_see_run = request.run_id is not None and Run.objects.visible_to(reader).filter(pk=request.run_id).exists()
    definition = request.run.version.definition if request.run else None
    declared = request.asked.get("call")
    bound = what_is_asked(request)
    size, shown_digest = _measured(bound)
    return Evidence(
        payload=_payload(request, definition),
        call=call_shown("This step", Call(declared["action"], declared["arguments"])) if declared else None,
        steps=tuple(_steps(request, definition)) if may_see_run and definition else (),
        log=_log(request, whole_run=may_see_run),
        bound_text=as_text(bound),
        bound_bytes=size,
        digest=shown_digest,
        may_see_run=may_see_run,
    )


def call_shown(heading: str, call: Call) -> CallShown:
    return CallShown(heading, made_visible(call.action), values_of(call.arguments))


def values_of(
    given: Mapping[str, Any], *, titles: Mapping[str, str] | None = None, masked: Collection[str] = ()
) -> tuple[Value, ...]:
    return tuple(
        _value(name, MASK if name in masked else value, made_visible((titles or {}).get(name, "")))
        for name, value in given.items()
    )


def answer_of(request: ActionRequest) -> tuple[Value, ...]:
    """What the decider filled in. Secrets are not shown, not even to their giver."""
    answer, form = request.response_data or {}, request.form or {}
    return values_of(answer, titles=_titles(form), masked=secret_fields(request, answer))


def _value(name: str, value: Any, title: str) -> Value:
    is_text = isinstance(value, str)
    return Value(made_visible(name), made_visible(value) if is_text else as_text(value), not is_text, title)


def _titles(schema: Mapping[str, Any]) -> dict[str, str]:
    described = schema.get("properties", {})
    return {name: str(inner.get("title", "")) for name, inner in described.items() if isinstance(inner, Mapping)}


def _payload(request: ActionRequest, definition: Definition | None) -> tuple[Value, ...]:
    if "input" not in request.asked:
        return values_of(request.asked.get("context", {}))
    # `data`, the outputs of earlier steps, is shown with the step that gave it.
    given = {name: value for name, value in request.asked["input"].items() if name != "data"}
    schema = (definition.payload_schema if definition else None) or {}
    order = [name for name in schema.get("x-order", ()) if name in given]
    ordered = {name: given[name] for name in dict.fromkeys([*order, *given])}
    return (*values_of(ordered, titles=_titles(schema)), *values_of(request.asked.get("context", {})))


def _measured(bound: Mapping[str, Any]) -> tuple[int, str]:
    try:
        return len(canonical(bound)), digest(bound)
    except ValueError:
        return 0, ""


@dataclass(frozen=True, slots=True)
class ChangeShown:
    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class RevisionShown:
    number: int
    made_by: Any
    made_at: datetime
    reason: str
    keeps_votes: bool
    shown: tuple[ChangeShown, ...]


def revisions_of(request: ActionRequest) -> list[RevisionShown]:
    """How what is asked has changed, newest first."""
    if request.revision == 1:
        return []
    return [
        RevisionShown(
            each.number, each.made_by, each.made_at, each.reason, each.keeps_votes, tuple(map(_change, each.changes))
        )
        for each in request.revisions.filter(number__gt=1).select_related("made_by").order_by("-number")
    ]


def changes_shown(changes: Iterable[Changed]) -> tuple[ChangeShown, ...]:
    return tuple(_change(each.as_json()) for each in changes)


def _change(change: Mapping[str, Any]) -> ChangeShown:
    before, after = (as_text(change[name]) if name in change else None for name in ("before", "after"))
    return ChangeShown(made_visible(_place(change["path"])), before, after)


def _place(path: str) -> str:
    """As people know the field: where it is kept within what is asked tells them nothing."""
    return next((path.removeprefix(prefix) for prefix in KEPT_UNDER if path.startswith(prefix)), path)


# The run --------------------------------------------------------------------------------------------------


def _steps(request: ActionRequest, definition: Definition) -> Iterator[StepShown]:
    tasks = list(Task.objects.filter(run=request.run_id).select_related("assignee").order_by("id"))
    for task in tasks:
        yield _step_shown(task, definition, is_this=task.pk == request.task_id)
    begun = {task.step for task in tasks}
    waiting = "still to come" if request.run and request.run.is_open else "not done"
    for step in definition.walk():
        if step.id not in begun and step.kind in PERFORMED_KINDS:
            yield StepShown(
                made_visible(step.id), made_visible(step.title), made_visible(step.role), state=waiting, has_begun=False
            )


def _step_shown(task: Task, definition: Definition, *, is_this: bool) -> StepShown:
    output = task.output if isinstance(task.output, Mapping) else {"output": task.output}
    return StepShown(
        step=made_visible(task.step),
        title=made_visible(definition.step(task.step).title),
        role=made_visible(task.role),
        state="you are here" if is_this and task.state in OPEN_TASKS else str(TaskState(task.state).label).lower(),
        attempt=task.attempt,
        outcome=made_visible(task.outcome),
        at=task.ended_at,
        note=made_visible(task.note),
        fault=made_visible(f"{task.error_type}: {task.error_message}" if task.error_type or task.error_message else ""),
        source=_source(task),
        is_checked=task.kind in ("human", "governance"),
        output=() if task.output is None else values_of(output),
        is_this=is_this,
    )


def _source(task: Task) -> str:
    if task.kind == "human":
        by = (task.approval or {}).get("by", "")
        return f"Answered by {made_visible(by)}." if by else ""
    if task.kind == "governance":
        return "Found by the rules in force."
    if task.assignee is None:
        return ""
    name, model = made_visible(task.assignee.get_username()), made_visible(task.assignee.model_name)
    if task.kind == "agent":
        return f"Supplied by the agent {name}{f' ({model})' if model else ''}, not checked."
    return f"Supplied by the service {name}, not checked."


# The log --------------------------------------------------------------------------------------------------


def _log(request: ActionRequest, *, whole_run: bool) -> tuple[LogLine, ...]:
    """The last lines, oldest first."""
    if whole_run and request.run_id is not None:
        entries = entries_of_run(request.run_id)
    else:
        entries = entries_of_request(request.id)
    if request.is_open and rules_of(request).blind:
        entries = entries.exclude(action=actions.REQUEST_VOTED)  # nobody sees another's vote before their own
    return _lines(list(entries.order_by("-id")[:LOG_LINES]))


def _lines(newest_first: Sequence[Entry]) -> tuple[LogLine, ...]:
    return tuple(_line(entry) for entry in reversed(newest_first))


def _line(entry: Entry) -> LogLine:
    words = entry.action.removeprefix("hitl.").replace(".", " ").replace("_", " ")
    return LogLine(
        at=entry.at,
        actor=made_visible(entry.actor_name),
        kind=entry.actor_type,
        what=words.capitalize(),
        step=made_visible(entry.step),
        move=" → ".join(state for state in (entry.from_state, entry.to_state) if state).replace("_", " "),
        note=made_visible(entry.note),
        refused=entry.code if entry.result == Result.DENIED else "",
    )
