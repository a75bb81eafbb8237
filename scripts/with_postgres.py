# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of one's own, for as long as a command runs.

    python scripts/with_postgres.py python -m pytest tests/runs
    python scripts/with_postgres.py python manage.py migrate

The server listens on a free port of 127.0.0.1 under a random password, keeps its data in a new folder under
/tmp and never outlives the caller: it is stopped and removed at the end, on a failure, on Ctrl-C and on
SIGTERM, and the kernel stops it should the caller be killed outright. It gives up durability for speed.
"""

from __future__ import annotations

import base64
import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
import processes

START_SECONDS = 60
STOP_SECONDS = 20
PORT_TRIES = 5
SET_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG
NAME = "hms_act"

# Fast and forgetful: nothing here is worth keeping past a power cut.
SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
}


@dataclass(frozen=True)
class Server:
    url: str
    version: str

    def environment(self) -> dict[str, str]:
        """What a command needs to run on this server: production settings ask for more than the address."""
        return {
            "DATABASE_URL": self.url,
            "SECRET_KEY": "only-for-tests-" + secrets.token_urlsafe(40),
            "SECRETS_KEYS": secrets.token_urlsafe(32),
            "RECEIPT_SIGNING_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
        }


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server, give its address, and leave nothing of it behind. Raises machine.Missing."""
    with running_cluster() as cluster:
        yield cluster.server()


@contextmanager
def running_cluster(**settings: str) -> Iterator[Cluster]:
    """The same, for who has to kill the server and start it again; `settings` differ from ours."""
    programs = machine.postgres_programs()
    folder = Path(tempfile.mkdtemp(prefix="hms-act-pg-", dir="/tmp"))  # a socket's path must be short
    try:
        with Cluster(programs, folder, settings) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    """One data folder and the server process on it."""

    def __init__(self, programs: Path, folder: Path, settings: Mapping[str, str]) -> None:
        self.programs, self.folder = programs, folder
        self.settings = {**SERVER_SETTINGS, **settings}
        self.password = secrets.token_urlsafe(16)
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.identity = _unprivileged_identity()

    @property
    def url(self) -> str:
        return f"postgres://{NAME}:{self.password}@127.0.0.1:{self.port}/{NAME}"

    def server(self) -> Server:
        return Server(url=self.url, version=machine.version_of(self.programs / "postgres"))

    def __enter__(self) -> Cluster:
        try:
            self._create()
            self._start()
            self._run("createdb", "--host=127.0.0.1", f"--port={self.port}", f"--username={NAME}", NAME)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _create(self) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        if self.identity:
            for path in (self.folder, secret):
                os.chown(path, self.identity["user"], self.identity["group"])
        locale = "C.UTF-8" if sys.platform == "linux" else "C"
        self._run(
            "initdb",
            f"--pgdata={self.folder / 'data'}",
            f"--username={NAME}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            f"--locale={locale}",
            "--no-sync",
        )

    def _start(self) -> None:
        for _ in range(PORT_TRIES):
            self.port = _free_port()
            self._launch()
            if self._is_ready():
                return
            if "Address already in use" not in self._log():
                break  # a port that somebody took in between is the one fault worth another try
        raise machine.Missing(f"PostgreSQL did not start: {self._log()[-2000:]}")

    def _launch(self) -> None:
        settings = {**self.settings, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        arguments = [f"-c{name}={value}" for name, value in settings.items()]
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", f"-D{self.folder / 'data'}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests; the server goes after them
                preexec_fn=_die_with_parent,
                **self._options(),
            )

    def _is_ready(self) -> bool:
        assert self.process is not None
        question = [str(self.programs / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if subprocess.run(question).returncode == 0:
                return True
            time.sleep(0.05)
        return False

    def kill(self) -> None:
        """End the server by a signal that it cannot catch."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        """On the same data and at the same address. What is left of the killed server may be in the way at first."""
        deadline = time.monotonic() + START_SECONDS
        self._launch()
        while not self._is_ready():
            if time.monotonic() > deadline:
                raise machine.Missing(f"PostgreSQL did not start again: {self._log()[-2000:]}")
            self._launch()

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)  # "fast": ends sessions instead of waiting for them
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.programs / program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            **self._options(),
        )
        if done.returncode != 0:
            raise machine.Missing(f"PostgreSQL's {program} failed: {(done.stderr or done.stdout).strip()}")

    def _options(self) -> dict[str, Any]:
        environment = {**os.environ, "PGPASSWORD": self.password, "LC_ALL": "C"}
        return {"cwd": self.folder, "env": environment, **self.identity}


def _unprivileged_identity() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as the user that its package made, or as nobody."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = known.get("postgres") or known["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGINT)


def main() -> int:
    if len(sys.argv) < 2:
        print("usage: with_postgres.py COMMAND [ARGUMENT …]", file=sys.stderr)
        return 2
    processes.end_on_signals()
    try:
        with running_server() as server:
            return processes.run(sys.argv[1:], {**os.environ, **server.environment()})
    except KeyboardInterrupt:
        return 130
    except machine.Missing as reason:
        print(f"with_postgres: {reason}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
