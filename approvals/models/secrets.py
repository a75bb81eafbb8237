# SPDX-License-Identifier: Apache-2.0
"""Secrets that people gave as answers: sealed, handed out once, then destroyed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django_fsm import FSMModelMixin, transition

from approvals.keyring import Sealed
from approvals.models.requests import ActionRequest
from audit import actions
from audit.services import Subject
from config.guard import GuardedModel
from config.invariant import Invariant
from config.state import StateField


class SecretState(models.TextChoices):
    HELD = "held"  # sealed; its asker may fetch it until `expires_at`
    UNWRAPPED = "unwrapped"  # handed to its asker, once
    REPLACED = "replaced"  # its giver gave another
    REVOKED = "revoked"  # its giver took it back
    EXPIRED = "expired"  # nobody fetched it in time
    WITHDRAWN = "withdrawn"  # the decision that gave it does not stand any more


class Secret(FSMModelMixin, GuardedModel):
    """One secret value of one answer. Whatever ends it destroys it: the sealed value and its key are forgotten."""

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="secrets", db_index=False)
    field = models.TextField()  # its name in the answer
    given_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False)
    given_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    key_id = models.CharField(max_length=16)  # of the key of the ring that wraps it
    wrapped_key = models.BinaryField(null=True)
    ciphertext = models.BinaryField(null=True)
    state = StateField(choices=SecretState, default=SecretState.HELD)
    ended_at = models.DateTimeField(null=True, blank=True)
    next_check_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["next_check_at"], condition=Q(state=SecretState.HELD), name="secret_due_check"),
            models.Index(fields=["request", "id"], name="secret_of_request"),
        ]
        constraints = [
            Invariant(condition=Q(state__in=SecretState.values), name="secret_state_known"),
            models.UniqueConstraint(
                fields=["request", "field"], condition=Q(state=SecretState.HELD), name="secret_one_held_per_field"
            ),
            Invariant(
                condition=Q(
                    state=SecretState.HELD,
                    wrapped_key__isnull=False,
                    ciphertext__isnull=False,
                    next_check_at__isnull=False,
                    ended_at__isnull=True,
                )
                | (
                    ~Q(state=SecretState.HELD)
                    & Q(
                        wrapped_key__isnull=True,
                        ciphertext__isnull=True,
                        next_check_at__isnull=True,
                        ended_at__isnull=False,
                    )
                ),
                name="secret_destroyed_iff_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"secret of {self.request_id}"

    @property
    def is_held(self) -> bool:
        return self.state == SecretState.HELD

    @property
    def place(self) -> bytes:
        """What its value is bound to: it opens in this row, and in no other."""
        return f"{self.request_id}\n{self.given_at.isoformat()}\n{self.field}".encode()

    @property
    def sealed(self) -> Sealed:
        assert self.ciphertext is not None
        assert self.wrapped_key is not None
        return Sealed(bytes(self.ciphertext), bytes(self.wrapped_key), self.key_id)

    @sealed.setter
    def sealed(self, sealed: Sealed) -> None:
        self.ciphertext, self.wrapped_key, self.key_id = sealed.ciphertext, sealed.wrapped_key, sealed.key_id

    def audit_subject(self) -> Subject:
        about: Any = self.request
        return about.audit_subject()

    def _destroy(self, at: datetime) -> None:
        self.ciphertext = self.wrapped_key = self.next_check_at = None
        self.ended_at = at

    @transition(state, SecretState.HELD, SecretState.UNWRAPPED, custom={"action": actions.SECRET_UNWRAPPED})
    def unwrap(self, *, at: datetime) -> None:
        self._destroy(at)

    @transition(state, SecretState.HELD, SecretState.REPLACED, custom={"action": actions.SECRET_REPLACED})
    def replace(self, *, at: datetime) -> None:
        self._destroy(at)

    @transition(state, SecretState.HELD, SecretState.REVOKED, custom={"action": actions.SECRET_REVOKED})
    def revoke(self, *, at: datetime) -> None:
        self._destroy(at)

    @transition(state, SecretState.HELD, SecretState.EXPIRED, custom={"action": actions.SECRET_EXPIRED})
    def expire(self, *, at: datetime) -> None:
        """Nobody fetched it in time: the clock's doing."""
        self._destroy(at)

    @transition(state, SecretState.HELD, SecretState.WITHDRAWN, custom={"action": actions.SECRET_WITHDRAWN})
    def withdraw(self, *, at: datetime) -> None:
        """The decision was undone."""
        self._destroy(at)
