# SPDX-License-Identifier: Apache-2.0
"""The tables of `schema.sql`, for the ORM."""

from typing import ClassVar

from django.db import models
from django.utils import timezone


class Task(models.Model):
    run_id = models.BigIntegerField()
    step = models.IntegerField()
    role = models.TextField()
    state = models.TextField(default="ready")
    priority = models.IntegerField(default=0)
    attempt = models.IntegerField(default=0)
    payload = models.JSONField(default=dict)
    outcome = models.TextField(null=True)
    due_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[models.Manager["Task"]] = models.Manager()

    class Meta:
        managed = False
        db_table = "task"

    def __str__(self) -> str:
        return f"task {self.pk}"


class Log(models.Model):
    run_id = models.BigIntegerField()
    task_id = models.BigIntegerField()
    kind = models.TextField()
    actor = models.TextField()
    data = models.JSONField(default=dict)
    at = models.DateTimeField(default=timezone.now)

    objects: ClassVar[models.Manager["Log"]] = models.Manager()

    class Meta:
        managed = False
        db_table = "log"

    def __str__(self) -> str:
        return f"{self.kind} of task {self.task_id}"
