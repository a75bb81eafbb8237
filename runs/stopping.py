# SPDX-License-Identifier: Apache-2.0
"""Runs that people end: cancelled, which lets what runs finish and undoes what was done, or terminated at once."""

from __future__ import annotations

from datetime import datetime

from accounts.models import User
from audit import actions
from audit.services import Actor, act, transitioned
from config import clock
from config.errors import Forbidden, Invalid, NotFound, Problem, WrongState
from runs import engine
from runs.advance import Change, position, write
from runs.inputs import Known
from runs.models import Run, RunState, TaskState


@act(actions.RUN_CANCEL_DENIED)
def cancel_run(*, run_id: int, actor: User, reason: str = "") -> Run:
    """Cancel gracefully: what waits is closed at once, what runs hears `cancel_requested` and may finish, and then
    every completed step with a `compensate` is undone, the last one first.

    Raises NotFound, Forbidden, WrongState for a run that has ended, or is failing and undoes already what was done.
    Cancelling twice is cancelling once.
    """
    run = _to_control(run_id, actor, "cancel")
    if run.state in (RunState.CANCELLING, RunState.CANCELLED):
        return run
    _refuse_unless_open(run)
    if position(run).undoing is not None:
        raise WrongState("The run has failed, and what it did is being undone. Terminate it to stop that.", subject=run)
    cancel(run, actor=actor, at=clock.now(), reason=reason)
    return run


def cancel(run: Run, *, actor: Actor, at: datetime, reason: str = "") -> None:
    """Cancel a locked run that is open and goes on."""
    change = Change(Known(run), at=at, locked=True)
    cancelling = transitioned(run.cancel, actor=actor, at=at, note=reason)
    if run.tasks.filter(state=TaskState.RUNNING).exists():
        change.close(engine.ROOT, but_held=True)
    else:
        change.take(engine.run_cancelled(run.version.definition, position(run)))
    write(change, [cancelling])


@act(actions.RUN_TERMINATE_DENIED)
def terminate_run(*, run_id: int, actor: User, reason: str) -> Run:
    """End a run at once, also one that is being cancelled: everything open is closed, and nothing is undone.

    Raises NotFound, Forbidden, Invalid without a reason, WrongState for a run that has ended otherwise.
    """
    run = _to_control(run_id, actor, "terminate")
    if not reason.strip():
        raise Invalid("Say why the run is terminated.", errors=[Problem("reason", "missing", "Give a reason.")])
    if run.state == RunState.TERMINATED:
        return run
    _refuse_unless_open(run)
    terminate(run, actor=actor, at=clock.now(), reason=reason)
    return run


def terminate(run: Run, *, actor: Actor, at: datetime, reason: str) -> None:
    """Terminate a locked run that is open."""
    change = Change(Known(run), at=at, locked=True)
    change.close(engine.ROOT)
    write(change, [transitioned(run.terminate, actor=actor, at=at, note=reason)])


def fail_run(run: Run, *, at: datetime, reason: str) -> None:
    """End a locked run as failed, whatever is open in it; what was done is undone first."""
    change = Change(Known(run), at=at, locked=True)
    change.take(engine.run_failed(run.version.definition, position(run), reason=reason))
    write(change, [])


def _to_control(run_id: int, actor: User, verb: str) -> Run:
    run = locked_run(run_id, actor)
    if not (run.started_by_id == actor.pk or actor.has_perm("runs.control")):
        raise Forbidden(f"Only who started the run, or holders of runs.control, may {verb} it.", subject=run)
    return run


def _refuse_unless_open(run: Run) -> None:
    if not run.is_open:
        raise WrongState(f"The run has ended: {run.state}.", subject=run)


def locked_run(run_id: int, actor: User) -> Run:
    """Raises NotFound."""
    rows = Run.objects.select_for_update(of=("self",)).select_related("version__playbook", "started_by")
    run = rows.visible_to(actor).filter(pk=run_id).first()
    if run is None:
        raise NotFound(f"There is no run {run_id}, or you may not see it.")
    return run
