# SPDX-License-Identifier: Apache-2.0
"""What a worker process does with a ticket. A ticket names a row; the first act is to claim it."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django_q.exceptions import TimeoutException

from accounts import idempotency, limits
from accounts.models import User
from audit.context import coming_from
from config import mail
from config.crash import crash_point
from config.errors import LeaseLost
from playbooks import catalogue, one_call
from playbooks.catalogue import Action, ActionCall, Permanent, Verdict
from playbooks.secret_refs import masked
from runs import cluster, due, performers
from runs.claiming import Following, Held, claim_for_worker
from runs.governing import govern
from runs.leases import Lease
from runs.models import Effect, EffectState, Notice, Task
from runs.notices import stalled
from runs.services import complete_service_task, complete_task, fail_task, release_task

log = logging.getLogger(__name__)

WORKER_USERNAME = "worker"
MAX_MESSAGE = 2000  # characters of a fault that are kept
TELL_AGAIN_SECONDS = 0.5
# In one ticket: how many steps of a run in a row, and after how long what is left goes to others. A call that begins
# within that time may be ended by as much sooner: django-q2 counts from the ticket.
MOST_IN_A_ROW = 20
GIVE_WAY_SECONDS = 1.0


def perform(source: str, *row_ids: int) -> None:
    """The function every ticket calls."""
    with coming_from("worker"), cluster.with_ticket():
        named = due.sources()[source]
        if len(row_ids) > 1 and named.perform_all is not None:
            named.perform_all(row_ids)
            return
        for row_id in row_ids:
            named.perform(row_id)


def housekeep() -> None:
    """A floor under everything: called each minute whatever else runs."""
    with coming_from("worker"):
        due.sweep()
        idempotency.forget_old()
        limits.forget_old()


def holder() -> str:
    """Who holds a lease on this machine, as its supervisor counts it."""
    return os.environ.get("HMS_ACT_HOLDER", f"{socket.gethostname()}:{os.getpid()}")[:100]


def perform_task(task_id: int, give_way_at: float | None = None) -> None:
    """Claim a task of our worker, call its action and report what came of it, or check the rules; and go on with the
    steps that follow in its run, while they are ours and not too many."""
    give_way_at = time.monotonic() + GIVE_WAY_SECONDS if give_way_at is None else give_way_at
    actor = _worker(str(connection.settings_dict["NAME"]))
    held = next(iter(_claimed([task_id], actor)), None)
    for done in range(1, MOST_IN_A_ROW + 1):
        if held is None:
            return
        goes_on = done < MOST_IN_A_ROW and time.monotonic() < give_way_at
        held = _do(*held, actor, following=Following(actor, holder()) if goes_on else None)


def perform_tasks(task_ids: Sequence[int]) -> None:
    """The same for several that wait. If the first is done quickly, the others are claimed at once; if not, each when
    its turn comes. What is left when it is time to give way is left to other tickets."""
    began = time.monotonic()
    give_way_at = began + GIVE_WAY_SECONDS
    first, *others = task_ids
    perform_task(first, give_way_at)
    is_quick = (time.monotonic() - began) * len(task_ids) <= GIVE_WAY_SECONDS
    actor = _worker(str(connection.settings_dict["NAME"]))
    held = _claimed(others, actor) if is_quick else []
    for lease, effect in held:
        if time.monotonic() < give_way_at:
            _do(lease, effect, actor)
        else:
            _give_back(lease, actor)
    done = {lease.task.pk for lease, _ in held}
    for task_id in others:
        if task_id not in done and time.monotonic() < give_way_at:
            perform_task(task_id, give_way_at)


def _claimed(task_ids: Sequence[int], actor: User) -> list[Held]:
    held = claim_for_worker(task_ids=task_ids, actor=actor, holder=holder())
    crash_point("effect.after_intended")
    return held


def _do(lease: Lease, effect: Effect | None, actor: User, following: Following | None = None) -> Held | None:
    """What follows it and has been claimed by `following`."""
    try:
        if effect is None:
            _tell(govern, lease=lease, actor=actor)
        else:
            _call(lease, effect, actor, following)
    except LeaseLost:
        log.warning("task %s took longer than its lease; its result was refused", lease.task.pk)
        return None
    return following.held if following is not None else None


def _give_back(lease: Lease, actor: User) -> None:
    try:
        _tell(release_task, task_id=lease.task.pk, token=lease.token, actor=actor, note="not begun: others took long")
    except LeaseLost:
        log.warning("task %s waited longer for its turn than its lease", lease.task.pk)


@cache
def _worker(database: str) -> User:
    """The account of our worker, which comes with the installation and stays; read once in each process."""
    return User.objects.get(username=WORKER_USERNAME)


def _call(lease: Lease, effect: Effect, actor: User, following: Following | None) -> None:
    ended = partial(_tell, complete_service_task, lease=lease, effect=effect, actor=actor, following=following)
    if effect.state == EffectState.CONFIRMED:
        ended(result=effect.result)
        return
    secrets: list[str] = []  # that the call was given, and nothing that is kept may repeat
    try:
        result = _result(lease, effect, actor, secrets)
    except Verdict as no:
        note = masked(str(no), secrets)
        _tell(complete_task, task_id=lease.task.pk, actor=actor, token=lease.token, outcome="FAIL", note=note)
    except TimeoutException:
        connection.close()  # the alarm may have cut a statement in two
        _report(lease, actor, "Timeout", "the action did not answer in time", retryable=True)
    except Exception as fault:  # whatever an action raises is its fault, and is reported as one
        message = masked(str(fault), secrets)
        log.info("task %s: %s", lease.task.pk, message, exc_info=not secrets)  # a traceback repeats what faults say
        _report(lease, actor, type(fault).__name__, message, retryable=not isinstance(fault, Permanent))
    else:
        ended(result=result)


def _result(lease: Lease, effect: Effect, actor: User, secrets: list[str]) -> Any:
    """What the action gives; for a step that says so, what an earlier request under this key gave.

    `secrets` is filled with what the call is given of them, before it is made.
    """
    task = lease.task
    step, call = task.definition, task.definition.call
    assert call is not None, "only a step with a call is performed by the worker"
    found = catalogue.find(call.action)
    if found is None:
        raise Permanent(f"this worker knows no action {call.action}; is its module in HMS_ACT_ACTIONS?")
    performers.refuse_call_unless_allowed(task)
    given = ActionCall(
        arguments=one_call.arguments_of(task.run.version, call.arguments, task.run.payload),
        payload=task.run.payload,
        data=lease.data,
        run_id=task.run_id,
        step=task.step,
        attempt=task.attempt,
        effect_key=effect.key,
        input=task.input,
    )
    result = None
    if step.effect == "query_first" and effect.asked_before:
        if found.query is None:
            raise Permanent(f"the action {call.action} cannot be asked any more what came of a request")
        result = found.query(given)
        effect.found_by_query = result is not None
    if result is None:
        result = found.run(_with_secrets(given, found, lease, actor, secrets))
    crash_point("effect.after_call")
    return masked(_as_json(result, call.action), secrets)


def _with_secrets(given: ActionCall, found: Action, lease: Lease, actor: User, secrets: list[str]) -> ActionCall:
    """What cannot be called now is not handed any: they are handed out once."""
    if lease.task.input and found.ready is not None:
        found.ready()
    opened, texts = performers.opened_for_call(lease.task, actor=actor, token=lease.token)
    secrets.extend(texts)
    return replace(given, input=opened, secrets=texts)


def _as_json(result: Any, action: str) -> Any:
    try:
        return json.loads(json.dumps(result, allow_nan=False))
    except (TypeError, ValueError) as fault:
        raise Permanent(f"the action {action} took effect but returned what JSON cannot carry: {fault}")


def _report(lease: Lease, actor: User, error_type: str, message: str, *, retryable: bool) -> None:
    _tell(
        fail_task,
        task_id=lease.task.pk,
        actor=actor,
        token=lease.token,
        error_type=error_type,
        message=message[:MAX_MESSAGE],
        retryable=retryable,
    )


def _tell(report: Callable[..., Any], **what: Any) -> None:
    """Hand in what came of the call, again while the database is away: each report may be made twice.

    Not to be told costs a lease, and asking the world outside for what it has done already.
    """
    give_up_at = time.monotonic() + settings.CALL_TIMEOUT_SECONDS
    while True:
        try:
            report(**what)
            return
        except (OperationalError, InterfaceError) as fault:
            if time.monotonic() > give_up_at:
                raise
            log.warning("the database does not take in a result (%s); telling it again", fault)
            connection.close()
            time.sleep(TELL_AGAIN_SECONDS)


def _ready_for_worker() -> Any:
    return Task.objects.ready().filter(by_worker=True)


def service_tasks() -> due.Source:
    return due.Source(waiting=_ready_for_worker, since="ready_at", perform=perform_task, perform_all=perform_tasks)


def notices() -> due.Source:
    return due.mail_source(Notice, partial(mail.send, Notice, stalled))


def tick() -> int:
    """One pass over all that is due, in this process; returns how many rows were acted on."""
    acted = 0
    with coming_from("worker"):
        seen: set[tuple[str, int]] = set()
        while True:
            acted += due.sweep()
            fresh = [ticket for ticket in due.look().tickets if ticket not in seen]
            if not fresh:
                return acted
            seen.update(fresh)
            for source, row_id in fresh:
                acted += due.each([row_id], due.sources()[source].perform)
