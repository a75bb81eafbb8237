# SPDX-License-Identifier: Apache-2.0
"""All checks and tests: the suite on SQLite, again on a real PostgreSQL, and in a real browser.

    make test                                        everything
    make test DB=sqlite ARGS="tests/runs -k claim"   one part, narrowed; what ARGS holds goes to pytest

The last line says what passed, failed and was left out. Nothing is left out silently: a part that this
machine cannot run, or a test that skips itself, is named with its reason, and with CI=true it is a failure.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import machine
import processes
import with_postgres

ROOT = Path(__file__).resolve().parent.parent
TESTS_FAILED, NO_TESTS_SELECTED = 1, 5  # of pytest's exit codes
STACKS_AFTER_SECONDS = 180  # a test that takes longer shows where it stands
NOT_FOR_TESTS = {"DATABASE_URL", "ARGS", "DB", "PYTHONDONTWRITEBYTECODE"}
TITLES = {"checks": "checks", "sqlite": "SQLite", "postgresql": "PostgreSQL", "browser": "browser"}

CHECKS = (
    ("ruff check", ["ruff", "check", "."]),
    ("ruff format", ["ruff", "format", "--check", "."]),
    ("mypy", ["mypy", "."]),
    ("migrations", ["manage.py", "makemigrations", "--check", "--dry-run"]),
)

# The word for a test's fate here, and in pytest's report.
MARKS_IN_REPORT = {"failed": "failure", "errors": "error", "skipped": "skipped"}

# Which tests belong to which part. A test marked `sqlite` or `postgresql` is about that database alone; what is
# marked `once` is about neither, and is played on the embedded one.
ON_SQLITE = "not postgresql and not browser"
ON_POSTGRESQL = "not sqlite and not once and not browser"
IN_BROWSER = "browser"


@dataclass(frozen=True)
class Outcome:
    """How one part ended: the words for the last line, and what that means for the whole."""

    part: str
    words: str
    failed: bool = False
    left_out: tuple[str, ...] = ()  # what was not run, each with its reason

    def __str__(self) -> str:
        return f"{self.part}: {self.words}"


@dataclass
class Session:
    """What was asked for, and where this run keeps its files."""

    folder: Path
    arguments: list[str]
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def is_narrowed(self) -> bool:
        return bool(self.arguments)

    def environment(self, **more: str) -> dict[str, str]:
        """Ours without what the caller's shell says about a database: a test run never touches that one.

        Programs are compiled once in a run, though the caller may not want that kept: tests start hundreds of them.
        """
        kept = {name: value for name, value in os.environ.items() if name not in NOT_FOR_TESTS}
        own = {"HMS_ACT_VAR": str(self.folder / "var"), "PYTHONPYCACHEPREFIX": str(self.folder / "compiled")}
        return {**kept, **own, **more}


def run_checks(session: Session) -> Outcome:
    failed = []
    for name, command in CHECKS:
        heading(name)
        arguments = command if command[0].endswith(".py") else ["-m", *command]
        if processes.run([sys.executable, *arguments], session.environment()) != 0:
            failed.append(name)
    words = f"{' and '.join(failed)} FAILED" if failed else "clean"
    return Outcome("checks", words, failed=bool(failed))


def run_on_sqlite(session: Session) -> Outcome:
    part = f"SQLite {sqlite3.sqlite_version}"
    return run_pytest(session, part, ON_SQLITE, session.environment(), parallel=True)


def run_on_postgresql(session: Session) -> Outcome:
    with with_postgres.running_server() as server:
        environment = session.environment(**server.environment())
        return run_pytest(session, f"PostgreSQL {server.version}", ON_POSTGRESQL, environment, parallel=True)


def run_in_browser(session: Session) -> Outcome:
    program = machine.chromium()
    part = f"browser (Chromium {machine.version_of(program)})"
    environment = session.environment(HMS_ACT_TEST_CHROMIUM=str(program))
    return run_pytest(session, part, IN_BROWSER, environment, parallel=False)


RUN: dict[str, Callable[[Session], Outcome]] = {
    "checks": run_checks,
    "sqlite": run_on_sqlite,
    "postgresql": run_on_postgresql,
    "browser": run_in_browser,
}
TOOLS: dict[str, Callable[[], object]] = {
    "postgresql": machine.postgres_programs,
    "browser": machine.chromium,
}


def run_pytest(session: Session, part: str, marks: str, environment: dict[str, str], *, parallel: bool) -> Outcome:
    heading(part)
    report = session.folder / "report.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-m", marks, f"--junitxml={report}"]
    command += ["-o", f"faulthandler_timeout={STACKS_AFTER_SECONDS}"]
    if parallel and not session.is_narrowed:
        # Each works through its own half, so that what a module shares is made once; who is done first takes over.
        command += ["-n", "2", "--dist", "worksteal"]
    code = processes.run([*command, *session.arguments], environment)
    return outcome_of(session, part, code, report)


def outcome_of(session: Session, part: str, code: int, report: Path) -> Outcome:
    if code == NO_TESTS_SELECTED:
        if session.is_narrowed:
            return Outcome(part, "none of the tests asked for")
        return Outcome(part, "NO TESTS", left_out=(f"{part}: the suite holds no test for it",))
    if not report.exists():
        return Outcome(part, f"pytest broke off with code {code} and no report", failed=True)
    cases = list(ElementTree.parse(report).iter("testcase"))
    counts = {word: len(having(cases, mark)) for word, mark in MARKS_IN_REPORT.items()}
    words = f"{len(cases) - len(having(cases, *MARKS_IN_REPORT.values()))} passed"
    words += "".join(f", {count} {word}" for word, count in counts.items() if count)
    if code not in {0, TESTS_FAILED} or (code and not counts["failed"] and not counts["errors"]):
        words += f", pytest broke off with code {code}"
    reasons = (f"{case.get('name')} skipped itself: {reason_of(case)}" for case in having(cases, "skipped"))
    return Outcome(part, words, failed=code != 0, left_out=tuple(f"{part}: {reason}" for reason in reasons))


def having(cases: list[ElementTree.Element], *marks: str) -> list[ElementTree.Element]:
    return [case for case in cases if any(case.find(mark) is not None for mark in marks)]


def reason_of(case: ElementTree.Element) -> str:
    return next(mark.get("message", "") for mark in case.iter("skipped"))


def look_for_tools(parts: list[str]) -> None:
    """Before minutes are spent: install what the parts need, and say at once what cannot be had."""
    try:
        if {"sqlite", "postgresql"} & set(parts):
            machine.shell_tools()
    except machine.Missing as reason:
        loudly(f"THE PAGES OF docs/ WILL NOT BE PLAYED: {reason}")
    for part in parts:
        try:
            if part in TOOLS:
                TOOLS[part]()
        except machine.Missing as reason:
            loudly(f"{TITLES[part]} WILL BE LEFT OUT: {reason}")


def run_part(session: Session, part: str) -> Outcome:
    try:
        return RUN[part](session)
    except machine.Missing as reason:
        return Outcome(TITLES[part], f"LEFT OUT ({reason})", left_out=(f"{TITLES[part]}: {reason}",))


def summary(session: Session, seconds: float, *, in_ci: bool) -> int:
    """Print what happened, the whole of it in the last line, and give the exit code."""
    missing = [line for outcome in session.outcomes for line in outcome.left_out]
    failed = any(outcome.failed for outcome in session.outcomes)
    heading(f"summary, after {seconds / 60:.1f} minutes")
    for line in missing:
        print(f"LEFT OUT: {line}")
    if missing and in_ci:
        print("With CI=true, what is left out has failed.")
    ok = not failed and not (missing and in_ci)
    parts = "; ".join(str(outcome) for outcome in session.outcomes)
    print(f"{'OK' if ok else 'FAILED'}: {parts}", flush=True)
    return 0 if ok else 1


def heading(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def loudly(text: str) -> None:
    print(f"\n{'!' * 100}\n!!! {text}\n{'!' * 100}", flush=True)


@contextmanager
def new_session(arguments: list[str]) -> Iterator[Session]:
    with tempfile.TemporaryDirectory(prefix="hms-act-tests-") as folder:
        yield Session(Path(folder), arguments)


def chosen_parts(names: list[str], *, narrowed: bool) -> list[str]:
    unknown = sorted(set(names) - set(TITLES))
    if unknown:
        sys.exit(f"tests: there is no part named {' '.join(unknown)}: give {', '.join(TITLES)}.")
    return names or [part for part in TITLES if not (narrowed and part == "checks")]


def main() -> int:
    os.chdir(ROOT)
    arguments = shlex.split(os.environ.get("ARGS", ""))
    parts = chosen_parts(sys.argv[1:], narrowed=bool(arguments))
    started = time.monotonic()
    processes.end_on_signals()
    look_for_tools(parts)
    with new_session(arguments) as session:
        for part in parts:
            session.outcomes.append(run_part(session, part))
        return summary(session, time.monotonic() - started, in_ci=os.environ.get("CI") == "true")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ntests: stopped before the end; nothing can be said of the rest.", flush=True)
        sys.exit(130)
