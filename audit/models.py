# SPDX-License-Identifier: Apache-2.0
"""The action log: who did what, when, why, and having seen what.

`Entry.body` is the evidence: canonical bytes, hashed as stored. The columns beside it are copies for queries.
Nothing of an entry ever changes but `leaf_index`, once, from NULL to its place (`audit/triggers.py`).
"""

from __future__ import annotations

import json
import uuid
from functools import cached_property
from typing import Any

from django.db import models
from django.db.models import Q

from audit.canonical import commitment, opened
from config.invariant import Invariant


def new_origin() -> str:
    return f"act/{uuid.uuid4()}"


class Log(models.Model):
    """This installation's log. Its origin names it in every entry, so that entries of two logs never mix."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    origin = models.CharField(max_length=120, default=new_origin)

    class Meta:
        default_permissions = ()
        constraints = [Invariant(condition=Q(id=1), name="log_is_one")]

    def __str__(self) -> str:
        return self.origin


class Result(models.TextChoices):
    SUCCESS = "SUCCESS"
    FAIL = "FAIL"  # done, and what it reports is a failure
    DENIED = "DENIED"  # refused; nothing changed


class Entry(models.Model):
    body = models.BinaryField()
    entry_hash = models.BinaryField(max_length=32)
    leaf_index = models.BigIntegerField(null=True, blank=True, unique=True)

    at = models.DateTimeField()
    action = models.CharField(max_length=60)
    result = models.CharField(max_length=8, choices=Result)
    code = models.CharField(max_length=40, blank=True)  # of the refusal, if DENIED
    actor_type = models.CharField(max_length=8)  # human, agent, service, system
    actor_id = models.BigIntegerField(null=True, blank=True)  # no foreign key: evidence outlives accounts
    actor_name = models.CharField(max_length=150)
    channel = models.CharField(max_length=12)
    subject_type = models.CharField(max_length=12)
    subject_id = models.CharField(max_length=40)
    run_id = models.BigIntegerField(null=True, blank=True)
    task_id = models.BigIntegerField(null=True, blank=True)
    request_id = models.CharField(max_length=16, blank=True)
    step = models.CharField(max_length=100, blank=True)
    from_state = models.CharField(max_length=20, blank=True)
    to_state = models.CharField(max_length=20, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "entries"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["run_id", "id"], condition=Q(run_id__isnull=False), name="entry_of_run"),
            models.Index(fields=["task_id", "id"], condition=Q(task_id__isnull=False), name="entry_of_task"),
            models.Index(fields=["request_id", "id"], condition=~Q(request_id=""), name="entry_of_request"),
            models.Index(fields=["actor_name", "id"], name="entry_of_actor"),
            models.Index(fields=["actor_id", "code", "at"], condition=Q(result="DENIED"), name="entry_denied"),
            models.Index(fields=["id"], condition=Q(leaf_index__isnull=True), name="entry_unplaced"),
        ]
        # SQLite shows its triggers -1 for an id not yet given, so no entry may really have that one.
        constraints = [Invariant(condition=Q(id__gt=0), name="entry_id_positive")]

    def __str__(self) -> str:
        return f"{self.id} {self.action}"

    @cached_property
    def content(self) -> dict[str, Any]:
        """The body, read."""
        content: dict[str, Any] = json.loads(bytes(self.body))
        return content

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = self.content["data"]
        return data

    @cached_property
    def disclosed(self) -> dict[str, Any]:
        """Name → value of what stands beside the entry and has not been redacted."""
        disclosure = getattr(self, "disclosure", None)
        return dict(opened(item["disclosure"]) for item in disclosure.items) if disclosure else {}

    @property
    def discloses_what_it_commits_to(self) -> bool:
        """Whether each disclosed value is one that the body holds the digest of."""
        disclosure = getattr(self, "disclosure", None)
        shown = {commitment(item["disclosure"]) for item in disclosure.items} if disclosure else set()
        return shown <= set(self.content["commitments"])

    @property
    def note(self) -> str:
        return str(self.disclosed.get("note", ""))


class Disclosure(models.Model):
    """Free text, payloads and outputs of one entry: `items` is [{path, disclosure, class}].

    The only deletable part of the log: the entry keeps the salted digests.
    """

    entry = models.OneToOneField(Entry, models.PROTECT, primary_key=True, related_name="disclosure")
    items = models.JSONField()

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"disclosure of {self.entry_id}"
