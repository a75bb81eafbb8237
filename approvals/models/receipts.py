# SPDX-License-Identifier: Apache-2.0
"""Receipts: what an approval permits, signed; how it was spent; and the public keys that prove it.

A receipt never says anything else than when it was minted. What moves is its state and the count of its uses, and a
trigger holds that on both databases. The private key stands in no table (`approvals/signing.py`).
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django_fsm import FSMModelMixin, transition

from approvals.models.requests import ActionRequest
from audit import actions
from audit.services import Subject
from config.guard import GuardedModel
from config.invariant import Invariant
from config.mail import DueMail, MailState
from config.state import StateField
from runs.models import LOOK_AGAIN, Run, Task


def new_receipt_id() -> str:
    return f"rcp_{secrets.token_hex(6)}"


def new_nonce() -> str:
    return secrets.token_hex(16)  # 128 bits


class SigningKey(models.Model):
    """The public half of a key that has signed receipts. It stays, so that old receipts can be verified."""

    id = models.CharField(primary_key=True, max_length=16, editable=False)  # of the key itself: `signing.id_of`
    public_key = models.CharField(max_length=44)  # base64 of its 32 bytes
    created_at = models.DateTimeField()
    distrusted_at = models.DateTimeField(null=True, blank=True)  # receipts under it are spent no more

    class Meta:
        ordering = ["-created_at"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"key {self.id}"

    def audit_subject(self) -> Subject:
        return Subject("signing_key", self.id, facts={"public_key": self.public_key})


class Executor(models.TextChoices):
    """Who does what was approved."""

    ENGINE = "engine", "this installation starts it"
    STEP = "step", "the step of a run that asked"
    CALLER = "caller", "whoever asked, outside"


class ReceiptState(models.TextChoices):
    HELD = "held"  # may be undone; nothing moves before not_before
    READY = "ready"  # may be spent
    SPENT = "spent"  # as often as it permits
    REVOKED = "revoked"  # taken back before it was spent
    EXPIRED = "expired"  # its time went by before it was spent


OPEN_RECEIPTS = (ReceiptState.HELD, ReceiptState.READY)


class Receipt(FSMModelMixin, GuardedModel):
    """Permission to do exactly one thing, so many times, within this time: minted by the deciding act."""

    id = models.CharField(primary_key=True, max_length=16, default=new_receipt_id, editable=False)
    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="receipts")
    revision = models.PositiveIntegerField()
    executor = models.CharField(max_length=8, choices=Executor)
    action = models.JSONField()  # exactly what was approved
    digest = models.CharField(max_length=64)  # SHA-256 of it, with request and revision (`approvals/proof.py`)
    proposed_digest = models.CharField(max_length=64)  # of the first revision
    content_digest = models.CharField(max_length=64)  # of all that the voters were shown
    outcome = models.CharField(max_length=64)
    voters = models.JSONField(default=list)  # [{name, outcome, at, for?}]
    constraints = models.JSONField(default=dict, blank=True)  # `approvals/constraints.py`
    uses_allowed = models.PositiveIntegerField(default=1)
    nonce = models.CharField(max_length=32, unique=True, default=new_nonce, editable=False)
    minted_at = models.DateTimeField()
    not_before = models.DateTimeField()
    not_after = models.DateTimeField(null=True, blank=True)
    key_id = models.CharField(max_length=16)  # no foreign key: whether it is known is asked when the receipt is spent
    signature = models.CharField(max_length=88)  # base64 of its 64 bytes

    state = StateField(choices=ReceiptState, default=ReceiptState.READY)
    uses = models.PositiveIntegerField(default=0)
    closed_at = models.DateTimeField(null=True, blank=True)  # spent, revoked or expired
    next_check_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-minted_at", "-id"]
        default_permissions = ("view",)
        permissions = [("spend", "May spend receipts of requests that others made")]
        indexes = [
            models.Index(fields=["next_check_at"], condition=Q(next_check_at__isnull=False), name="receipt_due_check"),
        ]
        constraints = [
            Invariant(condition=Q(state__in=ReceiptState.values), name="receipt_state_known"),
            Invariant(condition=Q(executor__in=Executor.values), name="receipt_executor_known"),
            Invariant(condition=Q(uses_allowed__gte=1) & Q(uses__lte=F("uses_allowed")), name="receipt_uses_within"),
            Invariant(
                condition=Q(state=ReceiptState.SPENT, uses=F("uses_allowed"))
                | (~Q(state=ReceiptState.SPENT) & Q(uses__lt=F("uses_allowed"))),
                name="receipt_spent_iff_used_up",
            ),
            Invariant(
                condition=Q(state__in=OPEN_RECEIPTS, next_check_at__isnull=False, closed_at__isnull=True)
                | (~Q(state__in=OPEN_RECEIPTS) & Q(next_check_at__isnull=True, closed_at__isnull=False)),
                name="receipt_open_iff_checked_again",
            ),
            Invariant(
                condition=Q(not_after__isnull=True) | Q(not_after__gt=F("not_before")), name="receipt_window_is_one"
            ),
            models.UniqueConstraint(
                fields=["request"], condition=Q(state__in=OPEN_RECEIPTS), name="receipt_one_open_per_request"
            ),
        ]

    def __str__(self) -> str:
        return f"receipt {self.id}"

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_RECEIPTS

    def audit_subject(self) -> Subject:
        request = self.request
        facts = {"nonce": self.nonce, "action_sha256": self.digest, "key": self.key_id}
        return Subject(
            "receipt", self.id, run_id=request.run_id, task_id=request.task_id, request_id=request.id, facts=facts
        )

    def look_again(self, at: datetime) -> None:
        """Set when somebody has to look at it next, if it is open."""
        if self.state == ReceiptState.HELD:
            self.next_check_at = self.not_before
        else:
            self.next_check_at = min(filter(None, (self.not_after, at + LOOK_AGAIN)))

    def _close(self, at: datetime) -> None:
        self.closed_at, self.next_check_at = at, None

    @transition(state, ReceiptState.HELD, ReceiptState.READY, custom={"action": actions.RECEIPT_RELEASED})
    def release(self, *, at: datetime) -> None:
        """Its hold is over."""
        self.next_check_at = min(filter(None, (self.not_after, at + LOOK_AGAIN)))

    @transition(state, ReceiptState.READY, ReceiptState.SPENT, custom={"action": actions.RECEIPT_SPENT})
    def spend(self, *, at: datetime) -> None:
        """The last use it permits."""
        self.uses += 1
        self._close(at)

    @transition(state, ReceiptState.READY, ReceiptState.READY, custom={"action": actions.RECEIPT_USED})
    def use(self, *, at: datetime) -> None:
        """One of several uses."""
        self.uses += 1

    @transition(state, OPEN_RECEIPTS, ReceiptState.REVOKED, custom={"action": actions.RECEIPT_REVOKED})
    def revoke(self, *, at: datetime) -> None:
        self._close(at)

    @transition(state, ReceiptState.READY, ReceiptState.EXPIRED, custom={"action": actions.RECEIPT_EXPIRED})
    def expire(self, *, at: datetime) -> None:
        self._close(at)


class Spending(models.Model):
    """One use of a receipt: the effective action, which was held against the approved one. Only added (trigger)."""

    receipt = models.ForeignKey(Receipt, models.PROTECT, related_name="spendings", db_index=False)
    number = models.PositiveIntegerField()
    action = models.JSONField()  # exactly what was about to be done
    digest = models.CharField(max_length=64)
    spent_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )  # None: the product itself
    run = models.ForeignKey(Run, models.PROTECT, null=True, blank=True, related_name="spendings")  # which it started
    task = models.ForeignKey(Task, models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    spent_at = models.DateTimeField()

    class Meta:
        ordering = ["receipt", "number"]
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["receipt", "number"], name="spending_number_once")]

    def __str__(self) -> str:
        return f"use {self.number} of {self.receipt_id}"


class ReceiptAlert(DueMail):
    """A mail about an attempt to do something else than what was approved, or to do it twice. `purpose` is its code."""

    receipt = models.ForeignKey(Receipt, models.PROTECT, related_name="alerts", db_index=False)

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["due_at"], condition=Q(state=MailState.DUE), name="receipt_alert_due")]
        constraints = [
            models.UniqueConstraint(fields=["receipt", "recipient", "purpose"], name="receipt_alert_once"),
            *DueMail.constraints("receipt_alert"),
        ]

    def is_needed(self) -> bool:
        return True


def receipt_of(request: Any) -> Receipt | None:
    """The newest of a request: what stands of its decision."""
    return Receipt.objects.filter(request=request).select_related("request").order_by("-minted_at", "-id").first()
