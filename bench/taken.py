# SPDX-License-Identifier: Apache-2.0
"""What processes take of the machine, as Linux tells in /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")  # a second


def family(root: int) -> set[int]:
    """A process and its descendants."""
    tasks = (PROC / str(root) / "task").iterdir()
    children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    return {root}.union(*(family(child) for child in children))


def pss(processes: Iterable[int]) -> float:
    """MiB."""
    lines = (line for pid in processes for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def cpu_seconds(processes: Iterable[int]) -> float:
    """Of the user's and of the kernel's time; one that has ended counts with whoever started it."""
    # The name of a program may hold spaces; the times, and those of children that have ended, stand behind it.
    stats = [stat.rpartition(") ")[2].split() for pid in processes if (stat := _stat(pid))]
    return sum(int(ticks) for words in stats for ticks in words[11:15]) / TICKS


def _stat(pid: int) -> str:
    try:
        return (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
