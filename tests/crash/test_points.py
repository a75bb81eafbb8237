# SPDX-License-Identifier: Apache-2.0
"""The points themselves: nobody comes upon one by accident, and none is forgotten."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from django.conf import settings

from config.crash import POINTS
from tests.house.tree import ROOT, committed_files


def read_settings(environment: dict[str, str]) -> str:
    """What the settings say as they stop the start; nothing if they do not."""
    command = [sys.executable, "-c", "import config.settings"]
    done = subprocess.run(command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"HMS_ACT_CRASH_AT": "claim.after_commit"}, "only a test sets it"),
        ({"HMS_ACT_CRASH_AT": "claim.after_commit", "HMS_ACT_TEST": "no"}, "only a test sets it"),
        ({"HMS_ACT_CRASH_AT": "claim.some_time", "HMS_ACT_TEST": "yes"}, "there are claim.after_commit, "),
    ],
)
def test_a_server_that_is_told_to_die_does_not_start_outside_a_test(process_environment, given, said):
    assert said in read_settings({**process_environment, **given})


def test_a_test_may_name_a_point(process_environment):
    assert not read_settings({**process_environment, "HMS_ACT_CRASH_AT": "claim.after_commit", "HMS_ACT_TEST": "yes"})


def test_every_point_stands_in_the_code_and_is_tried():
    sources = {path: (ROOT / path).read_text() for path in committed_files() if path.suffix == ".py"}
    ours = "\n".join(text for path, text in sources.items() if path.parts[0] != "tests")
    tests = "\n".join(text for path, text in sources.items() if path.parts[:2] == ("tests", "crash"))
    standing = set(re.findall(r'crash_point\("([a-z_.]+)"\)', ours))
    for act in re.findall(r'crash_around_commit\("([a-z_]+)"\)', ours):
        standing |= {f"{act}.before_commit", f"{act}.after_commit"}

    assert standing == POINTS
    assert {point for point in POINTS if f'"{point}"' not in tests} == set()
