# SPDX-License-Identifier: Apache-2.0
"""The bureau of the export-licence story, open for business: web server, worker, services, people, connectors."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from django.test import Client as Browser

from accounts import seeds
from accounts.models import User
from hms_act import Client, Worker
from tests.config.web import ROOT, served
from tests.people import PASSWORD, agent, key_of, person
from tests.playbooks.loopback import Service, listening
from tests.stories.fixtures_001.services import AuditOffice, Portal, Repository

PATIENCE = 120.0  # seconds; a story that needs them has failed
TOKEN, SIGNING = "portal-token-of-the-bureau", "whsec_c2lnbmluZy1zZWNyZXQtb2YtdGhlLWJ1cmVhdQ=="
CONNECTORS = "/admin/playbooks/connector/"
PRINTED_HOST = "https://api.hms.gov"


def until(happened: Callable[[], Any]) -> Any:
    """What `happened` gives, once it gives something."""
    end = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)
    return found


@dataclass
class Office:
    url: str
    repository: Service
    portal: Service
    published: Portal
    audit_office: Service
    officer: Client  # starts renewals and writes playbooks
    supervisor: Client
    jwt: str  # of the officer
    browser: Browser  # in which the administrator has logged in

    def curl(self, printed: str, **changes: str) -> Any:
        """Run a printed call here: only the host, the numbers and, where it shows none, the credential are ours."""
        for theirs, ours in {PRINTED_HOST: self.url, **changes}.items():
            printed = printed.replace(theirs, ours)
        if "Authorization" not in printed:
            printed = printed.replace("curl ", 'curl -H "Authorization: Bearer $JWT" ', 1)
        return json.loads(_answer_to(printed, {**os.environ, "JWT": self.jwt}))

    def connect(self, name: str, service: Service, **more: str) -> None:
        """An administrator names a connector in the admin."""
        typed = {"name": name, "method": "POST", "url": f"{service.url}/{name}", "secret_header": "Authorization"}
        times = {"connect_seconds": "5", "read_seconds": "20", "total_seconds": "30"}
        answer = self.browser.post(f"{CONNECTORS}add/", typed | times | more)
        assert (answer.status_code, answer.get("Location")) == (302, CONNECTORS), answer.content.decode()

    def run(self, number: int) -> dict[str, Any]:
        return self.officer.run(number).raw

    def ended(self, number: int) -> dict[str, Any]:
        return until(lambda: (run := self.run(number))["status"] != "running" and run)

    def decide(self, number: int, outcome: str, note: str) -> None:
        """The supervisor answers what this run asks."""
        until(lambda: self.run(number)["current_step"] == "human_approval")
        task = self.supervisor.next_task("human:human_approval", wait=20)
        assert task is not None
        assert task.run_id == number
        self.supervisor.complete_task(task.id, outcome, note=note)


def _answer_to(command: str, environment: Mapping[str, str]) -> str:
    if shutil.which("curl"):
        quiet = command.replace("curl ", "curl --silent --show-error --noproxy '*' ", 1)
        return subprocess.run(
            ["sh", "-c", quiet], env=environment, check=True, capture_output=True, text=True, timeout=60
        ).stdout
    words = iter(shlex.split(command.replace("$JWT", environment["JWT"]).replace("\\\n", " "))[1:])
    method, headers, body, url = "", {}, None, ""
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words)
            case _:
                url = word
    with httpx2.Client(trust_env=False, timeout=60) as client:
        return client.request(method or "GET", url, headers=headers, content=body).text


@contextmanager
def open_office(
    environment: Mapping[str, str],
    folder: Path,
    settings: Any,
    browser_of: Callable[[User], Browser],
    *,
    loses: int = 0,
) -> Iterator[Office]:
    """`loses`: so many of the portal's answers never arrive."""
    published = Portal(TOKEN, SIGNING, loses=loses)
    with ExitStack() as stack:
        services = [stack.enter_context(listening(think=each)) for each in (Repository(), published, AuditOffice())]
        settings.CONNECTOR_HOSTS = frozenset(("127.0.0.1", service.port) for service in services)
        settings.CONNECTOR_SECRETS = frozenset({"env:EXPORTER_TOKEN", f"file:{folder / 'signing'}"})
        (folder / "signing").write_text(SIGNING)
        hosts = ",".join(f"127.0.0.1:{service.port}" for service in services)
        told = {"HMS_ACT_CONNECTOR_HOSTS": hosts, "HMS_ACT_CONNECTOR_SECRETS": ",".join(settings.CONNECTOR_SECRETS)}
        # The worker first: it takes its time to start while the web server, which is waited for, does.
        stack.enter_context(working({**environment, **told, "EXPORTER_TOKEN": TOKEN}, folder / "worker.log"))
        web = stack.enter_context(served({**environment, **told}, folder / "web.log"))
        office = _office(str(web.base_url), services, published, browser_of)
        stack.enter_context(office.officer)
        stack.enter_context(office.supervisor)
        _connect_all(office, folder)
        yield office


def _office(url: str, services: list[Service], published: Portal, browser_of: Callable[[User], Browser]) -> Office:
    officer = person("officer", seeds.ADMINISTRATOR)
    person("supervisor", seeds.STAFF, "human:human_approval")
    url = url.rstrip("/")
    jwt = _jwt(url, "officer")
    clients = Client(url, jwt), Client(url, _jwt(url, "supervisor"))
    repository, portal, audit_office = services
    # Read again: a log-in may have stored the password's hash anew, and a session rests on it.
    browser = browser_of(User.objects.get(pk=officer.pk))
    return Office(url, repository, portal, published, audit_office, *clients, jwt, browser)


def _jwt(url: str, username: str) -> str:
    with Client(url, "") as client:
        return client.log_in(username, PASSWORD).access


def _connect_all(office: Office, folder: Path) -> None:
    office.connect("fetch_data", office.repository, title="Central data repository")
    secrets = {"secret_ref": "env:EXPORTER_TOKEN", "signing_ref": f"file:{folder / 'signing'}"}
    office.connect("deploy", office.portal, title="Exporter's portal", **secrets)


@contextmanager
def working(environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """`manage.py worker`, ended at the end."""
    with log.open("w") as output:
        command = [sys.executable, "manage.py", "worker"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        try:
            yield
            assert process.poll() is None, log.read_text()
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def at_work(office: Office, name: str, role: str, make: Callable[[Client], Worker]) -> Iterator[None]:
    """An agent of this name and role, working in the background."""
    _, token = key_of(agent(name, role))
    with Client(office.url, token) as client:
        worker = make(client)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield
        finally:
            worker.stop()
            thread.join(30)
