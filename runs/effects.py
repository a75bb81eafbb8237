# SPDX-License-Identifier: Apache-2.0
"""Effects on the world outside: requested at least once under one stable key, taking effect once.

The intent is committed before the call, the confirmation with the step's outcome. A result that was confirmed
under the key is returned instead of asking again, so neither a retry nor a fork nor a replay charges twice.

What follows where the fate of an earlier request is not known is the step's `effect`:

    keyed          ask again under the same key: the receiver honours it
    query_first    ask the receiver what came of it, and only then again
    once           nobody asks again: it becomes an incident, and an operator finds out
"""

from __future__ import annotations

from copy import copy
from datetime import datetime
from typing import Any

from django.db.models import CharField

from accounts.models import User
from audit import actions
from audit.canonical import digest
from audit.services import Line, contended, log_origin
from config.batch import Batch
from config.prepared import Param, Reading, fresh
from playbooks import one_call
from runs.leases import Lease
from runs.models import Effect, EffectState, Task


def effect_key(lease: Lease, *, number: int = 1) -> str:
    """SHA-256 over log origin, root run, path, effect number and input digest: no attempt number in it."""
    task = lease.task
    root = task.run.root_id or task.run_id
    return digest([log_origin(), str(root), task.path, number, digest(lease.input)])


def intend(lease: Lease, *, actor: User, at: datetime, batch: Batch) -> tuple[Effect, Line]:
    """The effect of a claimed step, in the claim's own transaction: intended now, earlier, or already confirmed."""
    task = lease.task
    call = task.definition.call
    assert call is not None, "only a step with a call has an effect"
    key = effect_key(lease)
    effect = next(iter(_of_key(key=key)), None) if _may_have_been_asked(task) else None
    asked_before = effect is not None
    if effect is None:
        about = {"run": task.run, "task": task, "attempt": task.attempt}
        effect = fresh(Effect, key=key, action=call.action, intended_at=at, **about)
        batch.insert(effect)
    reused = effect.state == EffectState.CONFIRMED
    if not reused and effect.attempt != task.attempt:
        before, effect.attempt = effect.attempt, task.attempt
        batch.update(effect, "attempt", state=EffectState.INTENDED, attempt=before)
    name = actions.EFFECT_REUSED if reused else actions.EFFECT_INTENDED
    facts = {"key": effect.key, "call": call.action, "first_intended_by": str(effect.task_id)}
    arguments = {"arguments": dict(one_call.arguments_of(task.run.version, call.arguments, task.run.payload))}
    effect.asked_before = asked_before
    return effect, Line(name, task.audit_subject(), actor, at, data=facts, private=arguments)


def _may_have_been_asked(task: Task) -> bool:
    """Whether anybody may have intended this effect before. Who is the first to hold the first attempt at a step, in a
    run that goes back to no other, need not look: they are the first to ask; and the key is unique."""
    is_first = task.fence == 1 and task.attempt == 1 and task.tries_before is None
    return not is_first or task.run.root_id is not None


_of_key = Reading(lambda: Effect.objects.filter(key=Param("key", CharField())))


def confirm(effect: Effect, *, task: Task, actor: User, result: Any, at: datetime, batch: Batch) -> list[Line]:
    """Keep the result under its key, together with the completion of the step; once is enough.

    What the caller holds stays as it is: this may be undone, and be tried again.
    """
    found_by_query = effect.found_by_query
    effect = Effect.objects.get(pk=effect.pk) if contended() else copy(effect)
    if effect.state == EffectState.CONFIRMED:
        return []
    effect.state, effect.result, effect.confirmed_at = EffectState.CONFIRMED, result, at
    batch.update(effect, "state", "result", "confirmed_at", state=EffectState.INTENDED)
    facts: dict[str, Any] = {"key": effect.key, "call": effect.action}
    if found_by_query:
        facts["found_by_query"] = True
    return [Line(actions.EFFECT_CONFIRMED, task.audit_subject(), actor, at, data=facts, private={"result": result})]
