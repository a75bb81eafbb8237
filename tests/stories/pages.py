# SPDX-License-Identifier: Apache-2.0
"""Pages of docs/, played as a reader plays them: what is to be typed is run, what is shown to come of it is compared.

| a block of        | is                                                                                      |
| ----------------- | --------------------------------------------------------------------------------------- |
| `sh`              | typed in one terminal, whose variables last; a command that fails fails the test        |
| `python`          | a script that is run there; one whose first line is `# NAME.py` is saved for later      |
| `json`, no name   | what the block before it prints: `json` holds at least this, otherwise it is the whole  |
| anything else     | not played; the test of the page says what becomes of it                                |

In what is shown, `…` is anything, a number among words is any number, and so is an id in JSON. The address of the
server is changed for that of the test's own, and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.config.web import ROOT, free_port
from tests.stories.fixtures_001.office import until

PRINTED_ADDRESS = "http://localhost:8000"
START = "make run"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE_SECONDS = 120
MINE = ("manage.py", "Makefile", "scripts")  # of a clone, what its reader uses from the top


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    place: str  # file and line


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2], f"{page.name}:{text.count(chr(10), 0, found.start()) + 1}")
        for found in BLOCK.finditer(text)
    ]


def addresses(page: Path) -> list[str]:
    """The paths on our server that the page's prose names."""
    prose = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return re.findall(rf"{PRINTED_ADDRESS}(/(?:[^\s)>|]*/)?)", prose)


# Reading and typing -----------------------------------------------------------------------------------------------


class Reader:
    """Somebody who goes through a page in one terminal, in a clone of their own."""

    def __init__(self, url: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._url, self._folder = url, folder
        self._shell = Shell(folder, environment)

    def play(self, page: Path) -> None:
        printed = None
        for block in blocks(page):
            text = block.text.replace(PRINTED_ADDRESS, self._url)
            match block.kind:
                case "sh" if text.strip() == START:
                    printed = None  # it is running: that is where `url` comes from
                case "sh":
                    printed = self._shell.type(text, block.place)
                case "python" if named := re.match(r"# (\w+\.py)\n", text):
                    (self._folder / named[1]).write_text(text)
                    printed = None
                case "python":
                    (self._folder / ".block.py").write_text(text)
                    printed = self._shell.type("python .block.py\n", block.place)
                case "json" | "":
                    assert printed is not None, f"{block.place} shows what nothing has printed"
                    assert agree(block.kind, text, printed), f"{block.place} shows\n{text}\nbut it is\n{printed}"

    def close(self) -> None:
        self._shell.close()


class Shell:
    """A bash that is told one block after the other."""

    END = "~~ the end of the block ~~"

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def type(self, text: str, place: str) -> str:
        """What it printed, errors included. A command that fails ends the shell, and fails the test."""
        (self._folder / ".block").write_text(f"set -e\n{text}")
        assert self._process.stdin is not None
        self._process.stdin.write(f". ./.block </dev/null; echo '{self.END}'\n")
        self._process.stdin.flush()
        with _ended_after(PATIENCE_SECONDS, self._process):
            printed = "".join(self._lines())
        assert self._process.poll() is None, f"{place} ended with an error:\n{text}\n{printed}"
        return printed

    def close(self) -> None:
        """And all that was left in its background."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(PATIENCE_SECONDS)

    def _lines(self) -> Iterator[str]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.rstrip("\n").endswith(self.END):
                yield line.replace(f"{self.END}\n", "")
                return
            yield line
        self._process.wait(PATIENCE_SECONDS)


@contextmanager
def _ended_after(seconds: float, process: subprocess.Popen[str]) -> Iterator[None]:
    watch = threading.Timer(seconds, process.kill)
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


# What is shown ----------------------------------------------------------------------------------------------------


def agree(kind: str, shown: str, printed: str) -> bool:
    if kind == "json":
        return holds(json.loads(shown), json.loads(printed))
    return re.fullmatch(pattern(shown.strip()), printed.strip(), re.DOTALL) is not None


def pattern(shown: str) -> str:
    """A regular expression for what a person takes for the same."""
    words = {r"…": r".*?", r"har_\w+": r"har_[0-9a-f]{12}", r"\d+": r"\d+", r"\s+": r"\s+"}
    parts = re.split(rf"({'|'.join(words)})", shown)
    return "".join(
        next((meant for word, meant in words.items() if re.fullmatch(word, part)), re.escape(part)) for part in parts
    )


def holds(shown: Any, said: Any, name: str = "") -> bool:
    match shown:
        case dict():
            return isinstance(said, dict) and all(key in said and holds(shown[key], said[key], key) for key in shown)
        case list():
            pairs = zip(shown, said, strict=False) if isinstance(said, list) and len(shown) == len(said) else None
            return pairs is not None and all(holds(one, other, name) for one, other in pairs)
        case str():
            return isinstance(said, str) and re.fullmatch(pattern(shown), said, re.DOTALL) is not None
        case int() if name == "id" or name.endswith("_id"):
            return type(said) is int
    return bool(shown == said)


# The clone and its server -----------------------------------------------------------------------------------------


def clone(folder: Path) -> Path:
    """A folder that looks like a clone to who stands in it."""
    folder.mkdir()
    for name in MINE:
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@contextmanager
def running(folder: Path, environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """The address of what `make run` starts, but for the installing."""
    url = f"http://localhost:{(port := free_port())}"
    command = [*START.split(), f"PORT={port}", "--old-file=core"]
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=folder, env=dict(environment), stdout=output, stderr=output)
    try:
        until(lambda: server.poll() is not None or _answers(url))
        assert server.poll() is None, log.read_text()
        yield url
        assert server.poll() is None, log.read_text()
    finally:
        server.terminate()
        server.wait(PATIENCE_SECONDS)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def environment_of(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """That of a new terminal of somebody who has never used the product."""
    kept = {name: value for name, value in environment.items() if name not in {"HMS_ACT_URL", "HMS_ACT_TOKEN"}}
    own = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), "no_proxy": "*", "NO_PROXY": "*"}
    return {**kept, **own, "PATH": os.environ["PATH"]}
