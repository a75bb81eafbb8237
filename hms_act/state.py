# SPDX-License-Identifier: Apache-2.0
"""What the command line remembers from one call to the next: log-ins, tokens of claimed tasks, what it has shown.

Each is one small file that its owner alone can read (0600, in a directory of 0700), replaced as a whole; so two
commands running at once cannot lose each other's. A file belongs to one server address, and its secret is never
sent to another.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

from hms_act.transport import Tokens

KEPT_DAYS = 7  # far beyond any lease
PASSING = ("task-*.json", "request-*.json")  # all but log-ins


def state_directory() -> Path:
    base = os.environ.get("XDG_STATE_HOME")
    return Path(base) / "hms-act" if base else Path.home() / ".config" / "hms-act"


class State:
    def __init__(self, url: str, directory: Path | None = None) -> None:
        self._directory = directory or state_directory()
        self._server = hashlib.sha256(url.encode()).hexdigest()[:16]

    def log_in(self) -> Tokens | None:
        kept = self._read(self._log_in_file())
        return Tokens(access=kept["access"], refresh=kept["refresh"]) if kept else None

    def keep_log_in(self, tokens: Tokens) -> None:
        self._write(self._log_in_file(), {"access": tokens.access, "refresh": tokens.refresh})

    def forget_log_in(self) -> bool:
        """Whether there was one."""
        known = self._log_in_file().exists()
        self._log_in_file().unlink(missing_ok=True)
        return known

    def token(self, task_id: int) -> str | None:
        kept = self._read(self._task_file(task_id))
        return kept["token"] if kept else None

    def keep_token(self, task_id: int, token: str) -> None:
        self._forget_old()
        self._write(self._task_file(task_id), {"token": token})

    def shown_etag(self, request_id: str) -> str:
        """What the request was when it was last shown; "" if it was not."""
        kept = self._read(self._request_file(request_id))
        return kept["etag"] if kept else ""

    def keep_shown_etag(self, request_id: str, etag: str) -> None:
        self._forget_old()
        self._write(self._request_file(request_id), {"etag": etag})

    def forget_shown_etag(self, request_id: str) -> None:
        self._request_file(request_id).unlink(missing_ok=True)

    def _log_in_file(self) -> Path:
        return self._directory / f"login-{self._server}.json"

    def _task_file(self, task_id: int) -> Path:
        return self._directory / f"task-{self._server}-{task_id}.json"

    def _request_file(self, request_id: str) -> Path:
        return self._directory / f"request-{self._server}-{request_id}.json"

    def _forget_old(self) -> None:
        oldest = time.time() - KEPT_DAYS * 86_400
        for file in (file for pattern in PASSING for file in self._directory.glob(pattern)):
            if file.stat().st_mtime < oldest:
                file.unlink(missing_ok=True)

    def _read(self, file: Path) -> dict[str, str] | None:
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise OSError(f"{file} is damaged; delete it") from error
        return dict(kept)

    def _write(self, file: Path, value: dict[str, str]) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._directory, prefix=".")  # mkstemp makes it 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(value, stream)
            os.replace(temporary, file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
