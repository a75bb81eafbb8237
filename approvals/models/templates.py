# SPDX-License-Identifier: Apache-2.0
"""Templates of requests, and how much each agent may ask."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from approvals.models.request_words import RequestType, Severity
from audit.services import Subject
from config.invariant import Invariant
from runs.models import Priority


class RequestTemplate(models.Model):
    """What a kind of request says where whoever asks leaves it out. Requests keep what they were made with.

    The template that bears the name of a request type is used for requests of that type that name no template.
    """

    name = models.SlugField(max_length=60, unique=True)
    title = models.CharField(max_length=200)  # what people read
    request_type = models.CharField(max_length=24, choices=RequestType, default=RequestType.CUSTOM)
    title_pattern = models.CharField(max_length=200, blank=True)  # with {fields} of the context
    description_pattern = models.TextField(blank=True)
    required_fields = models.JSONField(default=dict, blank=True)  # {field: description}
    role = models.CharField(max_length=110, blank=True)  # "": the installation's reviewers
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.MEDIUM)
    severity = models.CharField(max_length=8, choices=Severity, default=Severity.MEDIUM)
    policy = models.CharField(max_length=60, blank=True)  # the name of a policy
    reasons = models.JSONField(default=dict, blank=True)  # {code: text}: what a rejection may say
    shared_fields = models.JSONField(default=list, blank=True)  # of the context, those that may stand in a message
    is_reversible = models.BooleanField(default=False)  # what follows from an approval can be undone
    is_active = models.BooleanField(default=True)
    revision = models.PositiveIntegerField(default=1)  # one more with every change
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    history = HistoricalRecords()

    class Meta:
        ordering = ["name"]
        default_permissions = ("view",)
        permissions = [("manage_templates", "May make and change templates of requests")]
        constraints = [
            Invariant(condition=Q(request_type__in=RequestType.values), name="template_type_known"),
            Invariant(condition=Q(severity__in=Severity.values), name="template_severity_known"),
            Invariant(condition=Q(role="") | Q(role__startswith="human:"), name="template_asks_people"),
            Invariant(condition=Q(revision__gte=1), name="template_revision_positive"),
        ]

    def __str__(self) -> str:
        return self.name

    def audit_subject(self) -> Subject:
        return Subject(type="template", id=self.name[:40], facts={"name": self.name, "revision": self.revision})

    @property
    def is_as_it_came(self) -> bool:
        """Nobody has changed it, and it lets nothing stand in messages: it says no more than its type."""
        return self.revision == 1 and self.name == self.request_type and not self.shared_fields

    def frozen(self) -> dict[str, Any]:
        """What a request keeps of it, and a decision binds."""
        return {
            "name": self.name,
            "revision": self.revision,
            "reversible": self.is_reversible,
            "shared_fields": list(self.shared_fields),
        }


class AgentLimit(models.Model):
    """How much one agent or program may ask, where that differs from the installation's limits. Null: as all."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.PROTECT, related_name="ask_limit")
    open_requests = models.PositiveIntegerField(null=True, blank=True)  # at once; 0 for no limit
    per_hour = models.PositiveIntegerField(null=True, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    changed_at = models.DateTimeField()
    history = HistoricalRecords()

    class Meta:
        ordering = ["user__username"]
        default_permissions = ("view",)
        permissions = [("manage_limits", "May change how much an agent may ask")]

    def __str__(self) -> str:
        return f"limits of {self.user_id}"

    def audit_subject(self) -> Subject:
        return Subject(type="user", id=str(self.user_id), facts={"limit": "requests"})
