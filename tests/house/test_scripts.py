# SPDX-License-Identifier: Apache-2.0
"""`make test` tells the truth about what it ran, and the server it starts never outlives it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import run_tests
import with_postgres
from run_tests import Outcome, Session

from tests.house.tree import ROOT

pytestmark = pytest.mark.once  # it is about programs that start databases

THREE_FATES = """
import pytest

def test_that_passes():
    assert True

def test_that_fails():
    assert False

def test_that_does_not_want_to():
    pytest.skip("it is raining")
"""
HALF_A_CHARACTER = """
import logging

def test_that_passes():
    logging.warning("\\udcff")

def test_that_fails():
    logging.warning("\\udcff")
    raise AssertionError("\\udcff")
"""
SECONDS_TO_END = 20


def run_one_file(folder: Path, source: str, *options: str) -> Outcome:
    (folder / "test_sample.py").write_text(source)
    session = Session(
        folder, [str(folder), f"--config-file={ROOT / 'pyproject.toml'}", f"--rootdir={folder}", *options]
    )
    return run_tests.run_pytest(session, "sample", "not postgresql", session.environment(), parallel=False)


def code_of(*outcomes: Outcome, in_ci: bool) -> int:
    return run_tests.summary(Session(Path(), [], list(outcomes)), 60.0, in_ci=in_ci)


def test_what_passed_failed_and_skipped_is_counted_with_the_reason(tmp_path):
    outcome = run_one_file(tmp_path, THREE_FATES)

    assert str(outcome) == "sample: 1 passed, 1 failed, 1 skipped"
    assert outcome.failed
    assert outcome.left_out == ("sample: test_that_does_not_want_to skipped itself: it is raining",)


def test_a_part_that_cannot_be_collected_has_failed(tmp_path):
    assert run_one_file(tmp_path, "import nothing_of_that_name").failed


def test_half_a_character_in_what_a_test_logs_does_not_end_a_parallel_run(tmp_path):
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_report_to_serializable")

    outcome = run_one_file(tmp_path, HALF_A_CHARACTER, "-n", "1")

    assert str(outcome) == "sample: 1 passed, 1 failed"


def test_a_narrowed_run_may_select_nothing_of_a_part(tmp_path):
    outcome = run_one_file(tmp_path, THREE_FATES, "-k", "nothing_of_that_name")

    assert (outcome.failed, outcome.left_out) == (False, ())


@pytest.mark.parametrize(
    ("outcome", "on_a_laptop", "in_ci"),
    [
        (Outcome("SQLite", "3 passed"), 0, 0),
        (Outcome("SQLite", "2 passed, 1 failed", failed=True), 1, 1),
        (Outcome("PostgreSQL", "LEFT OUT", left_out=("PostgreSQL: it is not here",)), 0, 1),
    ],
)
def test_what_is_left_out_fails_in_ci_and_is_said_everywhere(outcome, on_a_laptop, in_ci, capsys):
    assert code_of(outcome, in_ci=False) == on_a_laptop
    assert code_of(outcome, in_ci=True) == in_ci

    said = capsys.readouterr().out
    assert str(outcome) in said.splitlines()[-1]
    assert all(f"LEFT OUT: {line}" in said for line in outcome.left_out)


def test_the_database_of_the_callers_shell_is_never_touched(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://somebody@production/act")

    assert "DATABASE_URL" not in Session(tmp_path, []).environment()


@pytest.fixture
def caller():
    """A process with a server of its own; its first line is the server's address."""
    command = "import os; print(os.environ['DATABASE_URL'], flush=True); import time; time.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, with_postgres.__file__, sys.executable, "-c", command],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    process.terminate()
    process.communicate(timeout=SECONDS_TO_END)


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def ends_soon(folder: Path) -> bool:
    """A server's last act is to take its process number back."""
    deadline = time.monotonic() + SECONDS_TO_END
    while (folder / "data" / "postmaster.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not (folder / "data" / "postmaster.pid").exists()


def data_folder(url: str) -> Path:
    with psycopg.connect(url) as session:
        rows = session.execute("SHOW data_directory").fetchall()
    return Path(rows[0][0]).parent


@pytest.mark.postgresql
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_server_and_its_files_go_when_the_caller_is_told_to_end(caller, number):
    url = caller.stdout.readline().strip()
    folder = data_folder(url)

    caller.send_signal(number)

    assert caller.wait(SECONDS_TO_END) == 128 + number
    assert not answers(url)
    assert not folder.exists()


@pytest.mark.postgresql
def test_the_server_and_its_files_go_on_ctrl_c(caller):
    url = caller.stdout.readline().strip()
    folder = data_folder(url)

    os.killpg(caller.pid, signal.SIGINT)  # a terminal sends it to all in the foreground

    assert caller.wait(SECONDS_TO_END) != 0
    assert not answers(url)
    assert not folder.exists()


@pytest.mark.postgresql
def test_the_server_goes_even_when_the_caller_is_killed(caller):
    url = caller.stdout.readline().strip()
    folder = data_folder(url)

    try:
        os.killpg(caller.pid, signal.SIGKILL)
        assert ends_soon(folder)
        assert not answers(url)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.postgresql
def test_a_server_leaves_no_files():
    with with_postgres.running_server() as server:
        folder = data_folder(server.url)

    assert not answers(server.url)
    assert not folder.exists()


@pytest.mark.postgresql
def test_a_stranger_cannot_log_in_to_the_server():
    with with_postgres.running_server() as server:
        password = server.url.split("@")[0].rpartition(":")[2]

        assert not answers(server.url.replace(password, "guessed"))
