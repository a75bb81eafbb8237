# SPDX-License-Identifier: Apache-2.0
"""Programs started together end together, and what they said last is known."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo import children as module
from demo.children import Children

ROOT = Path(__file__).parents[2]
SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    together = Children(tmp_path / "log", os.environ)
    yield together
    together.end()


def until(found: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """A zombie has ended; it only waits for somebody to hear of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_all_end_when_they_are_told_to(children):
    started = [children.start(name, ["-c", SLEEP]) for name in ("one", "two")]
    assert children.ended() is None
    assert children.end() == []
    assert [child.process.returncode for child in started] == [-signal.SIGTERM] * 2


def test_one_that_does_not_listen_is_killed_with_what_it_started(children, monkeypatch):
    monkeypatch.setattr(module, "END_SECONDS", 0.3)
    # Its own child is in a session of its own, as a worker's cluster is.
    parent = (
        "import subprocess, sys, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"child = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}], start_new_session=True);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    child = children.start("deaf", ["-c", parent])
    until(lambda: "deaf" in child.log.read_text())
    grandchild = int(child.log.read_text().split()[0])

    assert children.end() == ["deaf"]
    until(lambda: not is_alive(grandchild))


def test_the_first_to_end_by_itself_is_known_with_its_last_words(children):
    children.start("quiet", ["-c", SLEEP])
    children.start("loud", ["-c", "raise SystemExit('the disk is full')"])
    until(children.ended)
    ended = children.ended()
    assert (ended.name, ended.process.returncode) == ("loud", 1)
    assert ended.last_words() == "    the disk is full"


def test_ctrl_c_reaches_only_us(children):
    child = children.start("apart", ["-c", SLEEP])
    assert os.getpgid(child.process.pid) != os.getpgrp()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_they_end_when_we_are_killed_outright(tmp_path):
    program = textwrap.dedent(
        f"""
        import os, time
        from pathlib import Path
        from demo.children import Children
        child = Children(Path({str(tmp_path)!r}), os.environ).start("left", ["-c", {SLEEP!r}])
        print(child.process.pid, flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        left = int(parent.stdout.readline())
        assert is_alive(left)
        parent.kill()
        until(lambda: not is_alive(left))
