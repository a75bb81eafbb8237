# SPDX-License-Identifier: Apache-2.0
"""Where a case is measured: a PostgreSQL server of its own that is as durable as PostgreSQL is by default.

`python -m bench` starts the server; each case makes the databases that it needs on it.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import with_postgres  # noqa: E402

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
# Calls are counted, as in life; nobody is turned away.
NO_LIMITS = {f"HMS_ACT_RATE_{scope}": "1000000" for scope in ("CLAIM", "CREATE", "DECIDE", "READ")}


@contextmanager
def durable_server() -> Iterator[str]:
    """The address of a new server's first database. Raises machine.Missing."""
    with with_postgres.running_cluster(**DURABLE) as cluster:
        with psycopg.connect(cluster.url) as connection:
            found = {name: connection.execute(f"SHOW {name}").fetchone() for name in DURABLE}
        assert found == {name: (wanted,) for name, wanted in DURABLE.items()}, f"a forgetful server: {found}"
        yield cluster.url


def environment(url: str) -> dict[str, str]:
    """Of a process of ours that works on that database."""
    return {
        **os.environ,
        **NO_LIMITS,
        "DATABASE_URL": url,
        "SECRET_KEY": os.environ.get("SECRET_KEY") or "only-for-benches-" + secrets.token_urlsafe(40),
        "RECEIPT_SIGNING_KEY": base64.b64encode(b"only for benches: 32 bytes long.").decode(),
        "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
        "HMS_ACT_ACTIONS": "bench.actions",
        "HMS_ACT_VAR": str(var()),
        "EMAIL_URL": "dummymail://",
    }


def new_database(name: str) -> str:
    """The address of a new, empty database on the server that DATABASE_URL names; one of that name is dropped."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}"')
    return address_of(name)


def address_of(name: str) -> str:
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


def analyze(*names: str) -> None:
    """Let the planner know what the tables of these databases hold by now, as autovacuum would within a minute."""
    for name in names:
        with psycopg.connect(address_of(name), autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


def var() -> Path:
    """Where environments of peers, logs and the like are kept."""
    return ROOT / "var" / "bench"
