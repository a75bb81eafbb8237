# SPDX-License-Identifier: Apache-2.0
"""The files that the project consists of, for the tests that read them all."""

from __future__ import annotations

import functools
import os
import re
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


@functools.cache
def names_of_all_tests() -> frozenset[str]:
    """The names of all tests there are."""
    sources = [path for path in committed_files() if path.parts[0] == "tests" and path.suffix == ".py"]
    return frozenset(name for path in sources for name in names_of_tests_in(path))


def names_of_tests_in(path: Path) -> set[str]:
    return set(re.findall(r"^ *def (test_\w+)\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE))


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
