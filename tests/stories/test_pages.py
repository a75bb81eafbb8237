# SPDX-License-Identifier: Apache-2.0
"""What a page tells its reader to type works, and gives what the page shows."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator

import machine
import pytest

from accounts.models import User
from tests.config.web import ROOT
from tests.stories.pages import Reader, Shell, addresses, agree, blocks, clone, environment_of, pattern, running

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.once,
]  # typed on the embedded database

QUICKSTART = ROOT / "docs/tutorial/quickstart.md"
AGENTS = ROOT / "docs/how-to/write-an-agent.md"


@pytest.fixture
def reader(process_environment, tmp_path) -> Iterator[Reader]:
    """Somebody with a clone, in which `make run` has been typed."""
    missing = [name for name in machine.SHELL_TOOLS if not shutil.which(name)]
    if missing:
        pytest.skip(f"no {' and '.join(missing)} on this machine, which the page's reader needs")
    folder = clone(tmp_path / "clone")
    environment = environment_of(process_environment, folder)
    with running(folder, environment, tmp_path / "server.log") as url:
        reading = Reader(url, folder, environment)
        yield reading
        reading.close()


def test_the_quickstart_goes_as_it_says(reader, client_for):
    reader.play(QUICKSTART)

    ada = client_for(User.objects.get(username="ada"))
    assert {path: ada.get(path, follow=True).status_code for path in addresses(QUICKSTART)} == dict.fromkeys(
        ["/", "/admin/approvals/actionrequest/", "/admin/runs/run/", "/admin/audit/entry/"], 200
    )


def test_the_agents_guide_goes_as_it_says(reader):
    reader.play(AGENTS)


def test_the_agents_guide_shows_what_a_call_beyond_the_limit_is_told(settings, api_for, validator):
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, 1)
    api = api_for(validator)
    api.get("/acts/runs")

    refused = api.get("/acts/runs")

    (shown,) = (block.text for block in blocks(AGENTS) if block.kind == "http")
    head, _, body = shown.partition("\n\n")
    told = [f"HTTP/1.1 {refused.status_code} {refused.reason_phrase}"]
    told += [f"{name}: {refused[name]}" for name in ("Content-Type", "Retry-After")]
    assert re.fullmatch(pattern(head), "\n".join(told))
    assert agree("json", body, json.dumps(refused.json()))


# How a page is played ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "shown", "printed", "the_same"),
    [
        ("", "Run 1: completed", "Run 57: completed\n", True),
        ("", "Run 1: completed", "Run 57: failed\n", False),
        ("", "Run 1: completed", "Run 57: completed\nand more\n", False),
        ("", "first\n…\nlast", "first\nbetween\nlast\n", True),
        ("", "har_39a1528657a7: fulfilled", "har_000000000001: fulfilled", True),
        ("json", '{"status": 409}', '{"status": 409, "code": "lease_lost"}', True),
        ("json", '{"status": 409, "code": "lease_lost"}', '{"status": 409}', False),
        ("json", '{"status": 409}', '{"status": 200}', False),
        ("json", '{"run_id": 1}', '{"run_id": 57}', True),
        ("json", '{"run_id": 1}', '{"run_id": null}', False),
        ("json", '{"token": "lease_…"}', '{"token": "lease_Zk1oV0"}', True),
        ("json", '{"token": "lease_…"}', '{"token": "Zk1oV0"}', False),
        ("json", "[]", "[1]", False),
        ("json", "1", "2", False),
    ],
)
def test_what_is_shown_and_is_not_so_is_found(kind, shown, printed, the_same):
    assert agree(kind, shown, printed) is the_same


def test_a_command_that_fails_is_found(tmp_path):
    shell = Shell(tmp_path, os.environ)
    assert shell.type("WORD=said\n", "page.md:1") == ""
    assert shell.type("echo $WORD\n", "page.md:2") == "said\n"

    with pytest.raises(AssertionError, match=r"page\.md:3 ended with an error"):
        shell.type("cat no-such-file\necho done\n", "page.md:3")
    shell.close()
