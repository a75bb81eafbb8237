# SPDX-License-Identifier: Apache-2.0
"""What is only ever added to a request: votes, revisions, and the people who were asked beside its role."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.models.requests import ActionRequest


class Vote(models.Model):
    """One person's answer to one revision. Votes are only added (trigger)."""

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="votes", db_index=False)
    revision = models.PositiveIntegerField()
    voter = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="votes")
    outcome = models.CharField(max_length=64)
    reason = models.TextField(blank=True)
    reason_code = models.CharField(max_length=64, blank=True)
    stage = models.PositiveSmallIntegerField(default=0)
    rules = models.JSONField(default=list)  # ids of the rules of its stage that the voter fitted
    on_behalf_of = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    assurance = models.CharField(max_length=8, default="session")  # how sure it is who voted
    digest = models.CharField(max_length=64)  # of what the voter was shown
    channel = models.CharField(max_length=12)
    voted_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["request", "revision", "voter"], name="vote_one_per_person_and_revision"),
            # Whoever lends their vote and whoever casts it are one voice.
            models.UniqueConstraint(
                fields=["request", "revision", "on_behalf_of"],
                condition=Q(on_behalf_of__isnull=False),
                name="vote_one_on_behalf_and_revision",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} by {self.voter_id}"


class Revision(models.Model):
    """What was asked, each time it was asked anew. Only added to (trigger); the request holds the newest."""

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="revisions", db_index=False)
    number = models.PositiveIntegerField()
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )  # nobody: the product opened it again
    made_at = models.DateTimeField()
    reason = models.TextField(blank=True)
    content = models.JSONField()  # all that a decision on it binds
    digest = models.CharField(max_length=64)  # SHA-256 of it, in canonical form
    changes = models.JSONField(default=list)  # [{path, before?, after?}] against the one before
    keeps_votes = models.BooleanField(default=False)  # it only narrows, in ways the policy names

    class Meta:
        ordering = ["request", "number"]
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["request", "number"], name="revision_number_once")]

    def __str__(self) -> str:
        return f"revision {self.number} of {self.request_id}"


class Asked(models.Model):
    """Somebody who may decide a request although they are not of its role: by another rule, escalated to, or lent.

    Only added to (trigger): that somebody was asked stays true.
    """

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="asked_people", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    why = models.CharField(max_length=20)  # rule, escalated, delegated, emergency
    asked_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["request", "user"], name="asked_once")]

    def __str__(self) -> str:
        return f"{self.user_id} is asked ({self.why})"
