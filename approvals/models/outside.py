# SPDX-License-Identifier: Apache-2.0
"""Systems outside that people answer in: a Slack workspace, other approval systems; and who is who there."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from approvals.models.requests import ActionRequest
from audit.services import Subject
from config.invariant import Invariant
from config.mail import DueMail, DueRow, MailState

LONGEST_ID = 200  # of a person or a message, as others name them


class SlackCode(DueMail):
    """A code sent to a member of the Slack workspace, so that who types it here is known to be that member.

    The code itself is kept nowhere: it is made anew, from this row and the server's key, where it is needed.
    """

    member = models.CharField(max_length=32)  # Slack's stable id, as U024BE7LH
    nonce = models.CharField(max_length=32)
    expires_at = models.DateTimeField()
    tries = models.PositiveSmallIntegerField(default=0)  # wrong ones
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["due_at"], condition=Q(state=MailState.DUE), name="slack_code_due")]
        constraints = DueMail.constraints("slack_code")

    def is_deliverable(self) -> bool:
        return self.recipient.is_active

    def is_needed(self) -> bool:
        return self.used_at is None


class SlackAccount(models.Model):
    """Who a member of the Slack workspace is here, as they have shown by a code."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="slack_accounts")
    member = models.CharField(max_length=32)
    verified_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["user"], condition=Q(ended_at__isnull=True), name="slack_one_per_user"),
            models.UniqueConstraint(fields=["member"], condition=Q(ended_at__isnull=True), name="slack_one_per_member"),
        ]

    def __str__(self) -> str:
        return f"{self.member} is {self.user_id}"

    def audit_subject(self) -> Subject:
        return Subject("user", str(self.user_id), facts={"slack": self.member})


def _names_a_secret(field: str) -> Q:
    """None, or a reference; a secret itself does not begin like one."""
    return Q(**{f"{field}__startswith": "env:"}) | Q(**{f"{field}__startswith": "file:/"})


class ExternalSystem(models.Model):
    """An approval system of somebody else: it is told of requests, and people may answer in it.

    Both ways are signed with one secret, which is named here and never kept (`playbooks/secret_refs.py`).
    """

    name = models.SlugField(max_length=60, unique=True)  # stands in the address it calls; never changes
    title = models.CharField(max_length=200, blank=True)
    url = models.CharField("address", max_length=500, blank=True)  # where it is told; empty: it is told nothing
    roles = models.JSONField(default=list, blank=True)  # whose requests it is told of; empty: of all
    secret_ref = models.CharField("secret", max_length=300)
    is_enabled = models.BooleanField("enabled", default=True)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    history = HistoricalRecords()

    class Meta:
        verbose_name, verbose_name_plural = "approval system", "approval systems"
        ordering = ["name"]
        default_permissions = ("view",)
        permissions = [("manage_external", "May connect approval systems, and say who is who there")]
        constraints = [
            Invariant(condition=_names_a_secret("secret_ref"), name="external_names_its_secret"),
            Invariant(
                condition=Q(url="") | Q(url__startswith="https://") | Q(url__startswith="http://"),
                name="external_speaks_http",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def shown_name(self) -> str:
        return self.title or self.name

    def wants(self, role: str) -> bool:
        return not self.roles or role in self.roles

    def audit_subject(self) -> Subject:
        return Subject("external", str(self.pk or ""), facts={"name": self.name})


class ExternalUser(models.Model):
    """Who a person of an approval system is here. Ended, it stays as evidence."""

    system = models.ForeignKey(ExternalSystem, models.PROTECT, related_name="users")
    outside_id = models.CharField(max_length=LONGEST_ID)  # stable, as the system names them; never a display name
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="external_users")
    linked_at = models.DateTimeField()
    linked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["system", "outside_id"], condition=Q(ended_at__isnull=True), name="external_user_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.outside_id} is {self.user_id}"


class ExternalNotice(DueRow):
    """A signed message to an approval system about one request."""

    system = models.ForeignKey(ExternalSystem, models.PROTECT, related_name="notices")
    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="external_notices")
    told_at = models.DateTimeField()

    READ_WITH = ("system", "request")

    class Meta:
        verbose_name, verbose_name_plural = "message to a system", "messages to systems"
        default_permissions = ("view",)
        indexes = [models.Index(fields=["due_at"], condition=Q(state=MailState.DUE), name="external_notice_due")]
        constraints = [
            models.UniqueConstraint(fields=["system", "request", "purpose", "told_at"], name="external_notice_once"),
            *DueRow.constraints("external_notice"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} of {self.request_id} to {self.system_id}"

    @property
    def message_id(self) -> str:
        """The same for every attempt, so that its receiver knows a repetition for one."""
        return f"msg_{self.pk}"

    def is_needed(self) -> bool:
        """A question that is answered before the system has heard of it is not worth telling."""
        return self.system.is_enabled and (self.purpose != "asked" or self.request.is_open)

    def audit_subject(self) -> Subject:
        facts: dict[str, Any] = {"system": self.system.name, "purpose": self.purpose}
        return Subject("notification", str(self.pk), request_id=self.request_id, facts=facts)


class SeenMessage(models.Model):
    """A signed message that has been acted on: the same one is not acted on again. Rows are only added (trigger)."""

    source = models.CharField(max_length=80)  # slack, or external:<name>
    message_id = models.CharField(max_length=LONGEST_ID)
    seen_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["source", "message_id"], name="seen_message_once")]

    def __str__(self) -> str:
        return f"{self.source} {self.message_id}"
