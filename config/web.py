# SPDX-License-Identifier: Apache-2.0
"""`python -m config.web`: the web's processes, which uvicorn serves and looks after.

Everything is loaded once, and then forked: the processes share most of their memory, and a new one is there at once.
uvicorn itself starts each of them from nothing (measured: 80 MiB and two seconds more for each).
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
from collections.abc import Sequence

import uvicorn
from django.db import connections
from uvicorn import _subprocess, importer, supervisors

from config.starting import stopping_with_a_sentence

APPLICATION = "config.asgi:application"


def main(given: Sequence[str] | None = None) -> None:
    asked = _options().parse_args(given)
    with stopping_with_a_sentence():
        application = importer.import_from_string(asked.application)
    config = uvicorn.Config(
        application, host=asked.host, port=asked.port, workers=asked.workers, lifespan="off", log_level="warning"
    )
    if asked.workers == 1:
        uvicorn.Server(config).run()
        return
    config.load()
    connections.close_all()  # each is of one process alone
    gc.collect()
    gc.freeze()  # what is there now is never looked through again, which would write to, and so copy, its pages
    _subprocess.spawn = multiprocessing.get_context("fork")  # type: ignore[assignment]
    supervisors.Multiprocess(config, sockets=[config.bind_socket()]).run()


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m config.web", description="Serve the web.")
    parser.add_argument("application", nargs="?", default=APPLICATION)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1, help="processes; one for each core is enough")
    return parser


if __name__ == "__main__":
    main()
