# SPDX-License-Identifier: Apache-2.0
"""Action requests: a question to a person, the votes on it, and the mails about it."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django_fsm import FSMField, FSMModelMixin, transition

from audit import actions
from audit.services import Subject
from config.guard import GuardedModel
from config.mail import DueMail, MailState
from runs.models import LOOK_AGAIN, Priority, Run, Task


def new_request_id() -> str:
    return f"har_{secrets.token_hex(6)}"


class RequestType(models.TextChoices):
    """The seven of the field's contract, and approval of a playbook's step (a `custom` with options)."""

    API_KEY = "api_key"
    ACCOUNT_CREATION = "account_creation"
    LEGAL_DOCUMENT = "legal_document"
    PAYMENT_AUTHORIZATION = "payment_authorization"
    BUSINESS_SETUP = "business_setup"
    STRATEGIC_DECISION = "strategic_decision"
    CUSTOM = "custom"


class RequestState(models.TextChoices):
    PENDING = "pending"
    IN_REVIEW = "in_review"  # claimed by a person
    INFO_REQUESTED = "info_requested"  # its clock is paused
    CHANGES_REQUESTED = "changes_requested"  # waits for a new revision
    FULFILLED = "fulfilled"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    NOT_REQUIRED = "not_required"  # its task or run ended without it


OPEN_REQUESTS = (
    RequestState.PENDING,
    RequestState.IN_REVIEW,
    RequestState.INFO_REQUESTED,
    RequestState.CHANGES_REQUESTED,
)
DECIDABLE_REQUESTS = (RequestState.PENDING, RequestState.IN_REVIEW)


class Severity(models.TextChoices):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class RequestQuerySet(models.QuerySet["ActionRequest"]):
    def visible_to(self, user: Any) -> RequestQuerySet:
        """Of its requester, of members of its role, of whoever may see its run."""
        if user.has_perm("runs.view"):
            return self
        run = Run.objects.visible_to(user).filter(pk=OuterRef("run"))
        return self.filter(Q(requester=user.pk) | Q(decided_by=user.pk) | Q(role__in=user.roles) | Exists(run))

    def open(self) -> RequestQuerySet:
        return self.filter(state__in=OPEN_REQUESTS)

    def decidable_by(self, user: Any) -> RequestQuerySet:
        """What this person's inbox holds: of their roles, still undecided."""
        if not user.is_human:
            return self.none()
        voted = Vote.objects.filter(request=OuterRef("pk"), revision=OuterRef("revision"), voter=user.pk)
        return self.filter(~Exists(voted), state__in=DECIDABLE_REQUESTS, role__in=user.roles)

    def in_inbox_order(self) -> RequestQuerySet:
        return self.order_by("priority", models.F("due_at").asc(nulls_last=True), "created_at", "id")


class ActionRequest(FSMModelMixin, GuardedModel):
    """A question to a human. What is asked (`revision`, `asked`, `digest`) is frozen; the answer stands beside it."""

    id = models.CharField(primary_key=True, max_length=16, default=new_request_id, editable=False)
    task = models.ForeignKey(Task, models.PROTECT, null=True, blank=True, related_name="requests")
    run = models.ForeignKey(Run, models.PROTECT, null=True, blank=True, related_name="requests")
    workflow_id = models.CharField(max_length=100, blank=True)  # the caller's own word for its run
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="requests_made", db_index=False
    )
    role = models.CharField(max_length=110)  # whose members may decide
    request_type = models.CharField(max_length=24, choices=RequestType, default=RequestType.CUSTOM)
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    severity = models.CharField(max_length=8, choices=Severity, default=Severity.MEDIUM)  # harm if wrong
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.MEDIUM)  # urgency of the answer

    revision = models.PositiveIntegerField(default=1)
    asked = models.JSONField(default=dict)  # {call, input, context}: exactly what is to be decided
    required_fields = models.JSONField(default=dict, blank=True)  # {field: description}, as agents send it
    form = models.JSONField(null=True, blank=True)  # JSON Schema of the answer
    options = models.JSONField(default=list)  # [{key, label, ends}]
    policy = models.JSONField(default=dict)  # frozen at creation
    digest = models.CharField(max_length=64)  # SHA-256 over what is asked, in canonical form

    state = FSMField(choices=RequestState, default=RequestState.PENDING, protected=True)
    claimed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="requests_claimed"
    )
    claim_token_hash = models.CharField(max_length=64, blank=True)
    claim_expires_at = models.DateTimeField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)  # renewals count from here up to their cap
    # A claim that has run out, until another is made: who had it may renew it, and their text is not lost.
    lapsed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    lapsed_token_hash = models.CharField(max_length=64, blank=True)
    outcome = models.CharField(max_length=64, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="requests_decided"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    response_data = models.JSONField(null=True, blank=True)
    notes = models.TextField(blank=True)
    rejection_reason = models.TextField(blank=True)
    claimed_decider = models.CharField(max_length=150, blank=True)  # `fulfilled_by` of a body: unverified

    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    follow_up_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    next_check_at = models.DateTimeField(null=True)

    objects = RequestQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        default_permissions = ("view",)
        indexes = [
            models.Index(
                fields=["role", "priority", "due_at", "created_at"],
                condition=Q(state__in=DECIDABLE_REQUESTS),
                name="request_inbox",
            ),
            models.Index(fields=["next_check_at"], condition=Q(next_check_at__isnull=False), name="request_due_check"),
            models.Index(fields=["state", "-created_at"], name="request_by_state"),
            models.Index(fields=["requester", "-created_at"], name="request_by_requester"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=RequestState.values), name="request_state_known"),
            models.UniqueConstraint(
                fields=["task"], condition=Q(state__in=OPEN_REQUESTS), name="request_one_open_per_task"
            ),
            models.CheckConstraint(
                condition=(
                    Q(state__in=[RequestState.FULFILLED, RequestState.REJECTED])
                    & Q(decided_by__isnull=False, decided_at__isnull=False)
                    & ~Q(outcome="")
                )
                | (
                    ~Q(state__in=[RequestState.FULFILLED, RequestState.REJECTED])
                    & Q(decided_by__isnull=True, outcome="")
                ),
                name="request_decided_iff_decider",
            ),
            models.CheckConstraint(
                condition=Q(state__in=OPEN_REQUESTS, next_check_at__isnull=False)
                | (~Q(state__in=OPEN_REQUESTS) & Q(next_check_at__isnull=True)),
                name="request_open_iff_checked_again",
            ),
            models.CheckConstraint(
                condition=Q(state=RequestState.IN_REVIEW, claimed_by__isnull=False, claim_expires_at__isnull=False)
                | (~Q(state=RequestState.IN_REVIEW) & Q(claim_token_hash="")),
                name="request_claim_iff_in_review",
            ),
        ]

    def __str__(self) -> str:
        return f"request {self.id}"  # not its title, which is text of others

    @property
    def etag(self) -> str:
        return f'"{self.revision}-{self.state}"'

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_REQUESTS

    def audit_subject(self) -> Subject:
        facts = {"revision": self.revision, "content_hash": self.digest, "role": self.role}
        step = self.task.step if self.task_id and self.task else ""
        return Subject(
            "request",
            self.id,
            run_id=self.run_id,
            task_id=self.task_id,
            request_id=self.id,
            step=step,
            facts=facts,
        )

    def _unclaim(self, at: datetime) -> None:
        self.claimed_by, self.claim_token_hash, self.claim_expires_at = None, "", None
        self.next_check_at, self.updated_at = at + LOOK_AGAIN, at

    def _end(self, at: datetime) -> None:
        self.claim_token_hash, self.claim_expires_at, self.next_check_at, self.updated_at = "", None, None, at

    @transition(state, RequestState.PENDING, RequestState.IN_REVIEW, custom={"action": actions.REQUEST_CLAIMED})
    def claim(self, *, by: Any, token_hash: str, until: datetime, at: datetime) -> None:
        again = self.lapsed_token_hash == token_hash
        self.claimed_at = self.claimed_at if again else at
        self.claimed_by, self.claim_token_hash, self.claim_expires_at = by, token_hash, until
        self.lapsed_by, self.lapsed_token_hash = None, ""
        self.next_check_at, self.updated_at = until, at

    @transition(state, RequestState.IN_REVIEW, RequestState.PENDING, custom={"action": actions.REQUEST_RELEASED})
    def release(self, *, at: datetime) -> None:
        self._unclaim(at)

    @transition(state, RequestState.IN_REVIEW, RequestState.PENDING, custom={"action": actions.REQUEST_CLAIM_EXPIRED})
    def lapse(self, *, at: datetime) -> None:
        """The claim has run out: anybody of the role may claim; who had it may renew."""
        self.lapsed_by, self.lapsed_token_hash = self.claimed_by, self.claim_token_hash
        self._unclaim(at)

    @transition(state, DECIDABLE_REQUESTS, RequestState.FULFILLED, custom={"action": actions.REQUEST_FULFILLED})
    def fulfill(self, *, by: Any, outcome: str, response_data: Any, notes: str, at: datetime) -> None:
        self.decided_by, self.decided_at, self.outcome = by, at, outcome
        self.response_data, self.notes = response_data, notes
        self._end(at)

    @transition(state, DECIDABLE_REQUESTS, RequestState.REJECTED, custom={"action": actions.REQUEST_REJECTED})
    def reject(self, *, by: Any, outcome: str, reason: str, at: datetime) -> None:
        self.decided_by, self.decided_at, self.outcome, self.rejection_reason = by, at, outcome, reason
        self._end(at)

    @transition(state, OPEN_REQUESTS, RequestState.CANCELLED, custom={"action": actions.REQUEST_CANCELLED})
    def cancel(self, *, at: datetime) -> None:
        """Its requester takes the question back."""
        self._end(at)

    @transition(state, OPEN_REQUESTS, RequestState.EXPIRED, custom={"action": actions.REQUEST_EXPIRED})
    def expire(self, *, at: datetime) -> None:
        """Nobody answered in time: the clock's doing, and no person's no."""
        self._end(at)

    @transition(state, OPEN_REQUESTS, RequestState.NOT_REQUIRED, custom={"action": actions.REQUEST_NOT_REQUIRED})
    def become_not_required(self, *, at: datetime) -> None:
        """Its task or run ended without it."""
        self._end(at)


class Vote(models.Model):
    """One person's answer to one revision. Votes are only added (trigger)."""

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="votes", db_index=False)
    revision = models.PositiveIntegerField()
    voter = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="votes")
    outcome = models.CharField(max_length=64)
    reason = models.TextField(blank=True)
    digest = models.CharField(max_length=64)  # of what the voter was shown
    channel = models.CharField(max_length=12)
    voted_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["request", "revision", "voter"], name="vote_one_per_person_and_revision")
        ]

    def __str__(self) -> str:
        return f"{self.outcome} by {self.voter_id}"


class Notification(DueMail):
    """A mail about a request, to one person."""

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="notifications", db_index=False)

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["due_at"], condition=Q(state=MailState.DUE), name="notification_due")]
        constraints = [
            models.UniqueConstraint(fields=["request", "recipient", "purpose"], name="notification_once"),
            *DueMail.constraints("notification"),
        ]

    def is_needed(self) -> bool:
        return self.request.is_open
