# SPDX-License-Identifier: Apache-2.0
"""A start that the settings do not allow ends with one sentence that says what to set."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.config.web import ROOT, free_port

PRODUCTION = {
    "DATABASE_URL": "postgres://act:act@127.0.0.1:9/act",  # where nothing listens
    "SECRET_KEY": "only-for-tests-" * 4,
    "ALLOWED_HOSTS": "act.example.gov",
}
STARTS = {
    "the web": ["-m", "config.web", f"--port={free_port()}"],
    "a command of Django's": ["manage.py", "migrate"],
    "a command of ours": ["manage.py", "worker"],
}


def start_without(missing: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    set_otherwise = {"SECRET_KEY", "ALLOWED_HOSTS", "RECEIPT_SIGNING_KEY", "RECEIPT_SIGNING_KEY_FILE"}
    around = {name: value for name, value in os.environ.items() if name not in set_otherwise}
    given = {name: value for name, value in PRODUCTION.items() if name != missing}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=ROOT, env={**around, **given}, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("start", STARTS)
def test_without_a_secret_key_a_production_start_ends_with_what_to_set(start):
    ended = start_without("SECRET_KEY", STARTS[start])

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == (
        "The settings do not let this start. SECRET_KEY is not set: give 50 random characters, "
        "or their file in SECRET_KEY_FILE.\n"
    )


def test_without_the_names_of_its_hosts_it_ends_likewise():
    ended = start_without("ALLOWED_HOSTS", STARTS["the web"])

    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "ALLOWED_HOSTS is not set" in ended.stderr


def test_a_web_process_without_a_key_to_sign_receipts_with_ends_likewise():
    ended = start_without("RECEIPT_SIGNING_KEY", STARTS["the web"])

    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "RECEIPT_SIGNING_KEY is not set" in ended.stderr
