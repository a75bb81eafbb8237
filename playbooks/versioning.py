# SPDX-License-Identifier: Apache-2.0
"""What the versions of playbooks, rule sets and policies have in common: a draft, then published, then retired.

Which transition is recorded under which name, and what a version says, each kind states itself. That a published
version never changes, triggers see to.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django_fsm import FSMModelMixin

from config.invariant import Invariant
from config.state import StateField


class VersionState(models.TextChoices):
    DRAFT = "draft"  # may be edited; nothing goes by it
    PUBLISHED = "published"  # frozen; what begins from now on goes by the newest
    RETIRED = "retired"  # what began under it keeps it; nothing new begins


class AnyVersion(FSMModelMixin, models.Model):
    """One version of a thing. `published_by` is nobody where it came with the product."""

    number = models.PositiveIntegerField()
    state = StateField(choices=VersionState, default=VersionState.DRAFT)
    digest = models.CharField(max_length=64)  # SHA-256 of what it says, in normal form
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    published_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    published_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    of: ClassVar[str]  # the field that names the thing it is a version of

    class Meta:
        abstract = True
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.thing.slug} v{self.number}"

    @property
    def thing(self) -> Any:
        """The playbook, rule set or policy it is a version of."""
        return getattr(self, self.of)


def version_constraints(of: str, named: str, **published: Any) -> list[models.BaseConstraint]:
    """Of a kind of versions, whose names begin with `named`; `published` is what else one has that was published."""
    return [
        models.UniqueConstraint(fields=[of, "number"], name=f"{named}_number_once"),
        Invariant(condition=Q(state__in=VersionState.values), name=f"{named}_state_known"),
        Invariant(
            condition=Q(state=VersionState.DRAFT, published_at__isnull=True)
            | (~Q(state=VersionState.DRAFT) & Q(published_at__isnull=False, **published)),
            name=f"{named}_published_iff_not_draft",
        ),
        Invariant(
            condition=Q(state=VersionState.RETIRED, retired_at__isnull=False)
            | (~Q(state=VersionState.RETIRED) & Q(retired_at__isnull=True)),
            name=f"{named}_retired_iff_retired_at",
        ),
    ]
