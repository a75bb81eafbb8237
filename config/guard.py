# SPDX-License-Identifier: Apache-2.0
"""Writing a row only if it still is what the writer read."""

from typing import Any

from django.db import models


class Moved(Exception):
    """A guard missed: another act changed the row after this one read it. `@act` rolls back and tries again."""


class GuardedModel(models.Model):
    class Meta:
        abstract = True

    def write(self, *fields: str, **guard: Any) -> bool:
        """UPDATE these fields where the row still matches `guard`; False if it does not, and nothing changed."""
        values = {name: getattr(self, name) for name in fields}
        return type(self)._base_manager.filter(pk=self.pk, **guard).update(**values) == 1
