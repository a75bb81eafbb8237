# SPDX-License-Identifier: Apache-2.0
"""The mails about requests."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from approvals.models.requests import ActionRequest
from config.mail import DueMail, MailState


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
