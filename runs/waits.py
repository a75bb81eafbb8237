# SPDX-License-Identifier: Apache-2.0
"""Steps that wait: for a while, until a moment, or for a signal, which is kept if it comes before anybody waits."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from accounts.models import User
from audit import actions
from audit.services import SYSTEM, Actor, Line, act, record, transitioned
from config import clock
from config.batch import Batch
from config.errors import Forbidden, Invalid, Problem, WrongState
from playbooks.definition import Step, Wait
from runs import engine
from runs.advance import Change
from runs.inputs import Known
from runs.models import Run, RunState, Signal, Task, TaskState
from runs.services import advance_by, end_task, kept_of, waited_in_vain
from runs.stopping import locked_run

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
KEPT = 1000  # signals of one run that nobody waits for yet


@act(actions.RUN_SIGNAL_DENIED)
def send_signal(*, run_id: int, actor: User, name: str, data: Any = None) -> tuple[Run, Task | None]:
    """Tell a run that something has happened: (run, the task that waited for it). Each signal is got by one step,
    the one that has waited longest; with none, it is kept for the next that waits.

    Who started the run, members of its roles that do work in it, and holders of `runs.control` may send.
    Raises NotFound, Forbidden, Invalid for a bad name or data that the waiting step cannot use, WrongState for a run
    that has ended or is being cancelled.
    """
    run = locked_run(run_id, actor)
    _refuse_stranger(run, actor)
    if not NAME.fullmatch(name):
        remedy = "Use letters, digits, `_`, `.` and `-`, at most 100, as the playbook writes it."
        raise Invalid("That is no name of a signal.", errors=[Problem("name", "not a name", remedy)])
    if run.state != RunState.RUNNING:
        raise WrongState(f"The run is {run.get_state_display().lower()}: it takes no signals.", subject=run)
    if run.signals.filter(task=None).count() >= KEPT:
        raise WrongState(f"The run keeps {KEPT} signals that nobody has waited for; it takes no more.", subject=run)
    at = clock.now()
    signal = Signal(run=run, name=name, data=data, sent_by=actor, sent_at=at)
    signal.save(force_insert=True)
    sent = Line(
        actions.RUN_SIGNALLED,
        run.audit_subject(),
        actor,
        at,
        data={"signal": name, "number": str(signal.pk)},
        private={} if data is None else {"data": data},
    )
    task = _first_waiting(run, name)
    if task is None:
        record([sent])
    else:
        receive(task, signal, actor=SYSTEM, at=at, first=[sent])
    return run, task


def _refuse_stranger(run: Run, actor: User) -> None:
    roles = set(run.version.roles.values_list("name", flat=True))
    if run.started_by_id == actor.pk or actor.has_perm("runs.control") or roles & set(actor.roles):
        return
    raise Forbidden("Only who started the run, who works in it, or holders of runs.control may signal it.", subject=run)


def _first_waiting(run: Run, name: str) -> Task | None:
    steps = [step.id for step in run.version.definition.walk() if awaited_by(step) == name]
    waiting = run.tasks.select_for_update(of=("self",)).filter(kind="wait", step__in=steps, state=TaskState.PENDING)
    task = waiting.order_by("id").first()
    if task is not None:
        task.run = run
    return task


def awaited_by(step: Step) -> str:
    """The signal that a step waits for, if it is such a step."""
    return step.shape.signal if isinstance(step.shape, Wait) else ""


def kept_for(task: Task) -> Signal | None:
    """The oldest signal that came before this step waited for it."""
    name = awaited_by(task.definition)
    if not name:
        return None
    kept = Signal.objects.select_for_update(of=("self",)).filter(run=task.run_id, name=name, task=None)
    return kept.order_by("id").first()


def receive(task: Task, signal: Signal, *, actor: Actor, at: datetime, first: list[Line] | None = None) -> None:
    """The signal has come for this locked task of a locked run. Raises Invalid if the step cannot use its data."""
    known = Known(task.run, task)
    output = kept_of(task, signal.data, known)
    facts = {"signal": signal.name, "number": str(signal.pk)}
    line = transitioned(task.arrive, {"output": output}, actor=actor, at=at, data=facts)
    batch = Batch()
    signal.task = task
    batch.update(signal, "task", task=None)
    advance = advance_by(known, engine.signal_received)
    end_task(batch, line, Change(known, at=at, locked=True), advance, first=first or [])


def wake_up(task: Task, *, at: datetime) -> None:
    """The time of this locked task of a locked run has come: its wait is over, or its signal has not come."""
    known = Known(task.run, task)
    change = Change(known, at=at, locked=True)
    name = awaited_by(task.definition)
    if name:
        line = waited_in_vain(task, "SignalTimeout", f"the signal {name} did not come in time", at=at)
    else:
        line = transitioned(task.arrive, {"output": None}, actor=SYSTEM, at=at)
    end_task(Batch(), line, change, advance_by(known, engine.timer_fired))
