# SPDX-License-Identifier: Apache-2.0
"""Recording: `record()` writes entries in the transaction of the change; `@act` is that transaction.

An act that is refused changes nothing and leaves a DENIED entry, written in a transaction of its own.
"""

from __future__ import annotations

import functools
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, Protocol, TypeVar

from django.db import OperationalError, connection, transaction
from django_fsm import TransitionNotAllowed

from audit import actions
from audit.canonical import canonical, commitment, disclose, leaf_hash
from audit.context import origin
from audit.models import Disclosure, Entry, Log, Result
from config import clock
from config.batch import Batch, at_once
from config.errors import Refused, StaleRevision, WrongState
from config.guard import Moved
from config.prepared import fresh

P = ParamSpec("P")
T = TypeVar("T")

OPTIMISTIC_TRIES = 3  # after so many misses of a guard, the next try locks the run before it reads
FAULT_TRIES = 3  # of a transaction that the database broke off for another one's sake
PAUSE_SECONDS = 0.05  # at most, before the second try; twice that before the third
FAULT_SECONDS = 5.0  # once so much has gone by, the caller knows better than we whether to wait on
DENIED_PER_MINUTE = 30  # entries of one actor and code; a flood of refusals must not fill the log
RECORDED_REFUSALS = frozenset({403, 404, 409, 410})
BODY_LIMIT = 64 * 1024  # bytes; larger material enters by its digest
NAME = re.compile(r"[A-Za-z0-9:_.-]{1,40}")


class Actor(Protocol):
    """Who acts: a user of accounts, or `SYSTEM`."""

    @property
    def pk(self) -> Any: ...
    @property
    def kind(self) -> str: ...
    def get_username(self) -> str: ...


@dataclass(frozen=True, slots=True)
class SystemActor:
    """The product itself: timers, deadlines, the engine."""

    name: str = "system"
    kind: str = "system"
    pk: None = None

    def get_username(self) -> str:
        return self.name


SYSTEM = SystemActor()


@dataclass(frozen=True, slots=True)
class Subject:
    """What an entry is about. Rows say it themselves by `audit_subject()`."""

    type: str
    id: str
    run_id: int | None = None
    task_id: int | None = None
    request_id: str = ""
    step: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)  # fence, playbook, version … that identify the row


@dataclass(frozen=True, slots=True)
class Line:
    """One entry to be recorded. `data` is words, numbers and digests; `private` and `note` only leave digests in it.

    What `private` holds is JSON, and may be shown to whoever may see disclosures. Secrets (keys, tokens, passwords)
    are in none of them: nothing here filters by name, so they are not handed in.
    """

    action: str
    subject: Subject
    actor: Actor
    at: datetime
    from_state: str = ""
    to_state: str = ""
    result: str = Result.SUCCESS
    note: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    private: Mapping[str, Any] = field(default_factory=dict)
    acting_for: str = ""  # the user or role on whose behalf the actor acts


def record(lines: Sequence[Line], *, into: Batch | None = None) -> None:
    """Insert the entries, in order, in the caller's transaction; or add them to what the caller writes together."""
    batch = into or Batch()
    for line in lines:
        entry, items = _build(line)
        batch.insert(entry)
        if items:
            batch.insert_beside(fresh(Disclosure, items=items), entry)
    if lines and into is None:
        assert connection.in_atomic_block or not _try_number.get(), "an act of one write records in its batch"
        with transaction.atomic(savepoint=False):
            batch.write()


def transitioned(
    method: Callable[..., Any],
    given: Mapping[str, Any] | None = None,
    *,
    actor: Actor,
    at: datetime,
    result: str = Result.SUCCESS,
    note: str = "",
    data: Mapping[str, Any] | None = None,
    private: Mapping[str, Any] | None = None,
) -> Line:
    """Make one django-fsm transition of a row in memory and return the line that must be recorded with it.

    Each declared transition names its action in `custom`, so that it emits exactly one entry, and takes the
    moment as `at`; `given` are its further arguments.
    """
    row: Any = method.__self__  # type: ignore[attr-defined]
    declared = method._django_fsm  # type: ignore[attr-defined]
    before = str(declared.field.get_state(row))
    transition_made = declared.get_transition(before)
    if transition_made is None:
        raise WrongState(f"It is {before}; that does not allow this.", subject=row)
    method(at=at, **(given or {}))
    return Line(
        action=transition_made.custom["action"],
        subject=row.audit_subject(),
        actor=actor,
        at=at,
        from_state=before,
        to_state=str(declared.field.get_state(row)),
        result=result,
        note=note,
        data=data or {},
        private=private or {},
    )


def _build(line: Line) -> tuple[Entry, list[dict[str, str]]]:
    assert line.action in actions.ALL, f"{line.action} is not a registered action"
    items = [*_disclosures({"note": line.note} if line.note else {}, "text"), *_disclosures(line.private, "data")]
    body = canonical(_content(line, [commitment(item["disclosure"]) for item in items]))
    assert len(body) <= BODY_LIMIT, f"the body of {line.action} has {len(body)} bytes: give the digest of large data"
    subject, actor = line.subject, line.actor
    entry = fresh(
        Entry,
        body=body,
        entry_hash=leaf_hash(body),
        at=line.at,
        action=line.action,
        result=line.result,
        code=line.data["code"] if line.result == Result.DENIED else "",
        actor_type=actor.kind,
        actor_id=actor.pk,
        actor_name=actor.get_username(),
        channel=origin().channel,
        subject_type=subject.type,
        subject_id=subject.id,
        run_id=subject.run_id,
        task_id=subject.task_id,
        request_id=subject.request_id,
        step=subject.step,
        from_state=line.from_state,
        to_state=line.to_state,
    )
    return entry, items


def _disclosures(values: Mapping[str, Any], kind: str) -> list[dict[str, str]]:
    return [{"path": name, "disclosure": disclose(name, value), "class": kind} for name, value in values.items()]


def _content(line: Line, commitments: list[str]) -> dict[str, Any]:
    """What the entry says, version 1. Row numbers are texts: they outgrow the integers of JSON."""
    came, subject, actor = origin(), line.subject, line.actor
    assert line.at.tzinfo is not None, f"{line.action} at {line.at}: without a time zone"
    return {
        "v": 1,
        "log": log_origin(),
        "at": line.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "action": line.action,
        "result": str(line.result),
        "actor": {
            "type": actor.kind,
            "id": None if actor.pk is None else str(actor.pk),
            "name": actor.get_username(),
            "model": getattr(actor, "model_name", ""),
            "credential": came.credential,
            "acting_for": line.acting_for,
        },
        "channel": came.channel,
        "request": came.request_id,
        "subject": {"type": subject.type, "id": subject.id, "step": subject.step, **subject.facts},
        "run": None if subject.run_id is None else str(subject.run_id),
        "task": None if subject.task_id is None else str(subject.task_id),
        "action_request": subject.request_id or None,
        "from": line.from_state,
        "to": line.to_state,
        "data": dict(line.data),
        "commitments": sorted(commitments),
    }


# Database name → origin. It is read once per process: only a log made anew has another.
_origin_of_log: dict[str, str] = {}


def log_origin() -> str:
    """`act/<uuid>`, fixed when `migrate` makes the log."""
    name = str(connection.settings_dict["NAME"])
    if name not in _origin_of_log:
        _origin_of_log[name] = Log.objects.get(id=1).origin
    return _origin_of_log[name]


def begin(using: str = "default") -> None:
    """Give the log its origin, if it has none yet. Never within an act, whose refusal would take it back."""
    Log.objects.using(using).get_or_create(id=1)
    _origin_of_log.clear()


# The transaction of an act --------------------------------------------------------------------------------


_try_number: ContextVar[int] = ContextVar("try_number", default=0)  # 0: outside any act


class WantsLocks(Exception):
    """This try has read without locks, and what it found to do needs them: `@act` tries again, contended."""


def contended() -> bool:
    """After repeated misses an act locks the run before it reads, so that a busy run makes progress."""
    return _try_number.get() > OPTIMISTIC_TRIES


def require_locks() -> None:
    """Go on only in a transaction that has locked the run before it read."""
    if not contended():
        raise WantsLocks


def act(denied: str, *, one_write: bool = False) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a service function the outermost transaction of one act; `denied` names its refused attempts.

    `one_write` promises that the service changes nothing but by one `Batch.write()`, and reads without locks: where
    that is one statement, no transaction is opened around it.
    Called from within another act it joins that act's transaction; a refusal there is for the whole act, and not
    to be caught on its way. Called inside a transaction of somebody else, it is a savepoint: then the DENIED entry
    shares that transaction's fate, and what only a new transaction can cure is left to its owner.
    """
    assert denied in actions.ALL, f"{denied} is not a registered action"

    def decorate(service: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(service)
        def acting(*args: P.args, **kwargs: P.kwargs) -> T:
            if _try_number.get():
                return service(*args, **kwargs)
            try:
                return _tried(functools.partial(service, *args, **kwargs), one_write=one_write)
            except Refused as refusal:
                if refusal.status in RECORDED_REFUSALS:
                    _record_denied(denied, refusal, kwargs)
                raise

        return acting

    return decorate


def _tried(service: Callable[[], T], *, one_write: bool) -> T:
    """Run the service in a transaction; again after a missed guard, or a fault that another try cures."""
    ours, started = _begins_transaction(), time.monotonic()
    misses = faults = unlocked = 0
    while True:
        try:
            return _once(service, misses + unlocked + 1, one_write=one_write)
        except WantsLocks:
            assert not unlocked, "the locks are there"
            unlocked = OPTIMISTIC_TRIES
        except Moved:
            misses += 1
            if misses > OPTIMISTIC_TRIES:
                raise StaleRevision("Others kept changing it. Read it again, then try again.")
        except OperationalError as fault:
            faults += 1
            in_time = faults < FAULT_TRIES and time.monotonic() - started < FAULT_SECONDS
            if not (ours and in_time and _is_passing(fault)):
                raise
            # Whoever won goes on; meeting it again at once would be the same quarrel.
            time.sleep(random.uniform(0, faults * PAUSE_SECONDS))  # noqa: S311  it guards nothing


def _once(service: Callable[[], T], try_number: int, *, one_write: bool) -> T:
    alone = one_write and at_once() and try_number <= OPTIMISTIC_TRIES and not connection.in_atomic_block
    with nullcontext() if alone else transaction.atomic():
        # Reset before the commit, so that an act called by an on-commit hook is an act of its own.
        token = _try_number.set(try_number)
        try:
            return service()
        except TransitionNotAllowed as fault:
            raise WrongState(subject=fault.object) from fault
        finally:
            _try_number.reset(token)


def _begins_transaction() -> bool:
    """Whether a block begun now is outermost. As for Django's `durable`, the block around a test does not count."""
    outer: Any = connection.atomic_blocks[-1:]
    return not outer or bool(outer[0]._from_testcase)


def _is_passing(fault: OperationalError) -> bool:
    """Serialization failure or deadlock on PostgreSQL, a busy database on SQLite: certainly rolled back."""
    sqlstate = getattr(fault.__cause__, "sqlstate", "")
    sqlite_name = getattr(fault.__cause__, "sqlite_errorname", "")
    return sqlstate in {"40001", "40P01"} or sqlite_name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


# Refused attempts -----------------------------------------------------------------------------------------

# (actor, code) → refusals not written since the last one that was, in this process.
_suppressed: Counter[tuple[int | None, str]] = Counter()


def _record_denied(action: str, refusal: Refused, given: Mapping[str, Any]) -> None:
    actor: Actor = given.get("actor") or SYSTEM
    who = (actor.pk, refusal.code)
    with transaction.atomic():
        at = clock.now()
        if _floods(*who, at):
            _suppressed[who] += 1
            return
        subject = _named_by(given) if refusal.subject is None else refusal.subject.audit_subject()
        data: dict[str, Any] = {"code": refusal.code}
        if missed := _suppressed.pop(who, 0):
            data["suppressed"] = missed
        record([Line(action, subject, actor, at, result=Result.DENIED, note=refusal.detail, data=data)])


def _floods(actor_id: int | None, code: str, at: datetime) -> bool:
    denied = Entry.objects.filter(actor_id=actor_id, code=code, result=Result.DENIED)
    lately = denied.filter(at__gt=at - timedelta(minutes=1)).order_by()
    return lately[:DENIED_PER_MINUTE].count() == DENIED_PER_MINUTE


def _named_by(given: Mapping[str, Any]) -> Subject:
    """The subject of a refusal that came before its row was read: what the caller named.

    It is the caller's word, and the body is for ever: only what looks like a name or a number is kept.
    """
    named = {
        name.removesuffix("_id"): str(value)
        for name, value in given.items()
        if (name.endswith("_id") or name in {"role", "playbook"}) and NAME.fullmatch(str(value))
    }
    kind, name = next(iter(named.items()), ("", ""))
    return Subject(
        type=kind[:12],
        id=name,
        run_id=_row_number(given.get("run_id")),
        task_id=_row_number(given.get("task_id")),
        request_id=named.get("request", "")[:16],
    )


def _row_number(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 < value < 2**63 else None
