# SPDX-License-Identifier: Apache-2.0
"""Playbooks and their versions, the rule sets they are held against, and the connectors they call.

A published version never changes: a trigger says so on both databases.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import F, Q
from django_fsm import transition
from simple_history.models import HistoricalRecords

from audit import actions
from audit.services import Subject
from config.guard import GuardedModel
from config.invariant import Invariant
from playbooks.definition import Definition
from playbooks.versioning import AnyVersion, version_constraints
from playbooks.versioning import VersionState as VersionState


class Playbook(models.Model):
    """A recipe. `slug` is the id that documents and callers use; the row's number is the seeds' `protocol_id`."""

    slug = models.CharField("id", max_length=100, unique=True)
    title = models.CharField(max_length=200, blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="playbooks_owned"
    )
    created_at = models.DateTimeField()
    history = HistoricalRecords()

    class Meta:
        ordering = ["slug"]
        default_permissions = ("view", "change")
        permissions = [("publish", "May publish and retire versions"), ("write", "May write playbooks")]

    def __str__(self) -> str:
        return self.title or self.slug

    def audit_subject(self) -> Subject:
        return Subject(type="playbook", id=self.slug)


class Version(AnyVersion, GuardedModel):
    """A recipe as it stands: no run starts on a draft; those under way on a version finish on it."""

    playbook = models.ForeignKey(Playbook, models.PROTECT, related_name="versions")
    document = models.JSONField()  # as its author sent it, parsed; its normal form is that of playbooks/parse.py
    roles = models.ManyToManyField(
        Group, related_name="+", blank=True, editable=False
    )  # of its steps, set on publishing
    history = HistoricalRecords()
    of = "playbook"

    class Meta(AnyVersion.Meta):
        ordering = ["playbook", "-number"]
        constraints = version_constraints("playbook", "version", published_by__isnull=False)

    @property
    def etag(self) -> str:
        return f'"{self.digest[:16]}-{self.state}"'

    @property
    def definition(self) -> Definition:
        """The parsed document. A document never changes under its digest, so one process parses each once."""
        return _definition(self.digest, self)

    def audit_subject(self) -> Subject:
        facts = {"playbook": str(self.playbook_id), "version": self.number, "sha256": self.digest}
        return Subject(type="version", id=str(self.pk or ""), facts=facts)

    @transition("state", VersionState.DRAFT, VersionState.PUBLISHED, custom={"action": actions.VERSION_PUBLISHED})
    def publish(self, *, by: Any, at: Any) -> None:
        self.published_by, self.published_at = by, at

    @transition("state", VersionState.PUBLISHED, VersionState.RETIRED, custom={"action": actions.VERSION_RETIRED})
    def retire(self, *, at: Any) -> None:
        self.retired_at = at


class Concern(models.TextChoices):
    ETHICS = "ethics", "Ethics"
    PRIVACY = "privacy", "Privacy"
    SAFETY = "safety", "Safety"
    COMPLIANCE = "compliance", "Compliance"


class RuleSet(models.Model):
    """Rules about one concern, which governance steps check. What they say is in its versions."""

    slug = models.SlugField("id", max_length=60, unique=True)  # what a step's `rules` names
    title = models.CharField(max_length=200)
    concern = models.CharField(max_length=10, choices=Concern)
    is_default = models.BooleanField("in the default layer", default=False)  # for steps that name no rules
    created_at = models.DateTimeField()
    history = HistoricalRecords()

    class Meta:
        ordering = ["slug"]
        default_permissions = ("view",)
        permissions = [("govern", "May write, publish and retire rule sets")]
        constraints = [Invariant(condition=Q(concern__in=Concern.values), name="ruleset_concern_known")]

    def __str__(self) -> str:
        return self.title

    def audit_subject(self) -> Subject:
        return Subject(type="ruleset", id=self.slug)


class RuleSetVersion(AnyVersion):
    """What a rule set says, frozen once it is published."""

    rule_set = models.ForeignKey(RuleSet, models.PROTECT, related_name="versions")
    rules = models.JSONField()  # the normal form of playbooks/rules.py
    created_by = models.ForeignKey(  # type: ignore[assignment]  # nobody: it came with the product
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    history = HistoricalRecords()
    of = "rule_set"

    class Meta(AnyVersion.Meta):
        ordering = ["rule_set", "-number"]
        constraints = version_constraints("rule_set", "ruleset_version")

    def audit_subject(self) -> Subject:
        facts = {"rule_set": self.rule_set.slug, "version": self.number, "sha256": self.digest}
        return Subject(type="rules", id=str(self.pk or ""), facts=facts)

    @transition("state", VersionState.DRAFT, VersionState.PUBLISHED, custom={"action": actions.RULES_PUBLISHED})
    def publish(self, *, by: Any, at: Any) -> None:
        self.published_by, self.published_at = by, at

    @transition("state", VersionState.PUBLISHED, VersionState.RETIRED, custom={"action": actions.RULES_RETIRED})
    def retire(self, *, at: Any) -> None:
        self.retired_at = at


class ConnectorMethod(models.TextChoices):
    POST = "POST", "POST"
    PUT = "PUT", "PUT"
    PATCH = "PATCH", "PATCH"


def _names_a_secret(field: str) -> Q:
    """None, or a reference; a secret itself does not begin like one."""
    return Q(**{field: ""}) | Q(**{f"{field}__startswith": "env:"}) | Q(**{f"{field}__startswith": "file:/"})


class Connector(models.Model):
    """An HTTP service that playbooks call by name. Secrets are named here, never kept (`playbooks/secret_refs.py`)."""

    name = models.CharField(max_length=200, unique=True)  # what a step's `call` says, as exporter.publish
    title = models.CharField(max_length=200, blank=True)
    method = models.CharField(max_length=5, choices=ConnectorMethod, default=ConnectorMethod.POST)
    url = models.CharField("address", max_length=500)
    query_url = models.CharField("address to ask at", max_length=500, blank=True)  # what came of {key}, by GET
    headers = models.JSONField(default=dict, blank=True)  # name → value, sent as they stand
    connect_seconds = models.PositiveSmallIntegerField(default=5)
    read_seconds = models.PositiveSmallIntegerField(default=20)  # of silence
    total_seconds = models.PositiveSmallIntegerField(default=30)
    verdict_statuses = models.JSONField(default=list, blank=True)  # with these the service says no, which is no fault
    secret_ref = models.CharField("secret", max_length=300, blank=True)
    secret_header = models.CharField(max_length=100, default="Authorization")
    signing_ref = models.CharField("signing secret", max_length=300, blank=True)
    is_enabled = models.BooleanField("enabled", default=True)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    history = HistoricalRecords()

    class Meta:
        ordering = ["name"]
        default_permissions = ("view",)
        permissions = [("manage_connectors", "May make, change and disable connectors")]
        constraints = [
            Invariant(condition=Q(method__in=ConnectorMethod.values), name="connector_method_known"),
            Invariant(
                condition=Q(url__startswith="https://") | Q(url__startswith="http://"), name="connector_speaks_http"
            ),
            Invariant(
                condition=Q(query_url="") | (Q(query_url__startswith="http") & Q(query_url__contains="{key}")),
                name="connector_asks_by_key",
            ),
            Invariant(
                condition=Q(connect_seconds__gte=1, read_seconds__gte=1)
                & Q(total_seconds__gte=F("connect_seconds"))
                & Q(total_seconds__gte=F("read_seconds")),
                name="connector_times_fit",
            ),
            Invariant(condition=_names_a_secret("secret_ref"), name="connector_names_its_secret"),
            Invariant(condition=_names_a_secret("signing_ref"), name="connector_names_its_signing_secret"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def shown_name(self) -> str:
        return self.title or self.name

    def audit_subject(self) -> Subject:
        return Subject(type="connector", id=str(self.pk or ""), facts={"name": self.name})


class _ByDigest:
    """A cache key equal for equal digests that still carries the row to parse."""

    __slots__ = ("digest", "version")

    def __init__(self, digest: str, version: Version) -> None:
        self.digest, self.version = digest, version

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByDigest) and self.digest == other.digest


@lru_cache(maxsize=256)
def _parsed(key: _ByDigest) -> Definition:
    from playbooks.parse import parse_data

    return parse_data(key.version.document, default_id=key.version.playbook.slug).definition


def _definition(digest: str, version: Version) -> Definition:
    return _parsed(_ByDigest(digest, version))
