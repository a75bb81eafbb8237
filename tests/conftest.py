# SPDX-License-Identifier: Apache-2.0
"""The ground under every test: a database of its own, time that is moved, and no outside world.

- The suite runs on SQLite and on PostgreSQL; a test marked `postgresql` or `sqlite` is about that one alone.
- SQLite is a file, as in an installation, so that threads and other processes meet the locks that users meet.
- The database is as it was at first when a test begins (tests/database.py), whatever another one committed.
- What asks for no database is played once, beside the first of the two.
- No test reaches a host other than this one.
"""

from __future__ import annotations

import gc
import ipaddress
import os
import shutil
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hypothesis
import pytest
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection, connections

from config import clock, wake

pytest_plugins = ["tests.database", "tests.people", "tests.config.everything"]

LOCAL_NAMES = {"", "localhost"}
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


class OutsideWorld(AssertionError):
    """A test tried to reach another host. Let it talk to a server that it starts itself."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sqlite: is about SQLite alone; left out, with the reason said, on PostgreSQL")
    # A busy machine is no fault of the code. The gate tries the same examples each time, everybody else new ones.
    hypothesis.settings.register_profile("house", deadline=None, derandomize=os.environ.get("CI") == "true")
    hypothesis.settings.load_profile("house")
    PBKDF2PasswordHasher.iterations = 1  # the same kind of hash in a thousandth of the time
    sys.addaudithook(refuse_outside_hosts)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = "postgresql" if "postgresql" in settings.DATABASES["default"]["ENGINE"] else "sqlite"
    for item in items:
        about = {database for database in ("sqlite", "postgresql") if item.get_closest_marker(database)}
        for database in about - {here}:
            item.add_marker(pytest.mark.skip(reason=f"is about {database}, and this run is on {here}"))
        if not about and not asks_for_the_database(item):
            item.add_marker(pytest.mark.once)


def asks_for_the_database(item: pytest.Item) -> bool:
    """A test that does not is refused every connection, so that its claim cannot depend on which one it is."""
    fixtures: list[str] = getattr(item, "fixturenames", [])
    return item.get_closest_marker("django_db") is not None or "django_db_setup" in fixtures


def pytest_collection_finish() -> None:
    """What the collection made stays to the end: a tenth of the suite's time went into looking for waste in it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Iterator[None]:
    """Half a character in what a test printed must not end the whole parallel run, which speaks UTF-8."""
    report = yield
    return in_whole_characters(report)


def in_whole_characters(value: Any) -> Any:
    """The same value, with the halves of characters in its texts spelt out."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {in_whole_characters(key): in_whole_characters(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(in_whole_characters(each) for each in value)
    return value


# The outside world ----------------------------------------------------------------------------------------


def refuse_outside_hosts(event: str, arguments: tuple[Any, ...]) -> None:
    """Python tells its audit hooks of every connection and look-up before it is made; raising forbids it."""
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = arguments[1]
        if isinstance(address, tuple) and isinstance(address[0], str) and not _is_here(address[0]):
            raise OutsideWorld(f"a test tried to reach {address[0]} port {address[1]}")
    if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        name = _text(arguments[0])
        if not _is_address(name) and not _is_here(name):
            raise OutsideWorld(f"a test tried to look up {name}")


def _text(host: str | bytes | None) -> str:
    return host.decode() if isinstance(host, bytes) else host or ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_here(host: str) -> bool:
    if _is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host in LOCAL_NAMES or host.endswith(".localhost")


# Time -----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _clock_returns_to_its_place() -> Iterator[None]:
    with clock.still_at_start():
        yield


# The database ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    yield
    wake.hang_up()  # a database in use is not dropped


@pytest.fixture
def process_environment(django_db_setup: None, tmp_path: Path) -> dict[str, str]:
    """The environment of another process (a worker, a web server) on the database of this test."""
    return {
        **os.environ,
        "DATABASE_URL": database_url(),
        "SECRET_KEY": settings.SECRET_KEY,
        "SECRETS_KEYS": ",".join(urlsafe_b64encode(key).decode() for key in settings.SECRETS_KEYS),
        "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
        "HMS_ACT_VAR": str(tmp_path / "var"),
    }


def database_url() -> str:
    database = connections["default"].settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    login = ":".join(quote(database[part], safe="") for part in ("USER", "PASSWORD"))
    return f"postgres://{login}@{database['HOST']}:{database['PORT']}/{quote(database['NAME'], safe='')}"


# The browser ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium() -> str:
    """The program to drive; it is Debian's, so that nothing is fetched."""
    named = os.environ.get("HMS_ACT_TEST_CHROMIUM")
    found = named or next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)
    if not found:
        pytest.skip("no Chromium on this machine: install it, or name it in HMS_ACT_TEST_CHROMIUM")
    return found
