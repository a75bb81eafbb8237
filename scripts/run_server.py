# SPDX-License-Identifier: Apache-2.0
"""Web and worker in one terminal, on the database that DATABASE_URL names (SQLite under var/ without it).

For a look, and for a small installation on one machine. docs/how-to/production.md keeps them as services.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import processes

ROOT = Path(__file__).resolve().parent.parent
WEB_PROCESSES_ON_POSTGRESQL = 2


def main() -> int:
    os.chdir(ROOT)
    host, port = os.environ.get("HOST", "127.0.0.1"), _port()
    environment = {"SITE_ROOT": f"http://localhost:{port}", **os.environ}
    for preparation in (["migrate"], ["collectstatic", "--no-input"]):
        if code := processes.run([sys.executable, "manage.py", *preparation, "--verbosity=0"], environment):
            return code
    print(f"run: web on {environment['SITE_ROOT']} and worker; Ctrl-C ends both", flush=True)
    codes = processes.run_together([web_command(host, port), worker_command()], environment)
    print("run: web or worker ended by itself, so both have ended", flush=True)
    return max(map(abs, codes)) or 1


def web_command(host: str, port: int) -> list[str]:
    web = [sys.executable, "-m", "config.web", "config.asgi:application"]
    return [*web, f"--host={host}", f"--port={port}", f"--workers={web_processes()}"]


def web_processes() -> int:
    """One on SQLite, where more would only wait for each other."""
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.conf import settings

    return 1 if settings.EMBEDDED else WEB_PROCESSES_ON_POSTGRESQL


def worker_command() -> list[str]:
    return [sys.executable, "manage.py", "worker"]


def _port() -> int:
    given = os.environ.get("PORT") or "8000"
    if not given.isdecimal() or not 1 <= int(given) <= 65535:
        sys.exit(f"run: PORT={given} is not a port: give a number from 1 to 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((os.environ.get("HOST", "127.0.0.1"), int(given)))
        except OSError as fault:
            sys.exit(f"run: port {given} cannot be used ({fault.strerror}): name a free one, as in make run PORT=8001.")
    return int(given)


if __name__ == "__main__":
    processes.end_on_signals()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
