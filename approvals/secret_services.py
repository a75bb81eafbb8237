# SPDX-License-Identifier: Apache-2.0
"""What becomes of a secret that was given: its asker fetches it once, its giver replaces or revokes it, time ends it.

Whatever happens to it destroys it in the same transaction, so that it is handed out at most once: an answer that is
lost on its way is asked for again, of the person.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.models import User
from approvals.answers import answer_problems
from approvals.keyring import Damaged, KeyMissing, ring
from approvals.models import ActionRequest, Receipt, ReceiptState, RequestState, Secret, SecretState
from approvals.reading import locked
from approvals.secrets import SecretNotSupported, names_secret_of, sealed_row
from audit import actions
from audit.context import origin
from audit.services import SYSTEM, Line, Subject, act, record, transitioned
from config import clock
from config.errors import Forbidden, Invalid, Problem, Refused, Unavailable, WrongState
from runs.inputs import handed, outputs_for
from runs.leases import refuse_unless_held
from runs.models import LOOK_AGAIN, Task

ENDING = ("state", "ciphertext", "wrapped_key", "next_check_at", "ended_at")
BATCH = 100
PEOPLES_CHANNELS = ("admin", "web")
WHY_GONE: Mapping[str, str] = {
    SecretState.UNWRAPPED: "It was fetched on {at}, and is handed out once. If that was not you, tell who gave it.",
    SecretState.REVOKED: "Who gave it took it back on {at}.",
    SecretState.EXPIRED: "Nobody fetched it by {at}, and it was destroyed. Ask for it again.",
    SecretState.WITHDRAWN: "The decision that gave it was undone on {at}.",
}


class SecretGone(Refused):
    """This secret does not exist any more. Ask for it again."""

    code = "secret_gone"
    status = 410


class SecretDamaged(Refused):
    """What is stored is not what was given: it does not open. Tell an administrator, and ask for it again."""

    code = "secret_damaged"


# Fetching -------------------------------------------------------------------------------------------------


@act(actions.SECRET_UNWRAP_DENIED)
def unwrap(*, request_id: str, actor: User, task_id: int | None = None, token: str = "") -> dict[str, Any]:
    """The secrets of an answer, by field, for who asked for them; and then they are no more.

    Who asked: the requester, by its key or token; for a step of a run, who holds a later task of it (`task_id`,
    `token`) that was handed the secret's handle. Raises NotFound, Forbidden, LeaseLost, WrongState, SecretGone,
    SecretDamaged; Unavailable, with nothing destroyed, if this process lacks the key.
    """
    request = locked(request_id, actor)
    at = clock.now()
    if origin().channel in PEOPLES_CHANNELS or origin().credential == "session":
        raise Forbidden(
            "Secrets are fetched by programs, with their own key; they are shown on no page.", subject=request
        )
    if request.run_id is None:
        _refuse_unless_asker(request, actor)
    else:
        _refuse_unless_handed(request, actor, at, task_id=task_id, token=token)
    values, lines = hand_out(request, actor=actor, at=at)
    record(lines)
    return values


def hand_out(
    request: ActionRequest, *, actor: User, at: datetime, fields: Collection[str] | None = None
) -> tuple[dict[str, Any], list[Line]]:
    """(the values of these fields, or of all that are held; lines): they are destroyed; the caller records the lines.

    Raises WrongState, SecretGone if one of them is, SecretDamaged, Unavailable.
    """
    rows = _held(request, at, fields)
    values = {row.field: _opened(row) for row in rows}
    return values, [_ended(row, row.unwrap, actor=actor, at=at) for row in rows]


def _refuse_unless_asker(request: ActionRequest, actor: User) -> None:
    if request.requester_id != actor.pk:
        raise Forbidden("Only who asked for this secret may fetch it.", subject=request)
    if request.decided_by_id == actor.pk:
        raise Forbidden("You gave it yourself: nobody reads a secret back.", subject=request)


def _refuse_unless_handed(
    request: ActionRequest, actor: User, at: datetime, *, task_id: int | None, token: str
) -> None:
    """A step asked, so a step's task fetches: one of the same run, held by the caller, and handed the handle."""
    tasks = Task.objects.select_related("run__version__playbook").filter(run=request.run_id)
    task = tasks.filter(pk=task_id).first() if task_id is not None else None
    if task is None or not token:
        raise Forbidden(
            "A step of a run asked for this secret: send the task and token of a later step that was handed it.",
            subject=request,
        )
    refuse_unless_held(task, token=token, actor=actor, at=at)
    if not names_secret_of(request.pk, handed(task, outputs_for([task])[task.pk])):
        raise Forbidden(
            "This task was not handed the secret; its step's `input` says what it is handed.", subject=request
        )


def _held(request: ActionRequest, at: datetime, fields: Collection[str] | None = None) -> list[Secret]:
    """Those that may be handed out now, or those of these fields. Raises WrongState, SecretGone."""
    if request.is_open:
        raise WrongState("Nobody has answered this request yet.", subject=request)
    if Receipt.objects.filter(request=request.pk, state=ReceiptState.HELD).exists():
        raise WrongState(
            "The answer is held back, and can still be undone. Come again when it takes effect.", subject=request
        )
    kept = Secret.objects.select_for_update(of=("self",)).filter(request=request.pk).order_by("id")
    rows = [row for row in kept if fields is None or row.field in fields]
    if not rows:
        raise WrongState("There is no secret in what was answered.", subject=request)
    for row in rows:
        row.request = request
    held = [row for row in rows if row.is_held and at < row.expires_at]
    missing = not held if fields is None else {row.field for row in held} != set(fields)
    if request.state != RequestState.FULFILLED or missing:
        raise SecretGone(_why_gone(rows), subject=request)
    return held


def _why_gone(rows: list[Secret]) -> str:
    last = max(rows, key=lambda row: (row.ended_at or row.expires_at, row.pk))
    at = last.ended_at or last.expires_at
    state = SecretState.EXPIRED if last.is_held else last.state
    return WHY_GONE.get(state, "").format(at=f"{at:%Y-%m-%d at %H:%M} UTC")


def _opened(row: Secret) -> Any:
    try:
        return json.loads(ring().opened(row.sealed, row.place))
    except KeyMissing:
        raise Unavailable("The key that this secret is kept under is not in this server's ring. Nothing was destroyed.")
    except Damaged:
        raise SecretDamaged(subject=row.request)


def _ended(row: Secret, transition: Any, *, actor: Any, at: datetime) -> Line:
    line = transitioned(transition, actor=actor, at=at, private={"field": row.field})
    row.save(update_fields=ENDING)
    return line


# Its giver ------------------------------------------------------------------------------------------------


@act(actions.SECRET_CHANGE_DENIED)
def revoke_secret(*, request_id: str, actor: User) -> ActionRequest:
    """Take back what one gave, before it is fetched. Raises NotFound, Forbidden, WrongState, SecretGone."""
    request = locked(request_id, actor)
    at = clock.now()
    rows = _of_giver(request, actor, at)
    record([_ended(row, row.revoke, actor=actor, at=at) for row in rows])
    return request


@act(actions.SECRET_CHANGE_DENIED)
def replace_secret(*, request_id: str, actor: User, values: Mapping[str, Any]) -> ActionRequest:
    """Give another value for some of the secrets one gave, before they are fetched; it has its full time anew.

    Raises NotFound, Forbidden, WrongState, SecretGone, Invalid, SecretNotSupported.
    """
    request = locked(request_id, actor)
    at = clock.now()
    rows = {row.field: row for row in _of_giver(request, actor, at)}
    _refuse_unfit(request, values, rows)
    keys = ring()
    if not keys:
        raise SecretNotSupported(subject=request)
    record([_ended(rows[name], rows[name].replace, actor=actor, at=at) for name in values])
    Secret.objects.bulk_create(sealed_row(keys, request, name, values[name], by=actor, at=at) for name in values)
    return request


def _of_giver(request: ActionRequest, actor: User, at: datetime) -> list[Secret]:
    rows = _held(request, at)
    if any(row.given_by_id != actor.pk for row in rows):
        raise Forbidden("Only who gave a secret may replace or revoke it.", subject=request)
    return rows


def _refuse_unfit(request: ActionRequest, values: Mapping[str, Any], known: Iterable[str]) -> None:
    unknown = sorted(values.keys() - set(known))
    if unknown or not values:
        remedy = f"Send one of {', '.join(sorted(known))}."
        problems = [Problem(f"response_data.{name}", "no secret of this answer", remedy) for name in unknown]
        raise Invalid(
            "Send the secrets to replace, by field.", errors=problems or [Problem("response_data", "empty", remedy)]
        )
    problems = answer_problems(request, values, only=values)
    if problems:
        raise Invalid("The answer does not fit the form.", errors=problems)


# Time, and keys -------------------------------------------------------------------------------------------


def look_at_secrets(now: datetime) -> int:
    """Destroy what nobody fetched in time, and what an undone decision gave."""
    if not Secret.objects.filter(next_check_at__lte=now).exists():
        return 0
    with transaction.atomic():
        due = Secret.objects.select_for_update(of=("self",), skip_locked=True).select_related("request__task")
        rows = list(due.filter(next_check_at__lte=now).order_by("next_check_at")[:BATCH])
        lines = []
        for row in rows:
            if row.request.state != RequestState.FULFILLED:
                lines.append(_ended(row, row.withdraw, actor=SYSTEM, at=now))
            elif row.expires_at <= now:
                lines.append(_ended(row, row.expire, actor=SYSTEM, at=now))
            else:
                row.next_check_at = min(row.expires_at, now + LOOK_AGAIN)
                row.save(update_fields=["next_check_at"])
        record(lines)
    return len(rows)


def withdraw_secrets(request: ActionRequest, *, actor: Any, at: datetime) -> list[Line]:
    """Destroy what an answer gave that does not stand any more; the caller records the lines."""
    rows = Secret.objects.select_for_update(of=("self",)).filter(request=request.pk, state=SecretState.HELD)
    lines = []
    for row in rows.order_by("id"):
        row.request = request
        lines.append(_ended(row, row.withdraw, actor=actor, at=at))
    return lines


@dataclass(frozen=True, slots=True)
class Rewrapped:
    rewrapped: int = 0
    current: int = 0  # under the newest key already
    unreadable: int = 0  # their key is not in the ring, or they are damaged


def rewrap_secrets() -> Rewrapped:
    """Wrap every held secret by the newest key of the ring. The values themselves are not opened.

    Each row by itself, and only if nobody has changed it meanwhile: safe beside running processes, and to repeat.
    """
    keys = ring()
    if not keys:
        raise SecretNotSupported
    held = Secret.objects.filter(state=SecretState.HELD)
    current = held.filter(key_id=keys.newest).count()
    done = unreadable = 0
    for row in held.exclude(key_id=keys.newest).order_by("id").iterator(chunk_size=BATCH):
        before = row.key_id
        try:
            row.sealed = keys.rewrapped(row.sealed, row.place)
        except (KeyMissing, Damaged):
            unreadable += 1
            continue
        done += row.write("wrapped_key", "key_id", state=SecretState.HELD, key_id=before)
    found = Rewrapped(done, current, unreadable)
    with transaction.atomic():
        facts = {"rewrapped": done, "current": current, "unreadable": unreadable, "key": keys.newest}
        record([Line(actions.SECRET_REWRAPPED, Subject("key_ring", keys.newest), SYSTEM, clock.now(), data=facts)])
    return found
