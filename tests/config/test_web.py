# SPDX-License-Identifier: Apache-2.0
"""The web's processes are forked from one that has loaded everything, looked after, and ended together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.config.web import ROOT, free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

PATIENCE_SECONDS = 60


@pytest.fixture
def web(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "config.web", f"--port={port}", "--workers=2"]
    environment = {**os.environ, "HMS_ACT_VAR": str(tmp_path)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.terminate()  # and so its children, which would outlive it if it were killed
        process.wait(PATIENCE_SECONDS)


def test_both_are_forked_and_a_killed_one_is_replaced(web):
    first = eventually(lambda: two_of(web))
    os.kill(first[0], signal.SIGKILL)

    second = eventually(lambda: (found := two_of(web)) and first[0] not in found and found)
    assert first[1] in second
    assert all("config.web" in Path(f"/proc/{pid}/cmdline").read_text() for pid in second)


def test_they_end_when_told(web):
    processes = eventually(lambda: two_of(web))
    web.send_signal(signal.SIGTERM)

    assert web.wait(PATIENCE_SECONDS) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)


def two_of(web):
    children = Path(f"/proc/{web.pid}/task/{web.pid}/children").read_text().split()
    return [int(pid) for pid in children] if len(children) == 2 else None


def eventually(found):
    end = time.monotonic() + PATIENCE_SECONDS
    while not (answer := found()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return answer
