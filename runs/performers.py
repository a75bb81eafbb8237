# SPDX-License-Identifier: Apache-2.0
"""Who opens, answers and closes which kind of step: how this room reaches a higher one.

Agent and service tasks are claimed from the task table and need nothing here. A human step is an action
request, which lives in the room above; that room registers the functions this one calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from audit.services import Line
from config.batch import Batch

if TYPE_CHECKING:
    from accounts.models import User
    from runs.inputs import Known
    from runs.leases import Lease
    from runs.models import Task


@dataclass(frozen=True, slots=True)
class Performer:
    opens: Callable[[Sequence[Task], datetime, Batch, Known], list[Line]]
    """(tasks, at, batch, what their run knows) → lines: ask their questions in the batch that makes them."""

    claims: Callable[..., list[Lease]]
    """(role, actor, limit) → the oldest open questions this person may decide, claimed."""

    completes: Callable[..., Task]
    """(task_id, actor, token, outcome, output, note) → the task, decided."""

    renews: Callable[..., datetime]
    """(task_id, actor, token) → when the claim on its question ends now."""

    asks: Callable[..., tuple[str, list[Line]]]
    """(task, batch, actor, at, role, reason, context, options, severity) → a question in mid-task: (its id, lines)."""

    closes: Callable[[Sequence[Task], datetime, bool], list[Line]]
    """Called in the transaction that ended the tasks: their questions are not required any more, or expired."""

    resumes: Callable[..., list[Line]]
    """(task, actor, at, batch) → lines: who asked in mid-task goes on, and uses the approval, in the same batch."""

    lapses: Callable[..., list[Line]]
    """(task, at, batch) → lines: nobody went on with what was approved, so that it is offered to others."""


_performers: dict[str, Performer] = {}
_checks: list[Callable[[Task], None]] = []
_openers: list[Callable[..., tuple[Any, tuple[str, ...]]]] = []


def register(kind: str, performer: Performer) -> None:
    _performers[kind] = performer


def check_before_call(check: Callable[[Task], None]) -> None:
    """Let `check(task)` refuse a call of our worker, by raising, before it is made."""
    if check not in _checks:
        _checks.append(check)


def refuse_call_unless_allowed(task: Task) -> None:
    for check in _checks:
        check(task)


def open_secrets_by(opener: Callable[..., tuple[Any, tuple[str, ...]]]) -> None:
    """Let `opener(task, actor=…, token=…)` fill in the secrets that a call of our worker is to be made with."""
    _openers[:] = [opener]


def opened_for_call(task: Task, *, actor: User, token: str) -> tuple[Any, tuple[str, ...]]:
    """(what the step's input maps, for this call alone; texts in it that must stand nowhere)."""
    return _openers[0](task, actor=actor, token=token) if _openers else (task.input, ())


def of(kind: str) -> Performer | None:
    return _performers.get(kind)


def answering(task: Task) -> Performer | None:
    """Who answers this task now: people do their own steps, and what the check of a governance step asks them."""
    asks = task.kind == "governance" and (task.state == "awaiting_approval" or task.approval is not None)
    return of("human" if asks else task.kind)


def of_role(role: str) -> Performer | None:
    """The performer behind a role's prefix: `human:…` is answered by people, not claimed from the table."""
    return _performers.get(role.partition(":")[0])
