# SPDX-License-Identifier: Apache-2.0
"""`/ws/events`: the events as a WebSocket, to whoever may see them, from where the reader had got to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from accounts.services import revoke_key
from approvals.asking import create_request
from approvals.services import decide
from tests.config.web import served
from tests.people import agent, key_of, person

pytestmark = pytest.mark.django_db(transaction=True)

ROLE = "human:reviewer"
PATIENCE_SECONDS = 30


@dataclass
class Site:
    url: str
    users: dict[str, Any]
    keys: dict[str, Any]
    tokens: dict[str, str]

    def open(self, who: str = "", query: str = "", **options: Any) -> ClientConnection:
        """By a header, as programs do."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        options = {"additional_headers": headers, "proxy": None, **options}
        return connect(f"{self.url}/ws/events{query}", **options)

    def ask(self, who: str, title: str) -> Any:
        return create_request(actor=self.users[who], role=ROLE, title=title)


@pytest.fixture
def site(process_environment, tmp_path) -> Iterator[Site]:
    users = {name: agent(name) for name in ("asker", "other")} | {"reviewer": person("reviewer", ROLE)}
    made = {name: key_of(user) for name, user in users.items()}
    with served(process_environment, tmp_path / "web.log") as web:
        url = str(web.base_url).rstrip("/").replace("http", "ws", 1)
        keys = {name: key for name, (key, _) in made.items()}
        yield Site(url, users, keys, {name: token for name, (_, token) in made.items()})


def told(socket: ClientConnection) -> dict[str, Any]:
    return dict(json.loads(socket.recv(timeout=PATIENCE_SECONDS)))


def everything(socket: ClientConnection) -> None:
    while True:
        told(socket)


def test_a_reader_is_told_what_they_may_see_as_it_happens_and_nothing_before(site):
    site.ask("asker", "Before")
    with site.open("asker") as socket:
        request = site.ask("asker", "Look here")
        site.ask("other", "Not yours")
        decide(request_id=request.pk, actor=site.users["reviewer"], outcome="PASS")

        created, fulfilled = told(socket), told(socket)

    assert set(created) == {"id", "type", "data"}
    assert (created["type"], created["data"]["title"]) == ("hitl.request.created", "Look here")
    assert (fulfilled["type"], fulfilled["data"]["actor"]) == ("hitl.request.fulfilled", "reviewer")


def test_who_comes_back_goes_on_behind_the_last_event_and_hears_the_types_asked_for(site):
    with site.open("asker") as socket:
        site.ask("asker", "First")
        first = told(socket)
    second = site.ask("asker", "Second")
    decide(request_id=second.pk, actor=site.users["reviewer"], outcome="PASS")
    third = site.ask("asker", "Third")

    with site.open("asker", f"?after={first['id']}&type=hitl.request.created") as socket:
        assert [told(socket)["data"]["request_id"] for _ in range(2)] == [second.pk, third.pk]
    with site.open("asker", f"?after=0&request_id={second.pk}") as socket:
        assert [told(socket)["type"] for _ in range(2)] == ["hitl.request.created", "hitl.request.fulfilled"]


def test_a_browsers_page_shows_its_key_as_a_subprotocol(site):
    offered = ["hms-act.events", f"hms-act.bearer.{site.tokens['asker']}"]
    with site.open(subprotocols=offered) as socket:
        assert socket.subprotocol == "hms-act.events", "the key is never said back"
        site.ask("asker", "Look here")
        assert told(socket)["data"]["title"] == "Look here"


@pytest.mark.parametrize(
    ("query", "credential", "status"),
    [
        ("", {}, 401),
        ("", {"subprotocols": ["hms-act.events", "hms-act.bearer.hmsact_wrong"]}, 401),
        ("", {"additional_headers": {"Cookie": "sessionid=abc"}}, 401),
        ("?type=NOT+A+TYPE", None, 422),
        ("?after=soon", None, 422),
        ("?token=x", None, 422),
    ],
)
def test_a_handshake_is_refused_as_the_call_would_be(site, query, credential, status):
    with pytest.raises(InvalidStatus) as refused:
        site.open("asker", query) if credential is None else site.open("", query, **credential)

    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body)["status"] == status


def test_there_is_no_other_socket(site):
    headers = {"Authorization": f"Bearer {site.tokens['asker']}"}
    for path in ("/", "/acts/events", "/ws/other", "/admin/login/"):
        with pytest.raises(InvalidStatus) as refused:
            connect(site.url + path, additional_headers=headers, proxy=None)
        assert refused.value.response.status_code == 404, path


def test_a_key_that_is_revoked_is_told_nothing_more(site):
    with site.open("asker") as socket:
        revoke(site)
        with pytest.raises(ConnectionClosed) as ended:
            hear(site, socket, times=2)  # the look that was under way just then may still be answered

    assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1008, "not_authenticated")


def hear(site: Site, socket: Any, *, times: int) -> None:
    for number in range(times):
        site.ask("asker", f"Secret {number}")
        told(socket)


def revoke(site: Site) -> None:
    revoke_key(token_key=site.keys["asker"].token_key, actor=site.users["asker"], reason="lost")


def test_what_the_reader_sends_changes_nothing(site):
    with site.open("asker") as socket:
        socket.send(json.dumps({"type": "hitl.request.fulfilled"}))
        request = site.ask("asker", "Still open")
        assert told(socket)["type"] == "hitl.request.created"

    request.refresh_from_db()
    assert request.is_open


def test_sockets_end_with_the_process_and_hold_it_up_by_nothing(process_environment, tmp_path):
    asker = agent("asker")
    _, token = key_of(asker)
    with ExitStack() as stack:
        with served(process_environment, tmp_path / "web.log") as web:
            url = str(web.base_url).rstrip("/").replace("http", "ws", 1)
            headers = {"Authorization": f"Bearer {token}"}
            socket = stack.enter_context(connect(f"{url}/ws/events", additional_headers=headers, proxy=None))
            create_request(actor=asker, role=ROLE, title="One")
            told(socket)
        with pytest.raises(ConnectionClosed) as ended:
            everything(socket)
    assert ended.value.rcvd.code in {1001, 1012}
