# SPDX-License-Identifier: Apache-2.0
"""Channels of Slack in which the requests of a role are posted, and the posts."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from approvals.models.messages import ASKED, ENDINGS
from approvals.models.requests import ActionRequest
from audit.services import Subject
from config.mail import DueRow, MailState

LONGEST_ROLE = 150


class SlackChannel(models.Model):
    """Where the requests of a role are posted. Ended, it stays as evidence; a role has one at a time."""

    role = models.CharField(max_length=LONGEST_ROLE)
    channel = models.CharField(max_length=32)  # Slack's stable id, as C024BE7LR; a name can be given to another
    set_at = models.DateTimeField()
    set_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    ended_at = models.DateTimeField(null=True, blank=True)
    history = HistoricalRecords()

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["role"], condition=Q(ended_at__isnull=True), name="slack_channel_of_role")
        ]

    def __str__(self) -> str:
        return f"{self.channel} for {self.role}"

    def audit_subject(self) -> Subject:
        return Subject("channel", str(self.pk or ""), facts={"role": self.role, "channel": self.channel})


class ChannelPost(DueRow):
    """News of a request for a channel. The first is posted, and each later one changes that post."""

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="channel_posts")
    channel = models.ForeignKey(SlackChannel, models.PROTECT, related_name="posts")
    told_at = models.DateTimeField()
    reference = models.CharField(max_length=200, blank=True)  # `channel:ts`, by which Slack knows the post

    READ_WITH = ("request", "channel")

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["due_at"], condition=Q(state=MailState.DUE), name="channel_post_due")]
        constraints = [
            models.UniqueConstraint(fields=["request", "channel", "purpose", "told_at"], name="channel_post_once"),
            models.UniqueConstraint(
                fields=["request", "channel"], condition=Q(purpose=ASKED), name="channel_post_asked_once"
            ),
            *DueRow.constraints("channel_post"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} of {self.request_id} in {self.channel_id}"

    @property
    def closes(self) -> bool:
        return self.purpose in ENDINGS

    def is_needed(self) -> bool:
        """A question that is closed before it was posted is not worth posting; what was posted is kept up to date."""
        if self.purpose == ASKED:
            return self.request.is_open and self.channel.ended_at is None
        return self.first() is not None and (self.closes or self.request.is_open)

    def first(self) -> ChannelPost | None:
        """The one that made the post, or may have: its answer can still be on its way."""
        posts = ChannelPost.objects.filter(request=self.request_id, channel=self.channel_id, purpose=ASKED)
        reached = Q(state=MailState.SENT) | Q(state=MailState.DUE, attempts__gt=0)
        return posts.filter(reached).first()

    def audit_subject(self) -> Subject:
        facts: dict[str, Any] = {"to": self.channel.channel, "channel": "slack", "purpose": self.purpose}
        return Subject("notification", str(self.pk), request_id=self.request_id, facts=facts)
