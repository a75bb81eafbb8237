# SPDX-License-Identifier: Apache-2.0
"""The files that the project consists of, for the tests that read them all."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {".git", ".venv", "var", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}


def committed_files() -> list[Path]:
    """What git tracks, relative to the root; in an unpacked archive, all there is but what tools leave behind."""
    found = _tracked_by_git() or sorted(_found_on_disk())
    return [path for path in found if (ROOT / path).is_file()]


def _tracked_by_git() -> list[Path]:
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        return []
    # Another user's clone is none of git's business here: it is only read.
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name]


def _found_on_disk() -> Iterator[Path]:
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [name for name in subfolders if name not in NOT_OURS]
        for name in names:
            yield (Path(folder) / name).relative_to(ROOT)
