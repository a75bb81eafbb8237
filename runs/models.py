# SPDX-License-Identifier: Apache-2.0
"""Runs, tasks and effects: what is under way, who holds it, and what has taken effect outside.

The state of a row moves only through its transitions (django-fsm), each of which names the entry it emits.
Rows are written by guarded UPDATEs (`GuardedModel.write`); constraints hold what can never be false.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django_fsm import FSMModelMixin, transition

from audit import actions
from audit.services import Subject
from config import wake
from config.guard import GuardedModel
from config.invariant import Invariant
from config.mail import DueMail, MailState
from config.state import StateField
from playbooks.definition import Step, StepKind
from playbooks.models import Version
from runs import engine


class RunState(models.TextChoices):
    QUEUED = "queued"  # held back by a limit
    RUNNING = "running"
    PAUSING = "pausing"  # paused, once what runs has ended
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLING = "cancelling"  # cancelled, once what runs has ended
    CANCELLED = "cancelled"
    TERMINATED = "terminated"


ENDED_RUNS = (RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED, RunState.TERMINATED)


class TaskState(models.TextChoices):
    PENDING = "pending"  # claimable once `ready_at` is set
    RUNNING = "running"  # leased to `assignee`
    AWAITING_APPROVAL = "awaiting_approval"  # an action request is open
    APPROVED = "approved"  # answered; not yet resumed
    REJECTED = "rejected"
    COMPLETED = "completed"
    FAILED = "failed"  # this attempt; a retry is a new row
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    INCIDENT = "incident"  # waits for an operator


WAITING_TASKS = (TaskState.PENDING, TaskState.AWAITING_APPROVAL, TaskState.APPROVED)  # held by nobody
OPEN_TASKS = (*WAITING_TASKS, TaskState.RUNNING)
HELD_KINDS = (StepKind.AGENT, StepKind.SERVICE, StepKind.GOVERNANCE)
"""Kinds of task that somebody holds by a lease. People hold action requests; the other kinds only wait."""
JOINED_KINDS = (StepKind.PARALLEL, StepKind.FOREACH, StepKind.SWITCH)
"""Kinds whose task is open for as long as steps inside them are."""
LEASE_LOSSES_ALLOWED = 5
LOOK_AGAIN = timedelta(hours=6)
"""How far ahead `next_check_at` stands where no clock is nearer: nothing open is ever out of sight."""


class Priority(models.IntegerChoices):
    """Lower is sooner, so that indexes read forwards."""

    CRITICAL = 0
    HIGH = 1
    MEDIUM = 2
    LOW = 3


class RunQuerySet(models.QuerySet["Run"]):
    def visible_to(self, user: Any) -> RunQuerySet:
        """Runs of its starter, of members of a role of its steps, or all with `runs.view`."""
        if user.has_perm("runs.view"):
            return self
        roles = Version.roles.through.objects.filter(version=OuterRef("version"), group__user=user.pk)
        return self.filter(Q(started_by=user.pk) | Exists(roles))

    def open(self) -> RunQuerySet:
        return self.exclude(state__in=ENDED_RUNS)


class Run(FSMModelMixin, GuardedModel):
    """One execution of one version. `position` is the engine's compact state; `revision` guards every move."""

    version = models.ForeignKey(Version, models.PROTECT, related_name="runs", db_index=False)
    root = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )  # first of its forks
    parent = models.ForeignKey(  # the step that started it, of another run
        "Task", models.PROTECT, null=True, blank=True, related_name="child_runs", db_index=False
    )
    depth = models.PositiveSmallIntegerField(default=0)  # of runs within runs
    state = StateField(choices=RunState, default=RunState.RUNNING)
    revision = models.PositiveIntegerField(default=0)
    position = models.JSONField(default=dict)
    payload = models.JSONField(default=dict)
    labels = models.JSONField(default=dict, blank=True)
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.MEDIUM)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="runs_started", db_index=False
    )
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by_step = models.CharField(max_length=100, blank=True)  # the step whose verdict or fault ended it
    stalled_at = models.DateTimeField(null=True, blank=True)
    next_check_at = models.DateTimeField(null=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        default_permissions = ("view",)
        permissions = [
            ("start", "May start runs"),
            ("view", "May see all runs"),
            ("control", "May cancel, pause and retry runs"),
        ]
        indexes = [
            models.Index(fields=["state", "-id"], name="run_by_state"),
            models.Index(fields=["version", "-id"], name="run_by_version"),
            models.Index(fields=["started_by", "-id"], name="run_by_starter"),
            models.Index(fields=["next_check_at"], condition=Q(next_check_at__isnull=False), name="run_due_check"),
            models.Index(fields=["root"], condition=Q(root__isnull=False), name="run_of_root"),
            models.Index(fields=["parent"], condition=Q(parent__isnull=False), name="run_of_parent"),
        ]
        constraints = [
            Invariant(condition=Q(state__in=RunState.values), name="run_state_known"),
            Invariant(
                condition=Q(state__in=ENDED_RUNS, ended_at__isnull=False, next_check_at__isnull=True)
                | (~Q(state__in=ENDED_RUNS) & Q(ended_at__isnull=True, next_check_at__isnull=False)),
                name="run_open_iff_checked_again",
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.pk}"

    @property
    def is_open(self) -> bool:
        return self.state not in ENDED_RUNS

    @property
    def etag(self) -> str:
        return f'"{self.revision}"'

    @property
    def moves_on(self) -> bool:
        """Whether an ended task advances this run. In a cancelling run only what undoes does, after all else."""
        return self.state == RunState.RUNNING or (self.state == RunState.CANCELLING and "undoing" in self.position)

    def audit_subject(self) -> Subject:
        version = self.version
        facts = {"playbook": str(version.playbook_id), "version": version.number, "sha256": version.digest}
        return Subject(type="run", id=str(self.pk), run_id=self.pk, facts=facts)

    def _end(self, at: datetime, step: str = "") -> None:
        self.ended_at, self.next_check_at, self.ended_by_step = at, None, step

    @transition(state, RunState.QUEUED, RunState.RUNNING, custom={"action": actions.RUN_DEQUEUED})
    def dequeue(self, *, at: datetime) -> None:
        """Its limit lets it go."""

    @transition(state, RunState.RUNNING, RunState.COMPLETED, custom={"action": actions.RUN_COMPLETED})
    def complete(self, *, at: datetime) -> None:
        self._end(at)

    @transition(state, RunState.RUNNING, RunState.FAILED, custom={"action": actions.RUN_FAILED})
    def fail(self, *, at: datetime, step: str) -> None:
        self._end(at, step)

    @transition(
        state,
        [RunState.QUEUED, RunState.RUNNING],
        RunState.CANCELLING,
        custom={"action": actions.RUN_CANCELLING},
    )
    def cancel(self, *, at: datetime) -> None:
        """What runs keeps its lease and hears `cancel_requested`; everything else closes at once."""

    @transition(state, RunState.CANCELLING, RunState.CANCELLED, custom={"action": actions.RUN_CANCELLED})
    def end_cancelled(self, *, at: datetime) -> None:
        self._end(at)

    @transition(
        state,
        [RunState.QUEUED, RunState.RUNNING, RunState.PAUSING, RunState.PAUSED, RunState.CANCELLING],
        RunState.TERMINATED,
        custom={"action": actions.RUN_TERMINATED},
    )
    def terminate(self, *, at: datetime) -> None:
        """At once: nothing is waited for, and nothing is undone."""
        self._end(at)


class TaskQuerySet(models.QuerySet["Task"]):
    def visible_to(self, user: Any) -> TaskQuerySet:
        return self.filter(run__in=Run.objects.visible_to(user))

    def open(self) -> TaskQuerySet:
        return self.filter(state__in=OPEN_TASKS)

    def newest(self) -> TaskQuerySet:
        """Of each step at each place, the last attempt alone."""
        later = self.model.objects.filter(run=OuterRef("run"), path=OuterRef("path"), attempt__gt=OuterRef("attempt"))
        return self.filter(~Exists(later))

    def unresolved(self) -> TaskQuerySet:
        """Incidents that wait for an operator."""
        return self.filter(state=TaskState.INCIDENT, resolved_at__isnull=True)

    def ready(self) -> TaskQuerySet:
        """Claimable, soonest first. `ready_at` is set by a write, so no clock is compared."""
        return self.filter(state=TaskState.PENDING, ready_at__isnull=False).order_by("priority", "ready_at", "id")


class Resolution(models.TextChoices):
    """What an operator made of an incident; `closed`: its run, or the step around it, ended without it."""

    RETRY = "retry"
    SKIP = "skip"
    FAIL = "fail"
    CLOSED = "closed"


class Task(FSMModelMixin, GuardedModel):
    """One attempt at one step of a run, of whatever kind.

    A step that waits (for a moment, a signal, a child run, the steps inside it) is pending until what it waits for
    has come; nobody can claim it.
    """

    run = models.ForeignKey(Run, models.PROTECT, related_name="tasks", db_index=False)
    step = models.CharField(max_length=100)
    path = models.CharField(max_length=300)  # where it stands in its run, e.g. `approve`, `check[3]/screen`
    scope = models.CharField(max_length=300, blank=True)  # the item of a foreach step it belongs to, e.g. `check[3]`
    attempt = models.PositiveIntegerField(default=1)
    # Attempts before an operator had it, or the step around it, tried again; None if nobody had.
    tries_before = models.PositiveIntegerField(null=True)
    kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in StepKind])
    role = models.CharField(max_length=110)
    by_worker = models.BooleanField(default=False)  # our worker performs it; API clients cannot claim it
    state = StateField(choices=TaskState, default=TaskState.PENDING)
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.MEDIUM)
    created_at = models.DateTimeField()
    scheduled_at = models.DateTimeField()  # when the first attempt at this step was made
    stalled_at = models.DateTimeField(null=True, blank=True)  # flagged, once, by a clock that only alerts
    ready_at = models.DateTimeField(null=True, blank=True)  # set by a write: time passing makes nothing claimable
    next_check_at = models.DateTimeField(null=True)
    wake_at = models.DateTimeField(null=True, blank=True)  # when a wait is over
    input = models.JSONField(null=True, blank=True)  # what its step maps, or holds: items, the case
    item = models.JSONField(null=True, blank=True)  # of the foreach step around it

    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="tasks_held", db_index=False
    )
    credential = models.CharField(max_length=40, blank=True)  # what the assignee showed when claiming
    holder = models.CharField(max_length=100, blank=True)  # host and process of a worker, for its supervisor
    token_hash = models.CharField(max_length=64, blank=True)
    fence = models.PositiveIntegerField(default=0)  # rises with each claim; only a claim raises it
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    lease_losses = models.PositiveSmallIntegerField(default=0)

    outcome = models.CharField(max_length=64, blank=True)
    output = models.JSONField(null=True, blank=True)
    note = models.TextField(blank=True)
    answer_digest = models.CharField(max_length=64, blank=True)  # of the completing call, to recognise its repetition
    approval = models.JSONField(null=True, blank=True)  # the answer to its action request
    error_type = models.CharField(max_length=100, blank=True)
    error_message = models.TextField(blank=True)
    retry_reason = models.CharField(max_length=300, blank=True)  # why it is (not) tried again, and by which rule
    retry_delay_seconds = models.FloatField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=10, choices=Resolution, blank=True)  # of an incident
    resolved_at = models.DateTimeField(null=True, blank=True)

    objects = TaskQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        default_permissions = ("view",)
        indexes = [
            models.Index(
                fields=["role", "priority", "ready_at", "id"],
                condition=Q(state=TaskState.PENDING, ready_at__isnull=False),
                name="task_claimable",
            ),
            models.Index(
                fields=["priority", "ready_at", "id"],
                condition=Q(state=TaskState.PENDING, ready_at__isnull=False, by_worker=True),
                name="task_for_worker",
            ),
            models.Index(fields=["next_check_at"], condition=Q(next_check_at__isnull=False), name="task_due_check"),
            models.Index(fields=["assignee"], condition=Q(state=TaskState.RUNNING), name="task_held"),
            models.Index(fields=["run", "scope"], name="task_in_scope"),
            models.Index(
                fields=["-id"], condition=Q(state=TaskState.INCIDENT, resolved_at__isnull=True), name="task_unresolved"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "path"], condition=Q(state__in=OPEN_TASKS), name="task_one_open_per_path"
            ),
            models.UniqueConstraint(fields=["run", "path", "attempt"], name="task_attempt_once"),
            Invariant(condition=Q(state__in=TaskState.values), name="task_state_known"),
            Invariant(condition=Q(kind__in=[*StepKind]), name="task_kind_is_known"),
            Invariant(
                condition=(
                    Q(
                        state=TaskState.RUNNING,
                        assignee__isnull=False,
                        lease_expires_at__isnull=False,
                        fence__gt=0,
                    )
                    & ~Q(token_hash="")
                )
                | (~Q(state=TaskState.RUNNING) & Q(lease_expires_at__isnull=True, token_hash="")),
                name="task_lease_iff_running",
            ),
            Invariant(
                condition=Q(ready_at__isnull=True) | Q(state=TaskState.PENDING),
                name="task_ready_only_if_pending",
            ),
            Invariant(
                condition=Q(state__in=OPEN_TASKS, next_check_at__isnull=False, ended_at__isnull=True)
                | (~Q(state__in=OPEN_TASKS) & Q(next_check_at__isnull=True, ended_at__isnull=False)),
                name="task_open_iff_checked_again",
            ),
            Invariant(condition=~Q(state=TaskState.COMPLETED) | ~Q(outcome=""), name="task_completed_has_outcome"),
            Invariant(
                condition=Q(kind__in=HELD_KINDS) | ~Q(state=TaskState.RUNNING), name="task_held_only_if_of_held_kind"
            ),
            Invariant(
                condition=~Q(kind__in=HELD_KINDS)
                | ~Q(state=TaskState.COMPLETED)
                | Q(fence__gt=0)
                | Q(approval__isnull=False),
                name="task_completed_by_somebody",
            ),
            Invariant(
                condition=Q(resolution="", resolved_at__isnull=True)
                | (Q(state=TaskState.INCIDENT, resolved_at__isnull=False) & ~Q(resolution="")),
                name="task_resolved_only_if_incident",
            ),
        ]

    def __str__(self) -> str:
        return f"task {self.pk} ({self.path})"

    @property
    def etag(self) -> str:
        resolved = f"-{self.resolution}" if self.resolution else ""
        return f'"{self.fence}-{self.state}{resolved}"'

    @property
    def fault(self) -> str:
        """What went wrong, by its kind and in words."""
        return ": ".join(part for part in (self.error_type, self.error_message) if part)

    @property
    def wakes(self) -> tuple[str, ...]:
        """For whom there may be something to do once this is written (`config/wake.py`)."""
        if self.state != TaskState.PENDING:
            return ()
        if self.ready_at is None or self.by_worker:
            return (wake.WORK,)  # to perform it, or to look at a clock that may be nearer than the others
        return (wake.TASKS,)

    @property
    def definition(self) -> Step:
        return engine.step_at(self.run.version.definition, self.path)

    @property
    def is_unresolved(self) -> bool:
        return self.state == TaskState.INCIDENT and self.resolved_at is None

    def audit_subject(self) -> Subject:
        facts = {"path": self.path, "attempt": self.attempt, "fence": self.fence, "role": self.role}
        return Subject(type="task", id=str(self.pk), run_id=self.run_id, task_id=self.pk, step=self.step, facts=facts)

    def _let_go(self) -> None:
        self.token_hash, self.lease_expires_at = "", None

    def _end(self, at: datetime) -> None:
        self._let_go()
        self.ready_at, self.next_check_at, self.ended_at = None, None, at

    @transition(state, TaskState.PENDING, TaskState.RUNNING, custom={"action": actions.TASK_CLAIMED})
    def claim(self, *, by: Any, token_hash: str, until: datetime, at: datetime, credential: str, holder: str) -> None:
        self.assignee, self.token_hash, self.credential, self.holder = by, token_hash, credential, holder
        self.fence += 1
        self.claimed_at, self.lease_expires_at, self.next_check_at = at, until, until
        self.ready_at = None

    @transition(state, TaskState.RUNNING, TaskState.PENDING, custom={"action": actions.TASK_RELEASED})
    def release(self, *, at: datetime) -> None:
        self._let_go()
        self.ready_at, self.next_check_at = at, at + LOOK_AGAIN

    @transition(state, TaskState.RUNNING, TaskState.PENDING, custom={"action": actions.TASK_LEASE_LOST})
    def lose_lease(self, *, at: datetime) -> None:
        self._let_go()
        self.lease_losses += 1
        self.ready_at, self.next_check_at = at, at + LOOK_AGAIN

    @transition(state, TaskState.RUNNING, TaskState.COMPLETED, custom={"action": actions.TASK_COMPLETED})
    def complete(self, *, outcome: str, output: Any, note: str, answer_digest: str, at: datetime) -> None:
        self.outcome, self.output, self.note, self.answer_digest = outcome, output, note, answer_digest
        self._end(at)

    @transition(state, TaskState.RUNNING, TaskState.FAILED, custom={"action": actions.TASK_FAILED})
    def fail(
        self, *, error_type: str, message: str, reason: str, delay: float | None, answer_digest: str, at: datetime
    ) -> None:
        self.answer_digest = answer_digest
        self.error_type, self.error_message = error_type, message
        self.retry_reason, self.retry_delay_seconds = reason, delay
        self._end(at)

    @transition(
        state,
        [TaskState.PENDING, TaskState.RUNNING, TaskState.AWAITING_APPROVAL, TaskState.APPROVED],
        TaskState.FAILED,
        custom={"action": actions.TASK_TIMED_OUT},
    )
    def time_out(self, *, error_type: str, message: str, reason: str, delay: float | None, at: datetime) -> None:
        """One of its clocks ran out."""
        self.error_type, self.error_message = error_type, message
        self.retry_reason, self.retry_delay_seconds = reason, delay
        self._end(at)

    @transition(state, OPEN_TASKS, TaskState.INCIDENT, custom={"action": actions.TASK_INCIDENT})
    def raise_incident(
        self, *, reason: str, at: datetime, error_type: str = "", message: str = "", answer_digest: str = ""
    ) -> None:
        """It cannot go on by itself, and waits for an operator."""
        self.error_type, self.error_message, self.answer_digest = error_type, message, answer_digest
        self.retry_reason = reason[:300]
        self._end(at)

    @transition(state, TaskState.PENDING, TaskState.COMPLETED, custom={"action": actions.TASK_COMPLETED})
    def arrive(self, *, output: Any, at: datetime) -> None:
        """What it waited for has come: the moment, the signal, the child run's end, the join of its branches."""
        self.outcome, self.output = "PASS", output
        self._end(at)

    @transition(state, TaskState.PENDING, TaskState.FAILED, custom={"action": actions.TASK_FAILED})
    def give_up(self, *, error_type: str, message: str, at: datetime) -> None:
        """What it waited for has failed, or does not come any more; or it could not begin."""
        self.outcome, self.error_type, self.error_message = "FAIL", error_type, message
        self._end(at)

    @transition(state, TaskState.PENDING, TaskState.SKIPPED, custom={"action": actions.TASK_SKIPPED})
    def skip(self, *, at: datetime, output: Any = None) -> None:
        self.output = output
        self._end(at)

    @transition(state, TaskState.PENDING, TaskState.AWAITING_APPROVAL, custom={"action": actions.TASK_AWAITING})
    def ask(self, *, at: datetime) -> None:
        self.ready_at, self.next_check_at = None, at + LOOK_AGAIN

    @transition(state, TaskState.RUNNING, TaskState.AWAITING_APPROVAL, custom={"action": actions.TASK_AWAITING})
    def ask_in_mid_task(self, *, at: datetime) -> None:
        """Its holder asks a person and lets go of the lease; by the same token they resume once approved."""
        self.approval = {"asked_with": self.token_hash}
        self._let_go()
        self.next_check_at = at + LOOK_AGAIN

    @transition(state, TaskState.APPROVED, TaskState.RUNNING, custom={"action": actions.TASK_RESUMED})
    def resume(self, *, token_hash: str, until: datetime, at: datetime, credential: str) -> None:
        self.token_hash, self.credential = token_hash, credential
        self.fence += 1
        self.claimed_at, self.lease_expires_at, self.next_check_at = at, until, until

    @transition(state, TaskState.APPROVED, TaskState.PENDING, custom={"action": actions.TASK_NOT_RESUMED})
    def offer_again(self, *, at: datetime) -> None:
        """Nobody resumed it in time; whoever claims it finds the answer in `approval`."""
        self.ready_at, self.next_check_at = at, at + LOOK_AGAIN

    @transition(state, TaskState.AWAITING_APPROVAL, TaskState.APPROVED, custom={"action": actions.TASK_APPROVED})
    def approve(self, *, approval: Any, at: datetime) -> None:
        self.approval = approval

    @transition(state, TaskState.AWAITING_APPROVAL, TaskState.REJECTED, custom={"action": actions.TASK_REJECTED})
    def reject(self, *, approval: Any, outcome: str, note: str, at: datetime) -> None:
        self.approval, self.outcome, self.note = approval, outcome, note
        self._end(at)

    @transition(state, TaskState.APPROVED, TaskState.COMPLETED, custom={"action": actions.TASK_COMPLETED})
    def conclude(self, *, outcome: str, output: Any, note: str, at: datetime) -> None:
        """A human step ends with its answer."""
        self.outcome, self.output, self.note = outcome, output, note
        self._end(at)

    @transition(state, OPEN_TASKS, TaskState.CANCELLED, custom={"action": actions.TASK_CANCELLED})
    def cancel(self, *, at: datetime) -> None:
        """It is not needed any more. Who holds it hears `lease_lost`."""
        self._end(at)


class IncidentManager(models.Manager["Incident"]):
    def get_queryset(self) -> Any:
        return TaskQuerySet(self.model, using=self._db).unresolved()


class Incident(Task):
    """A task that waits for an operator."""

    objects = IncidentManager.from_queryset(TaskQuerySet)()  # type: ignore[misc,assignment]

    class Meta:
        proxy = True
        default_permissions = ()


class Signal(models.Model):
    """Something that happened outside, told to a run by name. Kept until a step waits for it; one step gets it."""

    run = models.ForeignKey(Run, models.PROTECT, related_name="signals", db_index=False)
    name = models.CharField(max_length=100)
    data = models.JSONField(null=True, blank=True)
    sent_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False)
    sent_at = models.DateTimeField()
    task = models.OneToOneField(Task, models.PROTECT, null=True, blank=True, related_name="signal")  # that got it

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["run", "name", "id"], condition=Q(task__isnull=True), name="signal_kept")]

    def __str__(self) -> str:
        return f"{self.name} for run {self.run_id}"


class Word(models.TextChoices):
    """What a run and its child have to say to each other."""

    START = "start"  # to the parent's step: start your run
    ENDED = "ended"  # to the parent's step: the run you started has ended
    CLOSE = "close"  # to the child: the step that started you is over; your `parent_close_policy` says what follows


class RunMessage(models.Model):
    """A due row between a run and its child: no transaction ever locks two runs, so they cannot wait for each other."""

    word = models.CharField(max_length=5, choices=Word)
    task = models.ForeignKey(Task, models.PROTECT, related_name="messages", db_index=False)  # the parent's step
    note = models.TextField(blank=True)  # why there is no child run
    sent_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True, blank=True)

    wakes = (wake.WORK,)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["sent_at"], condition=Q(done_at__isnull=True), name="message_due")]
        constraints = [models.UniqueConstraint(fields=["task", "word"], name="message_once")]

    def __str__(self) -> str:
        return f"{self.word} of {self.task_id}"


class EffectState(models.TextChoices):
    INTENDED = "intended"  # about to be requested, or requested with an unknown answer
    CONFIRMED = "confirmed"  # took effect; `result` is returned instead of asking again


class Effect(models.Model):
    """One act on the world outside, under a key that no retry, fork or replay changes."""

    key = models.CharField(max_length=64, primary_key=True)  # SHA-256 hex: origin, root run, path, number, input
    run = models.ForeignKey(Run, models.PROTECT, related_name="effects")
    task = models.ForeignKey(
        Task, models.PROTECT, related_name="effects", db_index=False
    )  # the attempt that first intended it
    action = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=EffectState, default=EffectState.INTENDED)
    result = models.JSONField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=1)  # that intended it last
    intended_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True, blank=True)

    asked_before = False  # whether an earlier attempt may have asked for it; said by whoever intends it
    found_by_query = False  # whether the result was asked for, and not made, by this attempt

    class Meta:
        default_permissions = ("view",)
        constraints = [
            Invariant(
                condition=Q(state=EffectState.CONFIRMED, confirmed_at__isnull=False)
                | Q(state=EffectState.INTENDED, confirmed_at__isnull=True),
                name="effect_confirmed_iff_at",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.key[:12]}"


class Notice(DueMail):
    """A mail about a run, to one person."""

    run = models.ForeignKey(Run, models.PROTECT, related_name="notices")
    task = models.ForeignKey(Task, models.PROTECT, null=True, blank=True, related_name="notices", db_index=False)

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["due_at"], condition=Q(state=MailState.DUE), name="notice_due")]
        constraints = [
            models.UniqueConstraint(fields=["task", "recipient", "purpose"], name="notice_once"),
            *DueMail.constraints("notice"),
        ]

    def is_needed(self) -> bool:
        return self.run.is_open


class WorkerHost(models.Model):
    """A worker's sign of progress, written by its supervisor; `/readyz` reads it."""

    name = models.CharField(max_length=100, primary_key=True)  # host:pid
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    restarts = models.PositiveIntegerField(default=0)  # stalled clusters restarted

    class Meta:
        default_permissions = ("view",)
        verbose_name_plural = "health"  # the page that shows them

    def __str__(self) -> str:
        return self.name
