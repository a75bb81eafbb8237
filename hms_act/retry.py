# SPDX-License-Identifier: Apache-2.0
"""When to send a call again, and how long to wait first: exponential backoff with full jitter, bounded.

Pure: no clock and no sleeping here. Only what may succeed unchanged is sent again (`error.transient`), and the
server's Retry-After is a floor under every wait.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from hms_act.errors import HmsActError

Draw = Callable[[float, float], float]  # random.uniform, or what a test puts in its place


@dataclass(frozen=True, slots=True)
class Retry:
    """`attempts` counts the first one too: 1 means that nothing is sent twice. Times are seconds."""

    attempts: int = 6
    initial_interval: float = 0.5
    maximum_interval: float = 8.0
    longest_retry_after: float = 60.0  # asked to wait longer than this, we tell the caller instead

    def backoff(self, failures: int, *, draw: Draw = random.uniform) -> float:
        """The wait after so many failures in a row."""
        # The exponent is capped because 2.0 ** 1100 overflows, and a worker may fail for days.
        ceiling = self.initial_interval * 2.0 ** min(failures - 1, 30)
        return draw(0.0, min(ceiling, self.maximum_interval))

    def wait_after(self, error: HmsActError, failures: int, *, draw: Draw = random.uniform) -> float | None:
        """Seconds to wait before the next attempt, or None if there is to be none."""
        if not error.transient or failures >= self.attempts:
            return None
        asked = error.retry_after or 0.0
        if asked > self.longest_retry_after:
            return None
        return asked + self.backoff(failures, draw=draw)


NEVER = Retry(attempts=1)
