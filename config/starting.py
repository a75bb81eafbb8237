# SPDX-License-Identifier: Apache-2.0
"""What a process does before it is one: a setting that is missing or wrong ends the start with its sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured


@contextmanager
def stopping_with_a_sentence() -> Iterator[None]:
    """The sentence says what to set; the way through our code to it would tell an operator nothing, and hide it."""
    try:
        yield
    except ImproperlyConfigured as fault:
        sys.exit(f"The settings do not let this start. {fault}")
