# SPDX-License-Identifier: Apache-2.0
"""`setup`: from a clean clone of what is committed here to the first approval, by `make demo AUTO=1`, part by part.

Packages come from pip's cache, which a first set-up, that counts for nothing, has warmed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

from bench import figures, places, servers

ROUNDS = 5

# How each part ends: what `make demo` says when the next one begins.
PARTS = {
    "environment": "setup: installing",
    "packages": "demo: preparing",
    "database, processes, form": " applied for ",
    "screening and approval": "the liaison approved",
}
# What the case itself is told, and a person at a terminal is not.
NOT_A_PERSONS = {
    "DATABASE_URL",
    "SECRET_KEY",
    "RECEIPT_SIGNING_KEY",
    "ALLOWED_HOSTS",
    "EMAIL_URL",
    "DJANGO_SETTINGS_MODULE",
    "MAKEFLAGS",
}


def main() -> None:
    first_approval()
    rounds = [first_approval() for _ in range(ROUNDS)]
    parts = {part: figures.rounded(median(one[part] for one in rounds)) for part in rounds[0]}
    figures.finish(
        figures.Report(
            "setup",
            bars=[figures.Bar("clean clone to first approval", "s", [sum(one.values()) for one in rounds], at_most=40)],
            beside={"parts, s": parts},
        )
    )


def first_approval() -> dict[str, float]:
    """The seconds of each part."""
    with tempfile.TemporaryDirectory(prefix="hms-act-setup-") as folder:
        clone, began = Path(folder) / "clone", time.monotonic()
        subprocess.run(["git", "clone", "--quiet", str(places.ROOT), str(clone)], check=True)
        cloned = time.monotonic()
        return {"clone": cloned - began, **_until_approved(clone, cloned)}


def _until_approved(clone: Path, began: float) -> dict[str, float]:
    kept = {name: value for name, value in os.environ.items() if name not in NOT_A_PERSONS and "HMS_ACT" not in name}
    demo = subprocess.Popen(
        ["make", "demo", "AUTO=1", f"PORT={servers.free_port()}"],
        cwd=clone,
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout is not None
    took, said, ends = {}, "", iter(PARTS.items())
    part, end = next(ends)
    try:
        for line in demo.stdout:
            said += line
            if end not in line:
                continue
            took[part], began = time.monotonic() - began, time.monotonic()
            if (following := next(ends, None)) is None:
                return took
            part, end = following
        raise SystemExit(f"bench: `make demo` ended without an approval; it said:\n{said}")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(demo.pid, signal.SIGTERM)
        demo.stdout.read()
        demo.wait()
