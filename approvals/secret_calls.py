# SPDX-License-Identifier: Apache-2.0
"""Secrets for calls that our own worker makes: opened as the call is made, for the step whose `input` asks for them.

A handle is opened only where the expression it came by names the step that asked the person. One that came another way
(in the payload, or repeated by an agent) stays a handle: whoever put it there could have it sent somewhere else.

Opening is the one handing out. The values are in no row, and the worker blots them out of whatever the call says. What
a failed call has taken is gone: another attempt is refused, and the person has to be asked again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from typing import Any

from accounts.models import User
from approvals.models import ActionRequest
from approvals.reading import locked
from approvals.secret_services import SecretDamaged, SecretGone, hand_out
from approvals.secrets import handle
from audit import actions
from audit.services import SYSTEM, Line, act, record
from config import clock
from playbooks import expressions
from playbooks.catalogue import Permanent
from runs.leases import refuse_unless_held
from runs.models import Task

Handle = tuple[str, str]  # the request, and the field of its answer


class SecretUsedUp(Permanent):
    """The secret that the call needs was handed out, taken back or destroyed: trying again does not bring it back."""


def opened_for_call(task: Task, *, actor: User, token: str) -> tuple[Any, tuple[str, ...]]:
    """(what the step's input maps, with the values of the secrets it names; their texts, to be blotted out).

    Raises SecretUsedUp; LeaseLost; Unavailable, with nothing destroyed, if this process lacks the key.
    """
    named = _named(task)
    if not named:
        return task.input, ()
    try:
        values = _opened(task_id=task.pk, actor=actor, token=token, handles=frozenset().union(*named.values()))
    except (SecretGone, SecretDamaged) as refusal:
        raise SecretUsedUp(f"{refusal.detail} The step that asked for it has to ask again: fork the run there.")
    given = {name: _filled(value, values, named.get(name, frozenset())) for name, value in (task.input or {}).items()}
    return given, tuple(text for value in values.values() for text in _texts(value))


@act(actions.SECRET_UNWRAP_DENIED)
def _opened(*, task_id: int, actor: User, token: str, handles: Set[Handle]) -> dict[Handle, Any]:
    """All of them, or none."""
    values: dict[Handle, Any] = {}
    lines: list[Line] = []
    for request_id in sorted({request_id for request_id, _ in handles}):
        request = locked(request_id, SYSTEM)
        at = clock.now()
        refuse_unless_held(Task.objects.get(pk=task_id), token=token, actor=actor, at=at)
        fields = {field for of, field in handles if of == request_id}
        found, ended = hand_out(request, actor=actor, at=at, fields=fields)
        values |= {(request_id, field): value for field, value in found.items()}
        lines += ended
    record(lines)
    return values


def _named(task: Task) -> dict[str, frozenset[Handle]]:
    """By name of the input: the handles in it that its expression asks for."""
    there = {name: frozenset(_handles_in(value)) for name, value in (task.input or {}).items()}
    asked = {request_id for handles in there.values() for request_id, _ in handles}
    if not asked:
        return {}
    requests = ActionRequest.objects.filter(pk__in=asked, run=task.run_id, task__isnull=False)
    step_of = dict(requests.values_list("pk", "task__step"))
    named = {}
    for name, handles in there.items():
        steps = _steps_named(task, name)
        if good := frozenset(one for one in handles if step_of.get(one[0]) in steps):
            named[name] = good
    return named


def _steps_named(task: Task, name: str) -> frozenset[str]:
    written = (task.definition.input or {}).get(name)
    return expressions.steps_in(written) if isinstance(written, str) else frozenset()


# Handles in JSON ------------------------------------------------------------------------------------------


def _handles_in(value: Any) -> Iterator[Handle]:
    found = _as_handle(value)
    if found is not None:
        yield found
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _handles_in(part)


def _as_handle(value: Any) -> Handle | None:
    if not isinstance(value, Mapping):
        return None
    request_id, field = value.get("secret_of"), value.get("field")
    if not isinstance(request_id, str) or not isinstance(field, str) or value != handle(request_id, field):
        return None
    return request_id, field


def _filled(value: Any, values: Mapping[Handle, Any], named: Set[Handle]) -> Any:
    found = _as_handle(value)
    if found is not None:
        return values[found] if found in named else value
    if isinstance(value, Mapping):
        return {name: _filled(part, values, named) for name, part in value.items()}
    return [_filled(part, values, named) for part in value] if isinstance(value, list) else value


def _texts(value: Any) -> Iterator[str]:
    """What of a value a service could repeat: its texts, and its numbers as they are written."""
    if isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)
    elif isinstance(value, str):
        yield from [value] if value else []
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)
