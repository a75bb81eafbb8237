# SPDX-License-Identifier: Apache-2.0
"""What the server answers, as frozen values.

Each keeps the whole answer as `raw`, so that a field which this release does not know is not lost. Times are
aware UTC. A field the server left out is empty, never invented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hms_act.errors import FieldError

ENDED = frozenset({"completed", "failed", "cancelled", "terminated"})
CLOSED = frozenset({"fulfilled", "rejected", "cancelled", "expired", "superseded", "not_required"})

Json = Mapping[str, Any]


@dataclass(slots=True)
class Signals:
    """What the server has said about a task since it was claimed. Written by whoever sends its heartbeats."""

    cancel_requested: bool = False
    paused: bool = False
    lease_lost: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt at one step of a run. `token`, `fence` and `expires_at` are there for its holder only."""

    id: int
    run_id: int
    step: str
    path: str = ""
    attempt: int = 1
    role: str = ""
    status: str = ""
    outcome: str = ""
    call: str = ""
    arguments: Json = field(default_factory=dict)
    options: tuple[str, ...] = ()  # outcomes besides PASS and FAIL
    input: Any = None
    item: Any = None  # of the foreach step around it
    payload: Json = field(default_factory=dict)
    data: Json = field(default_factory=dict)
    approval: Json = field(default_factory=dict)  # the answer to what was asked in mid-task: outcome, by, reason
    deadline: datetime | None = None
    error_type: str = ""
    error_message: str = ""
    retry_reason: str = ""  # why it is (not) tried again
    resolution: str = ""  # of an incident: retry, skip, fail or closed; "" while it waits for an operator
    created_at: datetime | None = None
    ended_at: datetime | None = None
    token: str = field(default="", repr=False)
    fence: int | None = None
    expires_at: datetime | None = None
    ttl_seconds: float | None = None  # from the claim to `expires_at`, by the server's clock
    etag: str = field(default="", repr=False)
    raw: Json = field(default_factory=dict, repr=False)
    signals: Signals = field(default_factory=Signals, repr=False, compare=False)

    @property
    def cancel_requested(self) -> bool:
        """The run is being cancelled: stop at a good place, then complete or fail as usual."""
        return self.signals.cancel_requested

    @property
    def lease_lost(self) -> bool:
        """Somebody else may be doing this task: stop, nothing you send will count."""
        return self.signals.lease_lost

    @classmethod
    def from_answer(
        cls, answer: Json, *, lease: Json | None = None, at: datetime | None = None, etag: str = ""
    ) -> Task:
        lease = lease or {}
        call, arguments = _call(answer)
        expires_at = moment(lease.get("expires_at"))
        return cls(
            id=answer["id"],
            run_id=answer["run_id"],
            step=str(answer.get("step") or ""),
            path=str(answer.get("path") or ""),
            attempt=answer.get("attempt") or 1,
            role=str(answer.get("role") or ""),
            status=str(answer.get("status") or ""),
            outcome=str(answer.get("outcome") or ""),
            call=call,
            arguments=arguments,
            options=tuple(answer.get("options") or ()),
            input=answer.get("input"),
            item=answer.get("item"),
            payload=answer.get("payload") or {},
            data=answer.get("data") or {},
            approval=answer.get("approval") or {},
            deadline=moment(answer.get("deadline")),
            error_type=str(answer.get("error_type") or ""),
            error_message=str(answer.get("error_message") or ""),
            retry_reason=str(answer.get("retry_reason") or ""),
            resolution=str(answer.get("resolution") or ""),
            created_at=moment(answer.get("created_at")),
            ended_at=moment(answer.get("ended_at")),
            token=str(lease.get("token") or ""),
            fence=lease.get("fence"),
            expires_at=expires_at,
            ttl_seconds=(expires_at - at).total_seconds() if expires_at and at else None,
            etag=etag,
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Lease:
    """The answer to a heartbeat or a renewal."""

    expires_at: datetime | None
    ttl_seconds: float | None
    cancel_requested: bool = False
    paused: bool = False
    raw: Json = field(default_factory=dict, repr=False)

    @classmethod
    def from_answer(cls, answer: Json, *, at: datetime) -> Lease:
        expires_at = moment(answer.get("expires_at"))
        return cls(
            expires_at=expires_at,
            ttl_seconds=(expires_at - at).total_seconds() if expires_at else None,
            cancel_requested=bool(answer.get("cancel_requested")),
            paused=bool(answer.get("paused")),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of one version of a playbook."""

    id: int
    status: str
    playbook: str = ""
    version: int | None = None
    current_step: str | None = None
    current_steps: tuple[str, ...] = ()
    payload: Json = field(default_factory=dict)
    steps: Json = field(default_factory=dict)
    incidents: tuple[Json, ...] = ()  # of each: task, step, path, reason
    parent_run: int | None = None
    child_runs: tuple[Json, ...] = ()  # of each: run_id, path, status
    log: tuple[Json, ...] = ()
    etag: str = field(default="", repr=False)
    raw: Json = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @classmethod
    def from_answer(cls, answer: Json, *, etag: str = "") -> Run:
        return cls(
            id=answer["run_id"],
            status=str(answer.get("status") or ""),
            playbook=str(answer.get("playbook") or ""),
            version=answer.get("version"),
            current_step=answer.get("current_step"),
            current_steps=tuple(answer.get("current_steps") or ()),
            payload=answer.get("payload") or {},
            steps=answer.get("steps") or {},
            incidents=tuple(answer.get("incidents") or ()),
            parent_run=answer.get("parent_run"),
            child_runs=tuple(answer.get("child_runs") or ()),
            log=tuple(answer.get("log") or ()),
            etag=etag,
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Request:
    """A question to a human (an action request)."""

    id: str
    status: str
    outcome: str = ""
    revision: int | None = None
    role: str = ""
    run_id: int | None = None
    task_id: int | None = None
    request_type: str = ""
    title: str = ""
    description: str = ""
    required_fields: Json = field(default_factory=dict)
    priority: str = ""
    context: Json = field(default_factory=dict)
    agent_id: str = ""
    workflow_id: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    fulfilled_by: str = ""
    fulfilled_at: datetime | None = None
    response_data: Json = field(default_factory=dict, repr=False)
    secret_fields: tuple[str, ...] = ()  # of `response_data`: what is masked, and fetched by its asker alone
    notes: str = ""
    rejection_reason: str = ""
    severity: str = ""
    template: str = ""
    due_at: datetime | None = None
    expires_at: datetime | None = None
    duplicate: bool = False  # it was open already when it was asked again
    superseded_by: str = ""
    etag: str = field(default="", repr=False)
    raw: Json = field(default_factory=dict, repr=False)

    @property
    def closed(self) -> bool:
        """Answered, or not to be answered any more."""
        return self.status in CLOSED

    @classmethod
    def from_answer(cls, answer: Json, *, etag: str = "") -> Request:
        def text(name: str) -> str:
            return str(answer.get(name) or "")

        return cls(
            id=str(answer["id"]),
            status=text("status"),
            outcome=text("outcome"),
            revision=answer.get("revision"),
            role=text("role"),
            run_id=answer.get("run_id"),
            task_id=answer.get("task_id"),
            request_type=text("request_type"),
            title=text("title"),
            description=text("description"),
            priority=text("priority"),
            agent_id=text("agent_id"),
            workflow_id=text("workflow_id"),
            fulfilled_by=text("fulfilled_by"),
            notes=text("notes"),
            rejection_reason=text("rejection_reason"),
            severity=text("severity"),
            template=text("template"),
            superseded_by=text("superseded_by"),
            duplicate=bool(answer.get("duplicate")),
            due_at=moment(answer.get("due_at")),
            expires_at=moment(answer.get("expires_at")),
            required_fields=answer.get("required_fields") or {},
            context=answer.get("context") or {},
            created_at=moment(answer.get("created_at")),
            updated_at=moment(answer.get("updated_at")),
            fulfilled_at=moment(answer.get("fulfilled_at")),
            response_data=answer.get("response_data") or {},
            secret_fields=tuple(answer.get("secret_fields") or ()),
            etag=etag,
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody said about a request."""

    id: int
    author: str = ""
    text: str = ""
    revision: int | None = None
    created_at: datetime | None = None
    raw: Json = field(default_factory=dict, repr=False)

    @classmethod
    def from_answer(cls, answer: Json) -> Comment:
        return cls(
            id=answer["id"],
            author=str(answer.get("author") or ""),
            text=str(answer.get("text") or ""),
            revision=answer.get("revision"),
            created_at=moment(answer.get("created_at")),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file on a request. `media_type` is what the server found in its bytes; `href` is where it is read."""

    id: int
    name: str = ""
    media_type: str = ""
    size: int = 0
    sha256: str = ""
    revision: int | None = None
    uploaded_by: str = ""
    created_at: datetime | None = None
    href: str = ""
    raw: Json = field(default_factory=dict, repr=False)

    @classmethod
    def from_answer(cls, answer: Json) -> Attachment:
        return cls(
            id=answer["id"],
            name=str(answer.get("name") or ""),
            media_type=str(answer.get("media_type") or ""),
            size=int(answer.get("size") or 0),
            sha256=str(answer.get("sha256") or ""),
            revision=answer.get("revision"),
            uploaded_by=str(answer.get("uploaded_by") or ""),
            created_at=moment(answer.get("created_at")),
            href=str(answer.get("href") or ""),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: `hitl.request.fulfilled`, `task.completed` … `data` says to what, and by whom."""

    id: str
    type: str
    data: Json = field(default_factory=dict)

    @classmethod
    def from_answer(cls, answer: Json) -> Event:
        return cls(str(answer["id"]), str(answer["type"]), answer.get("data") or {})


@dataclass(frozen=True, slots=True)
class StoredPlaybook:
    """A playbook as the server keeps it: its versions, without their documents."""

    id: str
    number: int | None = None
    title: str = ""
    versions: tuple[Json, ...] = ()
    current_version: int | None = None
    raw: Json = field(default_factory=dict, repr=False)

    @classmethod
    def from_answer(cls, answer: Json) -> StoredPlaybook:
        return cls(
            id=str(answer["id"]),
            number=answer.get("number"),
            title=str(answer.get("title") or ""),
            versions=tuple(answer.get("versions") or ()),
            current_version=answer.get("current_version"),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a playbook. `created`: whether this call made it, or an equal one was there."""

    playbook: str
    number: int
    state: str
    digest: str = ""
    warnings: tuple[str, ...] = ()
    created: bool = False
    etag: str = field(default="", repr=False)
    raw: Json = field(default_factory=dict, repr=False)

    @classmethod
    def from_answer(cls, playbook: str, answer: Json, *, created: bool = False, etag: str = "") -> Version:
        return cls(
            playbook=playbook,
            number=answer["version"],
            state=str(answer.get("state") or ""),
            digest=str(answer.get("digest") or ""),
            warnings=tuple(_warning(one) for one in answer.get("warnings") or ()),
            created=created,
            etag=etag,
            raw=answer,
        )


def moment(text: Any) -> datetime | None:
    """An RFC 3339 time, or None where there is none."""
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None


def _call(answer: Json) -> tuple[str, Json]:
    """`call` may be the word alone, or the action with its arguments."""
    call = answer.get("call") or ""
    if isinstance(call, Mapping):
        return str(call.get("action") or ""), call.get("arguments") or {}
    return str(call), answer.get("arguments") or {}


def _warning(answer: Any) -> str:
    """A finding in a line: where, what, and the way out."""
    return str(FieldError.from_answer(answer)) if isinstance(answer, Mapping) else str(answer)
