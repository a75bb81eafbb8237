# SPDX-License-Identifier: Apache-2.0
"""A city that issues protest permits: web server, worker, payment system and agent, as in an installation.

They are processes of their own on the database of the test, so time goes by as it does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from audit.context import coming_from
from demo.cast import LIAISON, Cast, assemble
from demo.children import Children
from demo.story import Stage
from tests.config.web import served

PATIENCE = 60  # seconds; who needs them waits in vain
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class City:
    url: str
    cast: Cast
    children: Children
    stage: Stage  # what the demonstration's own story asks of it afterwards

    def start_agent(self) -> None:
        agent = {"HMS_ACT_URL": self.url, "HMS_ACT_TOKEN": self.cast.agent_key}
        self.children.start("agent", ["-m", "demo.agent"], **agent)

    def assert_all_alive(self) -> None:
        ended = self.children.ended()
        assert ended is None, f"{ended.name} ended by itself:\n{ended.last_words()}"

    def until(self, happened: Callable[[], Any]) -> Any:
        """Wait until it has, and return what it gave."""
        return until(happened, check=self.assert_all_alive)


@contextmanager
def running_city(environment: Mapping[str, str], folder: Path) -> Iterator[City]:
    var = folder / "var"
    mail = var / "mail"
    mail.mkdir(parents=True)
    with coming_from("command"):
        cast = assemble(var / "demo.json")
    common = {**environment, "PYTHONPATH": str(settings.BASE_DIR), "EMAIL_URL": f"filemail://{mail}"}
    children = Children(folder / "log", common)
    try:
        fees = children.start("fees", ["-m", "demo.fee_service", f"--state={var / 'fees.sqlite3'}"])
        with served(common, folder / "log" / "web.log", "--log-level=warning") as client:
            url = str(client.base_url).rstrip("/")
            fee_url = until(lambda: fees.log.read_text().strip())
            worker = [str(settings.BASE_DIR / "manage.py"), "worker"]
            children.start("worker", worker, HMS_ACT_DEMO_FEE_URL=fee_url, SITE_ROOT=url)
            stage = Stage(url, fee_url, var, cast.password(LIAISON), check=lambda: None, say=lambda line: None)
            yield City(url, cast, children, stage)
    finally:
        children.end()


def until(happened: Callable[[], Any], *, check: Callable[[], None] = lambda: None) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := happened()):
        check()
        assert time.monotonic() < end, "it did not happen"
        time.sleep(LOOK_SECONDS)
    return found
