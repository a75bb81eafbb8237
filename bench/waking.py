# SPDX-License-Identifier: Apache-2.0
"""Waiting for something to do, as the product's own processes do: until a wake-up, and never longer than a second."""

from __future__ import annotations

import threading
import time

import psycopg

from config import wake

LOOK_SECONDS = 1.0


class Bell:
    """Hears the wake-ups of all processes that say one of these words, from when it is made."""

    def __init__(self, *words: str) -> None:
        self._words = frozenset(words)
        self._rung = threading.Event()
        self._listening = psycopg.connect(**wake.listening_parameters())
        self._listening.execute(f"LISTEN {wake.CHANNEL}")
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for heard in self._listening.notifies():
            if self._words & wake.words_of(heard.payload):
                self._rung.set()

    def wait(self) -> None:
        if self._rung.wait(LOOK_SECONDS):
            time.sleep(wake.COALESCE_SECONDS)  # what was committed within the same wake-up is seen too
        self._rung.clear()
