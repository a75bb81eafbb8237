# SPDX-License-Identifier: Apache-2.0
"""The field that holds a state."""

from __future__ import annotations

from typing import Any

from django.db import models
from django_fsm import FSMField


class StateField(FSMField):
    """A state, moved by django-fsm's transitions alone.

    To migrations it is a plain text. They know of no transitions, and each of their fields would listen for every
    model that is rendered after it: to make a database anew took twice as long.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"protected": True, **options})

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, _, args, options = super().deconstruct()
        del options["protected"]
        return name, f"{models.__name__}.{models.CharField.__name__}", args, options
