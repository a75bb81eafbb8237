# SPDX-License-Identifier: Apache-2.0
"""The command line beside a live server: who asks, who answers, and who follows what happens, each in a shell."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from accounts import seeds
from approvals.models import ActionRequest
from hms_act import Client
from tests.config.web import served
from tests.people import agent, key_of, person

pytestmark = pytest.mark.django_db(transaction=True)

REVIEWERS = "human:reviewer"


@dataclass
class Shell:
    url: str
    tokens: dict[str, str]
    environment: dict[str, str]

    def starts(self, who: str, *words: str) -> subprocess.Popen[str]:
        environment = {**self.environment, "HMS_ACT_URL": self.url, "HMS_ACT_TOKEN": self.tokens[who]}
        command = [sys.executable, "-m", "hms_act", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)

    def does(self, who: str, *words: str) -> tuple[int, str, str]:
        """(exit code, output, errors)."""
        process = self.starts(who, *words)
        out, errors = process.communicate(timeout=60)
        return process.returncode, out, errors

    def told(self, who: str, *words: str) -> Any:
        code, out, errors = self.does(who, *words, "--json")
        assert code == 0, errors
        return json.loads(out)

    def client(self, who: str) -> Client:
        return Client(self.url, self.tokens[who])


@pytest.fixture
def shell(process_environment, tmp_path) -> Iterator[Shell]:
    users = [
        agent("stripe-agent", "agent:stripe"),
        agent("other-agent"),
        person("amina", seeds.STAFF, REVIEWERS),
        person("bela", seeds.STAFF, REVIEWERS),
    ]
    tokens = {user.username: key_of(user)[1] for user in users}
    own = {**process_environment, "XDG_STATE_HOME": str(tmp_path / "state")}
    with served(process_environment, tmp_path / "web.log") as web:
        yield Shell(str(web.base_url).rstrip("/"), tokens, own)


def test_the_inbox_shows_the_oldest_first_and_what_a_colleague_has_claimed(shell):
    asking = shell.client("stripe-agent")
    first, second, third = (asking.create_request(title=title).id for title in ("First", "Second", "Third"))
    shell.client("amina")._change("POST", f"/hitl/requests/{first}/claim", {})
    asking.cancel_request(third)

    listed = shell.told("bela", "inbox")

    assert [(each["id"], each["status"]) for each in listed] == [(first, "in_review"), (second, "pending")]


def test_who_asked_takes_it_back_and_nobody_else(shell):
    asked = shell.client("stripe-agent").create_request(title="Never mind").id

    code, _, errors = shell.does("amina", "cancel", asked)
    assert (code, errors) == (1, "hms-act: Only who asked a question takes it back.\n")
    assert shell.does("stripe-agent", "cancel", asked, "--reason", "no longer needed")[:2] == (
        0,
        f"{asked}: cancelled\n",
    )
    assert ActionRequest.objects.get(pk=asked).state == "cancelled"
    assert shell.told("stripe-agent", "cancel", asked)["status"] == "cancelled", "twice is once"
    assert shell.does("stripe-agent", "cancel", "har_000000000000")[0] == 1


def test_events_are_followed_by_type_and_taken_up_again_where_the_reader_was(shell):
    asking = shell.client("stripe-agent")
    start = asking.newest_event()
    words = ("events", "--follow", "--json", "--type", "hitl.request.created", "--type", "hitl.request.cancelled")
    following = shell.starts("stripe-agent", *words, "--after", start)
    assert following.stdout is not None
    asked = asking.create_request(title="Look here")
    shell.client("other-agent").create_request(title="Not yours")

    first = json.loads(following.stdout.readline())
    following.send_signal(signal.SIGINT)
    assert following.wait(30) == 130
    assert (first["type"], first["data"]["title"]) == ("hitl.request.created", "Look here")

    asking.cancel_request(asked)
    code, out, _ = shell.does("stripe-agent", "events", "--after", first["id"], "--json", *words[3:])
    assert code == 0
    (later,) = [json.loads(line) for line in out.splitlines()]
    assert (later["type"], later["data"]["request_id"]) == ("hitl.request.cancelled", asked.id)


def test_what_has_happened_to_one_request_is_a_line_each(shell):
    asked = shell.client("stripe-agent").create_request(title="May I?").id
    shell.client("stripe-agent").create_request(title="Another")
    shell.client("amina").reject(asked, reason="Too dear")

    code, out, _ = shell.does("stripe-agent", "events", "--request", asked)

    assert code == 0
    lines = [line.split("  ") for line in out.splitlines()]
    assert [line[2:4] for line in lines if line[2].startswith("hitl.request.")] == [
        ["hitl.request.created", "stripe-agent"],
        ["hitl.request.rejected", "amina"],
    ]


def test_a_type_that_is_none_is_refused(shell):
    code, _, errors = shell.does("stripe-agent", "events", "--type", "NOT A TYPE")

    assert code == 1
    assert "is no type of event" in errors


def test_statistics_count_what_one_may_see(shell):
    asked = [shell.client("stripe-agent").create_request(title=title).id for title in ("One", "Two")]
    shell.client("other-agent").create_request(title="Not yours")
    shell.client("amina").fulfill(asked[0])

    found = shell.told("stripe-agent", "statistics")
    assert (found["total_requests"], found["open"], found["by_status"]["fulfilled"]) == (2, 1, 1)
    code, out, _ = shell.does("stripe-agent", "statistics")
    assert (code, out.splitlines()[0]) == (0, "2 requests: 1 open, 1 of them untouched")
    assert shell.does("stripe-agent", "statistics", "--people")[0] == 1
    assert shell.does("stripe-agent", "statistics", "--period", "soon")[0] == 1
