# SPDX-License-Identifier: Apache-2.0
"""Claims: a ready task is leased to whoever is to do it, and what its call is about to do is written down.

Agents claim by role (`runs/services.py`). Our own worker claims what a ticket names, several tasks at once where many
wait, and takes up the next step of a run in the very write that ends the step before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any

from django.db.models import BigIntegerField, Q, QuerySet

from accounts.models import User
from audit import actions
from audit.context import origin
from audit.services import Line, act, record, transitioned
from config import clock
from config.batch import Batch
from config.crash import crash_around_commit, crash_point
from config.prepared import Param, Reading
from runs.advance import Change, next_check
from runs.effects import effect_key, intend
from runs.inputs import handed, outputs_for, with_outputs
from runs.leases import Lease, hashed, new_token, ttl
from runs.models import Effect, Task, TaskState

CLAIM_FIELDS = (
    "state", "assignee", "token_hash", "credential", "holder", "fence",
    "claimed_at", "lease_expires_at", "next_check_at", "ready_at",
)  # fmt: skip

Held = tuple[Lease, Effect | None]
"""What our worker has taken up; a check of rules has no effect."""


def with_version(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """With run and version, but for the document: what it says is kept parsed (`Version.definition`)."""
    return tasks.select_related("run__version__playbook").defer("run__version__document")


def lease_each(batch: Batch, tasks: Sequence[Any], *, actor: User, holder: str = "") -> tuple[list[Lease], list[Line]]:
    """Claim these ready tasks, each read with its `db_now`, in the batch; the caller records the lines."""
    if not tasks:
        return [], []
    outputs = outputs_for(tasks)
    leases, lines = [], []
    for task in tasks:
        before = task.fence
        lease, line = _leased(task, outputs[task.pk], at=task.db_now, token=new_token(), actor=actor, holder=holder)
        leases.append(lease)
        lines.append(line)
        batch.update(task, *CLAIM_FIELDS, state=TaskState.PENDING, fence=before)
    return leases, lines


def write_claim(batch: Batch, lines: Sequence[Line]) -> None:
    if lines:
        record(lines, into=batch)
        with crash_around_commit("claim"):
            batch.write()


def _leased(
    task: Task, data: dict[str, Any], *, at: datetime, token: str, actor: User, holder: str
) -> tuple[Lease, Line]:
    given = handed(task, data)
    held = {
        "by": actor,
        "token_hash": hashed(token),
        "until": at + ttl(task),
        "credential": origin().credential,
        "holder": holder,
    }
    line = transitioned(task.claim, held, actor=actor, at=at, private={"input": given})
    task.next_check_at = next_check(task, task.definition, at=at)
    assert task.lease_expires_at is not None
    lease = Lease(task, token, task.fence, task.lease_expires_at, given, data)
    return lease, replace(line, subject=task.audit_subject())


# Our own worker -------------------------------------------------------------------------------------------


@act(actions.TASK_CLAIM_DENIED, one_write=True)
def claim_for_worker(*, task_ids: Sequence[int], actor: User, holder: str) -> list[Held]:
    """Lease those of the tasks that nobody was sooner to claim, and write down the effects that their calls intend.

    Of several, none whose effect must not be asked for twice: its lease may end before its turn has come, and nobody
    would know. Nothing is locked to read them: of two that read the same, one writes, and the other finds them gone.
    """
    batch = Batch()
    ready = _ready_for_worker(len(task_ids))(**_named(task_ids))
    if len(task_ids) > 1:
        ready = [task for task in ready if task.definition.effect != "once"]
    leases, lines = lease_each(batch, ready, actor=actor, holder=holder)
    found: list[Held] = []
    for lease in leases:
        effect, intended = _intended(batch, lease, actor)
        found.append((lease, effect))
        lines += intended
    crash_point("effect.before_intended_commit")
    write_claim(batch, lines)
    return found


def _intended(batch: Batch, lease: Lease, actor: User) -> tuple[Effect | None, list[Line]]:
    if lease.task.definition.call is None:
        return None, []
    assert lease.task.claimed_at is not None
    effect, line = intend(lease, actor=actor, at=lease.task.claimed_at, batch=batch)
    return effect, [line]


def _named(task_ids: Sequence[int]) -> dict[str, int]:
    return {f"task{number}": task_id for number, task_id in enumerate(task_ids)}


@cache
def _ready_for_worker(count: int) -> Reading[Task]:
    wanted = Q()
    for name in _named(range(count)):
        wanted |= Q(pk=Param(name, BigIntegerField()))
    ready = lambda: Task.objects.ready().filter(wanted, by_worker=True)  # noqa: E731
    return Reading(lambda: with_version(with_outputs(ready())).annotate(db_now=clock.Now(each_time=True)))


@dataclass(slots=True)
class Following:
    """Takes up what follows a step that our worker ends, if our worker is to do that too: it is born claimed.

    So a run of such steps needs neither a look nor a claim between them.
    """

    actor: User
    holder: str
    token: str = field(default_factory=new_token)
    held: Held | None = None

    def take(self, batch: Batch, change: Change) -> list[Line]:
        """Claim, in the batch that makes them, the first of the change's new tasks that is ready for our worker."""
        self.held = None  # the act may be tried again
        ready = (task for task in change.tasks if task.by_worker and task.ready_at and task.state == TaskState.PENDING)
        task = next(ready, None)
        if task is None:
            return []
        data = change.known.data(task.scope)
        lease, line = _leased(task, data, at=change.at, token=self.token, actor=self.actor, holder=self.holder)
        effect, intended = _intended(batch, lease, self.actor)
        self.held = lease, effect
        return [line, *intended]

    def find_again(self, run_id: int) -> None:
        """The step was ended by an act of whose commit nobody heard: what it took up is in the database."""
        mine = Task.objects.filter(run=run_id, state=TaskState.RUNNING, token_hash=hashed(self.token))
        task = with_version(mine).first()
        if task is None:
            return
        assert task.lease_expires_at is not None
        data = outputs_for([task])[task.pk]
        lease = Lease(task, self.token, task.fence, task.lease_expires_at, handed(task, data), data)
        has_call = task.definition.call is not None
        self.held = lease, Effect.objects.get(key=effect_key(lease)) if has_call else None
