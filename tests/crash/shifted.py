# SPDX-License-Identifier: Apache-2.0
"""A host whose clock is wrong by HMS_ACT_TEST_CLOCK_SHIFT seconds: a process that loads this module is on it."""

from __future__ import annotations

import os
import time
from datetime import timedelta

from django.utils import timezone

from config import clock

_by = timedelta(seconds=float(os.environ["HMS_ACT_TEST_CLOCK_SHIFT"]))
_time, _now, _here = time.time, timezone.now, clock._here

time.time = lambda: _time() + _by.total_seconds()
timezone.now = lambda: _now() + _by
clock._here = lambda: _here() + _by
