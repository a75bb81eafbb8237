# SPDX-License-Identifier: Apache-2.0
"""Policies as objects with versions, and standing rules: decisions made once for many requests."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django_fsm import FSMModelMixin, transition
from simple_history.models import HistoricalRecords

from audit import actions
from audit.services import Subject
from config.guard import GuardedModel
from config.invariant import Invariant
from config.state import StateField
from playbooks.versioning import AnyVersion, VersionState, version_constraints


class Policy(models.Model):
    """Who may decide, by a name that playbooks and requests use. What it says is in its versions."""

    slug = models.SlugField("id", max_length=60, unique=True)
    title = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    history = HistoricalRecords()

    class Meta:
        ordering = ["slug"]
        verbose_name_plural = "policies"
        default_permissions = ("view",)
        permissions = [("manage_policies", "May write, publish and retire policies, and propose standing rules")]

    def __str__(self) -> str:
        return self.title

    def audit_subject(self) -> Subject:
        return Subject(type="policy", id=self.slug)


class PolicyVersion(AnyVersion):
    """What a policy says, frozen once it is published. Requests keep the version they were made under."""

    policy = models.ForeignKey(Policy, models.PROTECT, related_name="versions")
    document = models.JSONField()  # as it was written
    history = HistoricalRecords()
    of = "policy"

    class Meta(AnyVersion.Meta):
        ordering = ["policy", "-number"]
        constraints = version_constraints("policy", "policy_version")

    def audit_subject(self) -> Subject:
        facts = {"policy": self.policy.slug, "version": self.number, "sha256": self.digest}
        return Subject(type="policy", id=self.policy.slug, facts=facts)

    @transition("state", VersionState.DRAFT, VersionState.PUBLISHED, custom={"action": actions.POLICY_PUBLISHED})
    def publish(self, *, by: Any, at: datetime) -> None:
        self.published_by, self.published_at = by, at

    @transition("state", VersionState.PUBLISHED, VersionState.RETIRED, custom={"action": actions.POLICY_RETIRED})
    def retire(self, *, at: datetime) -> None:
        self.retired_at = at


class RuleState(models.TextChoices):
    PROPOSED = "proposed"  # waits for a second person
    ACTIVE = "active"
    REVOKED = "revoked"
    EXPIRED = "expired"  # its time is over, or it has been used as often as it may


class StandingRule(FSMModelMixin, GuardedModel):
    """An approval given beforehand: requests like this are approved at once, so often and until then.

    It is proposed by one person and activated by another. Each request it approves is recorded in full.
    """

    title = models.CharField(max_length=200)
    reason = models.TextField()
    state = StateField(choices=RuleState, default=RuleState.PROPOSED)
    role = models.CharField(max_length=110)  # whose requests it answers
    request_type = models.CharField(max_length=24, blank=True)  # only of this type
    agent = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )  # only of this requester
    playbook = models.CharField(max_length=100, blank=True)  # only of steps of this playbook
    step = models.CharField(max_length=100, blank=True)
    max_severity = models.CharField(max_length=8, default="low")  # never of more harm than this
    when = models.CharField(max_length=500, blank=True)  # a CEL condition over asked, action, title, severity
    max_uses = models.PositiveIntegerField()
    uses = models.PositiveIntegerField(default=0)
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField()
    proposed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False)
    proposed_at = models.DateTimeField()
    activated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    activated_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    next_check_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-proposed_at", "-id"]
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["role"], condition=Q(state=RuleState.ACTIVE), name="standing_rule_active"),
            models.Index(
                fields=["next_check_at"], condition=Q(next_check_at__isnull=False), name="standing_rule_due_check"
            ),
        ]
        constraints = [
            Invariant(condition=Q(state__in=RuleState.values), name="standing_rule_state_known"),
            Invariant(condition=Q(uses__lte=F("max_uses")), name="standing_rule_within_its_uses"),
            Invariant(condition=Q(valid_until__gt=F("valid_from")), name="standing_rule_ends"),
            Invariant(
                condition=Q(state=RuleState.PROPOSED, activated_by__isnull=True)
                | Q(state=RuleState.REVOKED)
                | Q(state=RuleState.EXPIRED)
                | (Q(state=RuleState.ACTIVE, activated_by__isnull=False) & ~Q(activated_by=F("proposed_by"))),
                name="standing_rule_by_two_people",
            ),
            Invariant(
                condition=Q(state__in=[RuleState.PROPOSED, RuleState.ACTIVE], next_check_at__isnull=False)
                | Q(state__in=[RuleState.REVOKED, RuleState.EXPIRED], next_check_at__isnull=True),
                name="standing_rule_open_iff_checked_again",
            ),
        ]

    def __str__(self) -> str:
        return f"standing rule {self.pk}"

    def audit_subject(self) -> Subject:
        return Subject(type="rule", id=str(self.pk or ""), facts={"role": self.role, "max_uses": self.max_uses})

    @transition(state, RuleState.PROPOSED, RuleState.ACTIVE, custom={"action": actions.STANDING_RULE_ACTIVATED})
    def activate(self, *, by: Any, at: datetime) -> None:
        self.activated_by, self.activated_at, self.next_check_at = by, at, self.valid_until

    @transition(
        state,
        (RuleState.PROPOSED, RuleState.ACTIVE),
        RuleState.REVOKED,
        custom={"action": actions.STANDING_RULE_REVOKED},
    )
    def revoke(self, *, at: datetime) -> None:
        self.ended_at, self.next_check_at = at, None

    @transition(
        state,
        (RuleState.PROPOSED, RuleState.ACTIVE),
        RuleState.EXPIRED,
        custom={"action": actions.STANDING_RULE_EXPIRED},
    )
    def expire(self, *, at: datetime) -> None:
        self.ended_at, self.next_check_at = at, None
