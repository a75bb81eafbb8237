# SPDX-License-Identifier: Apache-2.0
"""A worker kept running as a service manager keeps it, and shot at."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from pathlib import Path

from tests.crash.house import PATIENCE_SECONDS, Environment, begin_worker, kill, until
from tests.crash.receiver import Receiver
from tests.process_tree import is_alive, tree

RESTART_SECONDS = 0.2  # after which a supervisor that ended is started again


class KeptWorker:
    """Restarted when it ends, until it is told to stop."""

    def __init__(self, environment: Environment, log: Path) -> None:
        self._environment, self.log = environment, log
        self._stopping = False
        self.starts = 0
        self.process = self._begin()
        self._keeper = threading.Thread(target=self._keep)
        self._keeper.start()

    def _begin(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        return begin_worker(self._environment, self.log)

    def _keep(self) -> None:
        while not self._stopping:
            if self.process.poll() is not None:
                self.process = self._begin()
            time.sleep(RESTART_SECONDS)

    def stop(self) -> None:
        self._stopping = True
        self._keeper.join()
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)


class Marksman:
    """Kills processes of a kept worker, chosen by lot but not by chance: the seed decides."""

    def __init__(self, worker: KeptWorker, seed: int) -> None:
        self._worker, self._lot = worker, random.Random(seed)
        self._seen: set[int] = set()
        self.kills = 0

    def shoot(self) -> None:
        """One of them by lot, but not the supervisor."""
        until(lambda: self._hit(self._family()[1:]), "a hit")

    def shoot_supervisor(self) -> None:
        until(lambda: self._hit(self._family()[:1]), "a hit of the supervisor")

    def shoot_at_work(self, receiver: Receiver) -> None:
        """One that is in the middle of a call."""
        receiver.open.clear()
        until(lambda: self._hit(sorted(receiver.callers & set(self._family()))), "a hit of a process at work")
        receiver.open.set()

    def pause(self, longest: float) -> None:
        time.sleep(self._lot.uniform(0, longest))

    def _family(self) -> list[int]:
        found = tree(self._worker.process.pid)
        self._seen.update(found)
        return found

    def _hit(self, victims: list[int]) -> bool:
        hit = bool(victims) and is_alive(victim := self._lot.choice(victims)) and kill(victim)
        self.kills += hit
        return hit

    def survivors(self) -> list[int]:
        """Of all that were ever seen."""
        return [pid for pid in self._seen if is_alive(pid)]
