# SPDX-License-Identifier: Apache-2.0
"""Getting the peers, and ourselves as an installation has us: once, into var/bench/, from their registries."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import places

DBOS = ("dbos==3.4.0", "psycopg[binary]==3.3.9")
RESTATE_SDK = ("restate-sdk==1.3.0", "hypercorn==0.18.0")
RESTATE_SERVER = "@restatedev/restate-server@1.7.12"


def dbos() -> list[str]:
    return [str(_environment("dbos", DBOS)), "-m", "bench.peers.dbos_permit3"]


def restate() -> list[str]:
    server = _restate_server()
    return [str(_environment("restate", RESTATE_SDK)), "-m", "bench.peers.restate_permit3", str(server)]


def product() -> Path:
    """The Python of what an installation has: nothing in it is for developing."""
    locked = places.ROOT / "requirements.txt"
    return _environment("product", ["--requirement", str(locked)], wanted=locked.read_text())


def _environment(name: str, packages: Sequence[str], wanted: str = "") -> Path:
    """The Python of a virtual environment that holds these packages. It is made anew when what is `wanted` changes."""
    folder = places.var() / name
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    wanted = wanted or "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        _say(" ".join(packages))
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
        stamp.write_text(wanted)
    return python


def _restate_server() -> Path:
    """The program itself: the package's own start script would be one more process."""
    folder = places.var() / "restate-server"
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != RESTATE_SERVER:
        _say(RESTATE_SERVER)
        folder.mkdir(parents=True, exist_ok=True)
        _run(
            [
                "npm",
                "install",
                "--silent",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
                str(folder),
                RESTATE_SERVER,
            ]
        )
        stamp.write_text(RESTATE_SERVER)
    found = [path for path in folder.glob("node_modules/@restatedev/*/bin/restate-server") if os.access(path, os.X_OK)]
    assert len(found) == 1, f"{RESTATE_SERVER} holds {found}"
    return found[0]


def _run(command: list[str]) -> None:
    if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode != 0:
        sys.exit(f"bench: a peer could not be installed: {' '.join(command)}")


def _say(what: str) -> None:
    print(f"bench: installing {what} into {places.var()}", file=sys.stderr, flush=True)
