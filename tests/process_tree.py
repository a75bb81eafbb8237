# SPDX-License-Identifier: Apache-2.0
"""Which processes descend from which, as the kernel says."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> list[int]:
    """In the order in which they were started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def tree(pid: int) -> list[int]:
    """The process, then all that descend from it."""
    return [pid, *(each for child in children(pid) for each in tree(child))]


def is_alive(pid: int) -> bool:
    """A zombie is not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
