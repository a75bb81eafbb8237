# SPDX-License-Identifier: Apache-2.0
"""What became of requests, counted: sums that are kept, so that a report costs the same however many there were."""

from __future__ import annotations

from django.db import models


class RequestTally(models.Model):
    """The closed requests of one scope that were made in one period.

    `scope` is all, role, agent or person (who decided), and `name` which one; `period` is "" for all time, else a
    year, month or day of UTC: 2025, 2025-11, 2025-11-03. `figures` is as `approvals/tallying.py` says.
    """

    scope = models.CharField(max_length=8)
    name = models.CharField(max_length=110, blank=True)  # the role, or the number of the user
    period = models.CharField(max_length=10, blank=True)
    figures = models.JSONField(default=dict)
    count = models.PositiveBigIntegerField(default=0)  # of the requests in it

    class Meta:
        verbose_name = "statistics"
        verbose_name_plural = "statistics"
        default_permissions = ()
        permissions = [
            ("view_statistics", "May see what became of all requests"),
            ("person_statistics", "May see the figures of single people, where they are many enough"),
        ]
        indexes = [models.Index(fields=["scope", "period", "-count"], name="tally_largest")]
        constraints = [models.UniqueConstraint(fields=["scope", "name", "period"], name="tally_once")]

    def __str__(self) -> str:
        return " ".join(part for part in (self.scope, self.name, self.period) if part)
