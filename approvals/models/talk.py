# SPDX-License-Identifier: Apache-2.0
"""The talk around a request: comments and attachments, which stay as they are, and drafts, which do not."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from approvals.models.requests import ActionRequest
from config.invariant import Invariant


class Comment(models.Model):
    """What somebody said about a request. Comments are only added (trigger)."""

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="comments", db_index=False)
    revision = models.PositiveIntegerField()  # that was asked when it was said
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False)
    text = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        default_permissions = ("view",)
        indexes = [models.Index(fields=["request", "id"], name="comment_of_request")]
        constraints = [Invariant(condition=~models.Q(text=""), name="comment_says_something")]

    def __str__(self) -> str:
        return f"comment on {self.request_id}"  # not its text, which is of others


class Attachment(models.Model):
    """A file that somebody added to a request, bound to the revision that it was added to. Only added (trigger)."""

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="attachments", db_index=False)
    revision = models.PositiveIntegerField()
    uploader = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False)
    name = models.CharField(max_length=200)  # as its uploader named it, without folders
    media_type = models.CharField(max_length=60)  # found in its bytes, whatever its name says
    size = models.PositiveIntegerField()  # bytes
    sha256 = models.CharField(max_length=64)
    content = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        default_permissions = ("view",)
        constraints = [
            # The same file from the same person for the same revision is one attachment: a repeated call adds none.
            models.UniqueConstraint(
                fields=["request", "revision", "uploader", "sha256"], name="attachment_once_per_uploader"
            ),
            Invariant(condition=models.Q(size__gt=0), name="attachment_not_empty"),
        ]

    def __str__(self) -> str:
        return f"attachment {self.pk} of {self.request_id}"


class Draft(models.Model):
    """What one person has written and not sent: for their eyes, without secrets, until the request is closed."""

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="drafts", db_index=False)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False)
    revision = models.PositiveIntegerField()  # that was asked when it was written
    outcome = models.CharField(max_length=64, blank=True)
    notes = models.TextField(blank=True)
    response_data = models.JSONField(default=dict)  # not judged yet: a field may hold what was typed
    saved_at = models.DateTimeField()
    next_check_at = models.DateTimeField()  # whether its request is still open

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["next_check_at"], name="draft_due_check")]
        constraints = [models.UniqueConstraint(fields=["request", "person"], name="draft_one_per_person")]

    def __str__(self) -> str:
        return f"draft on {self.request_id}"
