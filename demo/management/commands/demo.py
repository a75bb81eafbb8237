# SPDX-License-Identifier: Apache-2.0
"""`manage.py demo`: the protest-permit story on this machine, with everything it needs.

Web, worker, agent and payment system run as children of this process until Ctrl-C or SIGTERM ends them all.
PORT names another port than 8000. AUTO=1 plays the story alone, checks what it promises, and ends.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import Any

import httpx2
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from audit.context import coming_from
from audit.models import Entry
from demo import story
from demo.cast import ADMINISTRATOR, AGENT, AUDITOR, LIAISON, PLAYBOOK, Cast, Person, assemble
from demo.children import Child, Children
from demo.feed import Feed, table

HOST = "127.0.0.1"
DEFAULT_PORT = 8000
READY_SECONDS = 60.0
LOOK_SECONDS = 0.3
RULE = "-" * 78


class Ended(Exception):
    """Somebody asked us to end."""


class Broken(Exception):
    """The demonstration cannot go on; the message says why."""


class Command(BaseCommand):
    help = "Play the protest-permit story on this machine (PORT=8000; AUTO=1 plays it alone)."
    requires_system_checks = []  # they look at the database, which may not be there yet

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            code = Demonstration(say=self._say).run()
        except (Broken, story.StoryFailed) as reason:
            self.stderr.write(f"demo: {reason}")
            code = 1
        sys.exit(code)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


class Demonstration:
    def __init__(self, say: Any) -> None:
        self.say = say
        self.ending = False
        self.port = 0
        self.children: Children | None = None

    def run(self) -> int:
        """The exit code. Raises Broken and StoryFailed."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_to_end)
        try:
            self._prepare()
            self._start()
            return self._play_alone() if _auto() else self._stay()
        except Ended:
            return 0
        finally:
            self._end()

    def _ask_to_end(self, *_: Any) -> None:
        self.ending = True

    # --- before

    def _prepare(self) -> None:
        if not settings.EMBEDDED:
            raise Broken("it keeps to a database of its own: unset DATABASE_URL, or see docs/how-to/production.md.")
        self.port = free_port()
        self.say("demo: preparing the database, the people and the playbook …")
        call_command("migrate", verbosity=0, interactive=False)
        with coming_from("command"):
            self.cast: Cast = assemble(settings.VAR_DIR / "demo.json")
        self._go_on()

    def _start(self) -> None:
        var, url = settings.VAR_DIR, self.url
        environment = {
            **os.environ,
            "SITE_ROOT": os.environ.get("SITE_ROOT", url),
            "EMAIL_URL": f"filemail://{var.resolve() / 'mail'}",  # nobody real is written to
            "PYTHONUNBUFFERED": "1",
        }
        (var / "mail").mkdir(exist_ok=True)
        self.children = Children(var / "log", environment)
        fees = self.children.start("fees", ["-m", "demo.fee_service", f"--state={var / 'fee_service.sqlite3'}"])
        self.fee_url = self._wait("the payment system's address", lambda: fees.log.read_text().strip())
        self.children.start("worker", [sys.argv[0], "worker"], HMS_ACT_DEMO_FEE_URL=self.fee_url)
        self.children.start("web", _web_command(self.port))
        self._wait("the web server", self._is_ready)
        self.children.start("agent", ["-m", "demo.agent"], HMS_ACT_URL=url, HMS_ACT_TOKEN=self.cast.agent_key)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def _is_ready(self) -> bool:
        try:
            answer = httpx2.get(f"http://{HOST}:{self.port}/readyz", trust_env=False, timeout=5.0)
        except httpx2.TransportError:
            return False
        return answer.status_code == 200

    def _wait(self, what: str, found: Any) -> Any:
        deadline = time.monotonic() + READY_SECONDS
        while not (answer := found()):
            self._go_on()
            if time.monotonic() > deadline:
                raise Broken(f"{what} was not there after {READY_SECONDS:.0f} seconds; see {settings.VAR_DIR / 'log'}.")
            time.sleep(0.1)
        return answer

    def _go_on(self) -> None:
        """Raises Ended or Broken where there is nothing to go on for."""
        if self.ending:
            raise Ended
        ended = self.children.ended() if self.children else None
        if ended is not None:
            raise Broken(_obituary(ended))

    # --- the story

    def _stay(self) -> int:
        self.say(self._welcome())
        feed = Feed()
        while True:
            for line in feed.new_lines():
                self.say(line)
            self._go_on()
            time.sleep(LOOK_SECONDS)

    def _play_alone(self) -> int:
        password = self.cast.password(LIAISON)
        if not password:
            raise Broken("the liaison has set another password: AUTO=1 cannot log in. make clean begins anew.")
        stage = story.Stage(
            url=self.url,
            fee_url=self.fee_url,
            var=settings.VAR_DIR,
            liaison_password=password,
            check=self._go_on,
            say=lambda line: self.say(f"demo: {line}"),
        )
        runs = story.play(stage)
        for number in runs:
            entries = Entry.objects.filter(run_id=number).select_related("disclosure").order_by("id")
            self.say(f"\nThe log of run {number}\n{table(entries)}")
        self.say("")
        broken = 0
        for promise in story.promises(stage, *runs):
            broken += not promise.holds
            self.say(f"  {'holds ' if promise.holds else 'BROKEN'}  {promise.words}")
        self.say(f"\ndemo: {'everything promised holds' if not broken else f'{broken} promises are broken'}.")
        return 1 if broken else 0

    def _welcome(self) -> str:
        var = settings.VAR_DIR
        people = "\n".join(f"    {self._log_in(person)}" for person in (LIAISON, ADMINISTRATOR, AUDITOR))
        return (
            f"\n{RULE}\n"
            f"  1. Apply as a citizen    {self.url}/forms/{PLAYBOOK}\n"
            f"  2. Decide as the liaison {self.url}/admin/approvals/actionrequest/\n\n"
            f"  Log in as\n{people}\n\n"
            f"  The agent {AGENT} screens each application; once you approve, the fee is charged and the permit\n"
            f"  is issued.\n"
            f"  Mails go to {var / 'mail'}, permits to {var / 'permits'}.\n"
            f"  Ctrl-C ends everything and keeps the data; make clean forgets it.\n"
            f"{RULE}\n"
        )

    def _log_in(self, person: Person) -> str:
        shown = self.cast.password(person) or "(the password you set)"
        return f"{person.username:<14} {shown:<24} {person.does}"

    # --- after

    def _end(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # it is ending already
        if self.children is None:
            return
        killed = self.children.end()
        self.say("demo: ended." if not killed else f"demo: ended; {' and '.join(killed)} had to be killed.")


def _auto() -> bool:
    return os.environ.get("AUTO", "").lower() in {"1", "yes", "true", "on"}


def free_port() -> int:
    """PORT, or 8000. Raises Broken."""
    given = os.environ.get("PORT") or str(DEFAULT_PORT)
    if not (given.isascii() and given.isdecimal()) or not 1 <= int(given) <= 65535:
        raise Broken(f"PORT={given} is no port: give a number from 1 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, int(given)))
        except OSError as fault:
            reason = fault.strerror or str(fault)
            raise Broken(f"port {given} cannot be used ({reason}): name a free one, as in make demo PORT=8001.")
    return int(given)


def _web_command(port: int) -> list[str]:
    uvicorn = ["-m", "uvicorn", "config.asgi:application", "--lifespan=off", "--log-level=warning"]
    return [*uvicorn, f"--host={HOST}", f"--port={port}", "--timeout-graceful-shutdown=3"]


def _obituary(child: Child) -> str:
    words = child.last_words()
    said = f" It said last:\n{words}" if words else " It said nothing."
    return f"{child.name} ended by itself (exit code {child.process.returncode}).{said}"
