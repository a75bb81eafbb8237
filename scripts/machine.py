# SPDX-License-Identifier: Apache-2.0
"""What this machine has for the tests (PostgreSQL's programs, a Chromium), and how to get what it has not.

Only Debian's own packages are installed, only by root, and the database cluster that Debian makes with its
package is neither made nor started: the tests bring up a server of their own.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLUSTER_SETTINGS = Path("/etc/postgresql-common/createcluster.d")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SHELL_TOOLS = ("curl", "jq")  # what the readers of docs/ type, besides what comes with the project


class Missing(Exception):
    """Something the tests need is not on this machine; the message says what, why, and how to get it."""


def postgres_programs() -> Path:
    """The folder with `initdb` and `postgres`, installed if need be. Raises Missing."""
    if found := _find_postgres():
        return found
    with _no_cluster_of_debian():
        apt_install("postgresql", purpose="PostgreSQL")
    if found := _find_postgres():
        return found
    raise Missing("Debian's package postgresql is installed, but no initdb was found under /usr/lib/postgresql")


def chromium() -> Path:
    """A Chromium to drive, installed if need be. Raises Missing."""
    if found := find_chromium():
        return found
    apt_install("chromium", "fonts-liberation", purpose="Chromium")
    if found := find_chromium():
        return found
    raise Missing("Debian's package chromium is installed, but no chromium is on PATH")


def shell_tools() -> None:
    """Install those that are not here. Raises Missing."""
    missing = [name for name in SHELL_TOOLS if not shutil.which(name)]
    if missing:
        apt_install(*missing, purpose=" and ".join(missing))


def find_chromium() -> Path | None:
    given = os.environ.get("HMS_ACT_TEST_CHROMIUM")
    if given:
        return Path(given)
    return next((Path(path) for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


def version_of(program: Path) -> str:
    """`15.18` of `postgres (PostgreSQL) 15.18 (Debian …)`; "" if the program will not say."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    numbers = re.search(r"\d+(\.\d+)*", said)
    return numbers.group() if numbers else ""


def apt_install(*packages: str, purpose: str) -> None:
    """Install Debian packages, or raise Missing with the command that would."""
    command = f"apt-get install {' '.join(packages)}"
    if not shutil.which("apt-get"):
        raise Missing(f"{purpose} is not on this machine: install it with the machine's own package manager")
    if os.geteuid() != 0:
        raise Missing(f"{purpose} is not on this machine, and only root can install it: {command}")
    print(f"tests: installing {' '.join(packages)} ({purpose})", flush=True)
    with _alone("apt"):
        said = _apt_get("update")
        if said.returncode == 0:
            said = _apt_get("install", "-y", "--no-install-recommends", *packages)
    if said.returncode != 0:
        print(said.stdout, flush=True)
        raise Missing(f"{purpose} is not on this machine, and {command} failed (above is what it said)")


def _apt_get(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", "-o", "DPkg::Lock::Timeout=600", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _find_postgres() -> Path | None:
    folders = [
        *Path("/usr/lib/postgresql").glob("*/bin"),
        *Path("/opt/homebrew/opt").glob("postgresql@*/bin"),
    ]
    if (config := shutil.which("pg_config")) is not None:
        said = subprocess.run([config, "--bindir"], capture_output=True, text=True).stdout.strip()
        folders.append(Path(said))
    if (initdb := shutil.which("initdb")) is not None:
        folders.append(Path(initdb).resolve().parent)
    whole = [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]
    return max(whole, key=_version_numbers, default=None)


def _version_numbers(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in version_of(folder / "postgres").split(".") if number)


@contextmanager
def _no_cluster_of_debian() -> Iterator[None]:
    """Debian's package would make and start a cluster; this setting, taken back afterwards, prevents it."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        yield
        return
    CLUSTER_SETTINGS.mkdir(parents=True, exist_ok=True)
    setting = CLUSTER_SETTINGS / "hms-act-tests.conf"
    setting.write_text("create_main_cluster = off\n")
    try:
        yield
    finally:
        setting.unlink(missing_ok=True)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One at a time on this machine: two test runs must not install at once."""
    with open(Path(tempfile.gettempdir()) / f"hms-act-{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
