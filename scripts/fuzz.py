# SPDX-License-Identifier: Apache-2.0
"""Send the HTTP API calls that nobody thought of, round after round, for as long as it is let.

    make fuzz                             ten minutes, SQLite and PostgreSQL in turn
    make fuzz MINUTES=60 DB=postgresql    an hour on one of them
    make fuzz SEED=1234567                one round again

A round is tests/contract/test_fuzz.py with a seed of its own, which is printed, and with more calls than `make test`
sends. Both databases get the same calls, and have to give the same answers.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import machine
import processes
import with_postgres

ROOT = Path(__file__).resolve().parent.parent
TESTS = "tests/contract/test_fuzz.py"
CALLS = "20"  # of each visitor by each operation: a round takes one or two minutes on a database
NAMES = ("sqlite", "postgresql")


@dataclass
class Database:
    name: str
    environment: Mapping[str, str]
    calls: int = 0
    # of the last round:
    answers: list[str] = field(default_factory=list)
    passed: bool = True


def play_round(seed: str, database: Database, folder: Path) -> None:
    """Send the calls of this seed."""
    print(f"\n=== seed {seed} on {database.name}", flush=True)
    written = folder / f"{database.name}.txt"
    written.unlink(missing_ok=True)
    told = {"HMS_ACT_FUZZ_SEED": seed, "HMS_ACT_FUZZ_CALLS": CALLS, "HMS_ACT_FUZZ_ANSWERS": str(written)}
    # In the order of the file: the answers of two databases are compared line by line.
    command = [sys.executable, "-m", "pytest", TESTS, "-q", "-p", "no:randomly", "--show-capture=no"]
    database.passed = processes.run(command, {**database.environment, **told}) == 0
    database.answers = written.read_text(encoding="utf-8").split("\n")[:-1] if written.exists() else []
    database.calls += len(database.answers)


def differences(one: Database, other: Database) -> Iterator[str]:
    """Where the two answered the same call in different ways. What stands behind the tab is only for people."""
    for mine, theirs in zip_longest(one.answers, other.answers, fillvalue="no such call"):
        if mine.partition("\t")[0] != theirs.partition("\t")[0]:
            yield f"{one.name}:\n    {mine}\n{other.name}:\n    {theirs}"


def faults(seed: str, databases: list[Database]) -> Iterator[str]:
    """How each fault of the last round is met again, and what it is if pytest has not said so already."""
    failed = [database for database in databases if not database.passed]
    for database in failed:
        yield f"make fuzz SEED={seed} DB={database.name}"
    if not failed and len(databases) > 1 and (found := list(differences(*databases))):
        yield f"make fuzz SEED={seed}\nCalls answered differently: {len(found)}. The first:\n{found[0]}"


def seeds(minutes: float) -> Iterator[str]:
    if asked_for := os.environ.get("SEED"):
        yield asked_for
        return
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        yield str(secrets.randbelow(10**9))


def opened(name: str, folder: Path, until: ExitStack) -> Database:
    """The database, for as long as `until` is open. Raises machine.Missing."""
    kept = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "DB", "SEED"}}
    environment = {**kept, "HMS_ACT_VAR": str(folder / "var")}
    if name == "postgresql":
        environment |= until.enter_context(with_postgres.running_server()).environment()
    return Database(name, environment)


def chosen(names: list[str]) -> list[str]:
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        sys.exit(f"fuzz: there is no database named {' '.join(unknown)}: give {' or '.join(NAMES)}.")
    return names or list(NAMES)


def main() -> int:
    os.chdir(ROOT)
    names, minutes = chosen(sys.argv[1:]), float(os.environ.get("MINUTES") or 10)
    processes.end_on_signals()
    with tempfile.TemporaryDirectory(prefix="hms-act-fuzz-") as name, ExitStack() as until:
        folder = Path(name)
        try:
            databases = [opened(each, folder, until) for each in names]
        except machine.Missing as reason:
            sys.exit(f"fuzz: {reason}. DB=sqlite does without.")
        found: list[str] = []
        for seed in seeds(minutes):
            for database in databases:
                play_round(seed, database, folder)
            found += faults(seed, databases)
    return summary(databases, found)


def summary(databases: list[Database], found: list[str]) -> int:
    """Print what was found, how much was sent in the last line, and give the exit code."""
    for fault in found:
        print(f"\nFAULT: {fault}")
    sent = ", ".join(f"{database.calls} calls on {database.name}" for database in databases)
    print(f"\n{'FAILED' if found else 'OK'}: {sent}, {len(found)} faults.", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nfuzz: stopped before the end.", flush=True)
        sys.exit(130)
