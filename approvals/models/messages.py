# SPDX-License-Identifier: Apache-2.0
"""What people are told about requests: messages, summaries, what each wishes, and the links that mails carry."""

from __future__ import annotations

from datetime import time
from enum import StrEnum

from django.conf import settings
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from approvals.models.requests import ActionRequest
from approvals.routing import Reach, Rhythm, Wishes
from audit.services import Subject
from config.invariant import Invariant
from config.mail import DueMail, DueRow, MailState

ASKED, DECIDED, CLOSED, SUMMARY = "asked", "decided", "closed", "summary"
GLASS_BROKEN = "glass_broken"
ENDINGS = (DECIDED, CLOSED)  # what closes the thread of whoever was told before
IN_ANY_CASE = (*ENDINGS, GLASS_BROKEN)  # all else is told only while there is something to answer


class Channel(models.TextChoices):
    MAIL = "mail"
    SLACK = "slack"


class Summary(DueMail):
    """One mail that lists what has gathered for a person since the last one."""

    slot_at = models.DateTimeField()  # when the person's clock shows the chosen time

    class Meta:
        default_permissions = ("view",)
        verbose_name_plural = "summaries"
        indexes = [models.Index(fields=["due_at"], condition=Q(state=MailState.DUE), name="summary_due")]
        constraints = [
            models.UniqueConstraint(fields=["recipient", "slot_at"], name="summary_once"),
            *DueMail.constraints("summary"),
        ]

    def is_needed(self) -> bool:
        return any(each.is_needed() for each in self.gathered())

    def gathered(self) -> list[Notification]:
        """What it is to list, oldest first."""
        rows = self.notifications.filter(state=MailState.DUE).select_related("request", "recipient")
        return list(rows.order_by("told_at", "id"))


class Notification(DueMail):
    """A message about a request, to one person by one channel."""

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="notifications", db_index=False)
    channel = models.CharField(max_length=8, choices=Channel, default=Channel.MAIL)
    told_at = models.DateTimeField(null=True, blank=True)  # when what it tells of happened
    is_routed = models.BooleanField(default=False)  # whether the channel and the moment are the person's choice by now
    summary = models.ForeignKey(
        Summary, models.PROTECT, null=True, blank=True, related_name="notifications"
    )  # that lists it, instead of a mail of its own
    reference = models.CharField(max_length=200, blank=True)  # what the channel calls the message it has taken

    READ_WITH = ("recipient", "request")

    class Meta:
        verbose_name, verbose_name_plural = "message", "messages"
        default_permissions = ("view",)
        permissions = [("resend_notification", "May send messages again that were given up")]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state=MailState.DUE), name="notification_due"),
            models.Index(fields=["request", "recipient"], name="notification_of_request"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["request", "recipient", "channel", "purpose", "told_at"], name="notification_once_and_told"
            ),
            Invariant(condition=Q(channel__in=Channel.values), name="notification_channel_known"),
            Invariant(
                condition=Q(summary__isnull=True) | Q(channel=Channel.MAIL), name="notification_summaries_are_mails"
            ),
            *DueMail.constraints("notification"),
        ]

    @property
    def closes(self) -> bool:
        return self.purpose in ENDINGS

    def is_needed(self) -> bool:
        if self.purpose in IN_ANY_CASE:
            return True
        return self.request.is_open and not self._has_answered()

    def is_deliverable(self) -> bool:
        if self.channel == Channel.SLACK:
            return self.recipient.is_active
        return super().is_deliverable()

    def audit_subject(self) -> Subject:
        facts = {"to": str(self.recipient_id), "channel": str(self.channel), "purpose": self.purpose}
        return Subject("notification", str(self.pk), request_id=self.request_id, facts=facts)

    def _has_answered(self) -> bool:
        votes = self.request.votes.filter(revision=self.request.revision, voter=self.recipient_id)
        return self.purpose == ASKED and votes.exists()


class Broadcast(DueRow):
    """Something that concerns more than those whom an act has named: the worker finds out whom, and makes their rows.

    So an act that many must hear of writes one row, and reads nothing for it.
    """

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="broadcasts", db_index=False)
    revision = models.PositiveIntegerField()
    told_at = models.DateTimeField()

    READ_WITH = ("request",)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["due_at"], condition=Q(state=MailState.DUE), name="broadcast_due")]
        constraints = DueRow.constraints("broadcast")

    def __str__(self) -> str:
        return f"{self.purpose} of {self.request_id}"

    def is_needed(self) -> bool:
        return True


def _words(kind: type[StrEnum]) -> list[tuple[str, str]]:
    return [(each.value, each.value.replace("_", " ")) for each in kind]


class Preference(models.Model):
    """How one person wishes to be told. Whoever has chosen nothing is mailed at once, at any hour, in UTC."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.PROTECT, primary_key=True, related_name="notification_preference"
    )
    zone = models.CharField("time zone", max_length=64, default="UTC")
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_until = models.TimeField(null=True, blank=True)
    reach = models.CharField("channel", max_length=8, choices=_words(Reach), default=Reach.MAIL.value)
    rhythm = models.CharField("mails", max_length=8, choices=_words(Rhythm), default=Rhythm.AT_ONCE.value)
    summary_at = models.TimeField("daily summary at", default=time(9))
    changed_at = models.DateTimeField()
    history = HistoricalRecords()

    class Meta:
        verbose_name, verbose_name_plural = "how somebody is told", "how people are told"
        default_permissions = ("view",)
        constraints = [
            Invariant(condition=Q(reach__in=[each.value for each in Reach]), name="preference_reach_known"),
            Invariant(condition=Q(rhythm__in=[each.value for each in Rhythm]), name="preference_rhythm_known"),
            Invariant(
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
                name="preference_quiet_has_both_ends",
            ),
        ]

    def __str__(self) -> str:
        return f"wishes of {self.user_id}"

    def audit_subject(self) -> Subject:
        return Subject("preference", str(self.user_id))

    @property
    def wishes(self) -> Wishes:
        return Wishes(
            self.zone, self.quiet_from, self.quiet_until, Reach(self.reach), Rhythm(self.rhythm), self.summary_at
        )


class MailLink(models.Model):
    """The address in one mail by which its recipient may decide without a log-in, where the policy lets them.

    Of the token only the digest is kept. It holds for one request in one revision, for a while, for one decision.
    """

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="mail_links")
    revision = models.PositiveIntegerField()
    recipient = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    purpose = models.CharField(max_length=20)
    token_hash = models.CharField(max_length=64, unique=True)  # SHA-256
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)  # its request has ended, or a newer mail has another

    class Meta:
        default_permissions = ()
        constraints = [
            Invariant(condition=Q(expires_at__gt=models.F("created_at")), name="mail_link_ends_later"),
            Invariant(condition=Q(used_at__isnull=True) | Q(revoked_at__isnull=True), name="mail_link_used_or_revoked"),
        ]

    def __str__(self) -> str:
        return f"link to {self.request_id} for {self.recipient_id}"
