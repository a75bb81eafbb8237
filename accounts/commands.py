# SPDX-License-Identifier: Apache-2.0
"""Commands that act: as the product itself, over the channel `command`, and refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from audit.context import coming_from
from config.errors import Refused


class ActCommand(BaseCommand):
    """Subclasses say in `act(**options)` what to do; what it returns is printed."""

    act: Callable[..., str]

    def handle(self, *args: Any, **options: Any) -> str:
        try:
            with coming_from("command"):
                return self.act(**options)
        except Refused as refusal:
            remedies = " ".join(problem.remedy for problem in refusal.errors if problem.remedy)
            raise CommandError(f"{refusal.detail} {remedies}".strip())
        except DatabaseError as fault:
            raise CommandError(f"The database did not do it: {str(fault).strip()}. Has `manage.py migrate` been run?")
