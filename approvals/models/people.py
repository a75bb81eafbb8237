# SPDX-License-Identifier: Apache-2.0
"""Who stands in for whom, and the calendars by which deadlines are counted."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import CharField, Exists, ExpressionWrapper, F, OuterRef, Q
from simple_history.models import HistoricalRecords

from approvals import calendars
from approvals.models.request_words import RequestType, Severity
from approvals.models.requests import ActionRequest
from approvals.models.votes import Asked
from audit.services import Subject
from config import clock
from config.guard import GuardedModel
from config.invariant import Invariant


class Calendar(models.Model):
    """Working hours and holidays in one time zone. Policies name it; requests keep it as it was when they were made."""

    slug = models.SlugField("id", max_length=60, unique=True)
    title = models.CharField(max_length=200)
    zone = models.CharField("time zone", max_length=64)  # of the IANA list
    hours = models.JSONField()  # {monday: ["09:00-17:00", …], …}
    holidays = models.JSONField(default=dict, blank=True)  # {"2026-12-25": "Christmas Day", …}
    created_at = models.DateTimeField()
    history = HistoricalRecords()

    class Meta:
        ordering = ["slug"]
        default_permissions = ("view",)
        permissions = [("manage_calendars", "May make and change calendars")]
        constraints = [Invariant(condition=~Q(zone=""), name="calendar_has_a_zone")]

    def __str__(self) -> str:
        return self.title

    def audit_subject(self) -> Subject:
        return Subject(type="calendar", id=self.slug)

    @property
    def working_time(self) -> calendars.Calendar:
        return calendars.of_json({"zone": self.zone, "hours": self.hours, "holidays": sorted(self.holidays)})

    def holidays_from(self, day: date) -> list[tuple[str, str]]:
        return sorted((when, name) for when, name in self.holidays.items() if when >= day.isoformat())


def _within(bound: str, field: str, unbounded: Any = None) -> Q:
    free = Q(**{f"{bound}__isnull": True}) if unbounded is None else Q(**{bound: unbounded})
    return free | Q(**{bound: OuterRef(field)})


def _severe_enough() -> Q:
    """Its ceiling is not below the severity of the request."""
    levels, found = Severity.values, Q(max_severity=Severity.CRITICAL)
    for place, level in enumerate(levels):
        found |= Q(max_severity=level, asked_severity__in=levels[: place + 1])
    return found


class DelegationQuerySet(models.QuerySet["Delegation"]):
    def in_force(self) -> DelegationQuerySet:
        now = clock.Now(as_begun=True)
        return self.filter(starts_at__lte=now, ends_at__gt=now, revoked_at__isnull=True)

    def lending_to(self, user: Any) -> DelegationQuerySet:
        """What is lent to this person now for the request that a query around this one looks at."""
        asked = Asked.objects.filter(request=OuterRef(OuterRef("pk")), user=OuterRef("giver"))
        request = self.in_force().annotate(asked_severity=ExpressionWrapper(OuterRef("severity"), CharField()))
        return request.filter(
            _within("request", "pk") & _within("role", "role", "") & _within("request_type", "request_type", ""),
            Q(giver__groups__name=OuterRef("role")) | Exists(asked),
            _severe_enough(),
            delegate=user.pk,
            giver__is_active=True,
        )

    def visible_to(self, user: Any) -> DelegationQuerySet:
        """Of whoever gave or received it; with the permission, all."""
        if user.has_perm("approvals.view_delegation"):
            return self
        return self.filter(Q(giver=user.pk) | Q(delegate=user.pk))


class Delegation(GuardedModel):
    """Somebody decides for somebody else, from one moment until another, within bounds.

    What it lends is the giver's own right, never one that was lent to them. It changes only by being revoked.
    """

    giver = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="delegations_given")
    delegate = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="delegations_received")
    role = models.CharField(max_length=110, blank=True)  # only requests to this role
    request_type = models.CharField(max_length=24, choices=RequestType, blank=True)  # only of this type
    max_severity = models.CharField(max_length=8, choices=Severity, default=Severity.CRITICAL)  # never above
    request = models.ForeignKey(
        ActionRequest, models.PROTECT, null=True, blank=True, related_name="delegations", db_index=False
    )  # only this one
    is_away = models.BooleanField("out of office", default=False)  # the giver is away all that time
    reason = models.CharField(max_length=500, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()  # no longer in force at this moment
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False)
    made_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )

    objects = DelegationQuerySet.as_manager()

    class Meta:
        ordering = ["-starts_at", "-id"]
        default_permissions = ("view",)
        permissions = [("manage_delegations", "May delegate for others, and revoke their delegations")]
        constraints = [
            Invariant(condition=Q(ends_at__gt=F("starts_at")), name="delegation_ends_after_it_starts"),
            Invariant(condition=~Q(delegate=F("giver")), name="delegation_to_somebody_else"),
            Invariant(condition=Q(max_severity__in=Severity.values), name="delegation_severity_known"),
            Invariant(
                condition=Q(revoked_at__isnull=True, revoked_by__isnull=True)
                | Q(revoked_at__isnull=False, revoked_by__isnull=False),
                name="delegation_revoked_iff_by_somebody",
            ),
        ]

    def __str__(self) -> str:
        return f"delegation {self.pk}"

    def audit_subject(self) -> Subject:
        facts = {"giver": str(self.giver_id), "delegate": str(self.delegate_id)}
        return Subject("delegation", str(self.pk or ""), request_id=self.request_id or "", facts=facts)

    @property
    def over_at(self) -> datetime:
        """Since when it is no longer in force, or will be."""
        return min(self.ends_at, self.revoked_at) if self.revoked_at else self.ends_at
