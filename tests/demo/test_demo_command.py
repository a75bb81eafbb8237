# SPDX-License-Identifier: Apache-2.0
"""`manage.py demo` as a person runs it: a program in a terminal, with a folder of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from pypdf import PdfReader

from demo.management.commands import demo
from tests.database import migrated

ROOT = Path(__file__).parents[2]
NOT_OURS = {
    "DATABASE_URL",
    "SECRET_KEY",
    "RECEIPT_SIGNING_KEY",
    "ALLOWED_HOSTS",
    "SITE_ROOT",
    "EMAIL_URL",
    "PORT",
    "AUTO",
    "DJANGO_SETTINGS_MODULE",
}
PATIENCE = 120.0  # seconds; a machine that is busy with other tests starts programs slowly
ENDING_SECONDS = 10.0

pytestmark = pytest.mark.sqlite  # whatever the suite runs on, the demonstration has a database of its own


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(var: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    return {**kept, "HMS_ACT_VAR": str(var), **more}


def run_demo(var: Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "demo"]
    return subprocess.run(
        command, cwd=ROOT, env=environment(var, **more), capture_output=True, text=True, timeout=2 * PATIENCE
    )


@contextmanager
def running_demo(var: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """One that is ready: the address of the form has been printed."""
    command = [sys.executable, "manage.py", "demo"]
    said = var.parent / "said.txt"
    with open(said, "w") as output:
        program = subprocess.Popen(
            command, cwd=ROOT, env=environment(var, PORT=str(port)), stdout=output, stderr=output, text=True
        )
    try:
        until(lambda: "Ctrl-C" in said.read_text() or program.poll() is not None)
        yield program
    finally:
        if program.poll() is None:
            program.terminate()
            program.wait(PATIENCE)


def until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def children_of(pid: int) -> dict[int, str]:
    """Number and command line of all that it started, and of what these started."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True).stdout
    rows = [
        (int(child), int(parent), words) for child, parent, words in (r.split(None, 2) for r in listed.splitlines())
    ]
    found: dict[int, str] = {}
    parents = {pid}
    while parents:
        new = {child: words for child, parent, words in rows if parent in parents}
        found |= new
        parents = set(new)
    return found


def test_a_port_that_is_none_is_one_sentence(tmp_path):
    done = run_demo(tmp_path, PORT="abc")
    assert done.returncode == 1
    assert (done.stdout, done.stderr) == ("", "demo: PORT=abc is no port: give a number from 1 to 65535.\n")


@pytest.mark.parametrize("port", ["0", "65536", "-1", "80.5", "٨٠٠٠"])
def test_what_is_no_port_is_refused(monkeypatch, port):
    monkeypatch.setenv("PORT", port)
    with pytest.raises(demo.Broken, match="is no port"):
        demo.free_port()


def test_a_busy_port_is_one_sentence_that_names_the_way_out(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run_demo(tmp_path, PORT=str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(
        r"demo: port \d+ cannot be used \(.+\): name a free one, as in make demo PORT=8001\.\n", done.stderr
    )


def test_it_never_seeds_a_database_that_is_not_its_own(tmp_path):
    url = "postgres://act:act@127.0.0.1:9/act"
    done = run_demo(tmp_path, DATABASE_URL=url, SECRET_KEY="x" * 50, ALLOWED_HOSTS="localhost")
    assert done.returncode == 1
    assert done.stderr.startswith("demo: it keeps to a database of its own: unset DATABASE_URL")


def test_the_story_plays_alone_and_the_next_start_keeps_what_it_left(tmp_path):
    var = tmp_path / "var"
    _plays_alone(var)
    _starts_again_and_ends_on_ctrl_c(var)


def _plays_alone(var: Path) -> None:
    done = run_demo(var, AUTO="1", PORT=str(free_port()))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything promised holds" in done.stdout
    assert "BROKEN" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    for said in ("The log of run 1", "The log of run 2", "Collect-Fee", "two officers will be at the fountain"):
        assert said in done.stdout
    (permit,) = (var / "permits").glob("*.pdf")
    printed = " ".join("".join(page.extract_text() for page in PdfReader(permit).pages).split())
    assert "Ana Ruiz" in printed
    assert "Two medics stay at the fountain until the square is empty." in printed


def _starts_again_and_ends_on_ctrl_c(var: Path) -> None:
    kept, port = (var / "demo.json").read_text(), free_port()
    with running_demo(var, port) as program:
        started = children_of(program.pid)
        form = httpx2.get(f"http://127.0.0.1:{port}/forms/protest_permit")
        program.send_signal(signal.SIGINT)
        began = time.monotonic()
        code = program.wait(PATIENCE)
        took = time.monotonic() - began

    said = (var.parent / "said.txt").read_text()
    assert form.status_code == 200
    assert (var / "demo.json").read_text() == kept
    assert len(list((var / "permits").glob("*.pdf"))) == 1
    assert code == 0
    assert took < ENDING_SECONDS
    assert "Traceback" not in said
    assert said.rstrip().endswith("demo: ended.")
    assert {name for name in ("fee_service", "uvicorn", "worker", "agent") if name in " ".join(started.values())} == {
        "fee_service", "uvicorn", "worker", "agent",
    }  # fmt: skip
    assert not {pid: words for pid, words in children_of(1).items() if pid in started}


def test_a_program_that_dies_is_named_and_the_rest_ends_with_it(tmp_path, db):
    var = tmp_path / "var"
    migrated(var / "hms_act.sqlite3")
    with running_demo(var, free_port()) as program:
        until(lambda: any("demo.agent" in words for words in children_of(program.pid).values()))
        started = children_of(program.pid)
        (agent,) = (pid for pid, words in started.items() if "demo.agent" in words)
        os.kill(agent, signal.SIGKILL)
        code = program.wait(PATIENCE)

    said = (tmp_path / "said.txt").read_text()
    assert code == 1
    assert "demo: agent ended by itself (exit code -9)" in said
    assert "Traceback" not in said
    assert not {pid for pid in started if pid in children_of(1)}
