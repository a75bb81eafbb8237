# SPDX-License-Identifier: Apache-2.0
"""Calls that wait for something to do wait here, in the event loop, and hold neither the thread nor a connection.

A view that finds nothing, and was asked to wait, answers at once with `runs.prefer.WAIT_HEADER`. That answer is kept
back; whenever there may be something (a wake-up, or a while has gone by) the same call is made anew from the
beginning, log-in included, until it finds something, fails, or its time is over. So a key revoked meanwhile
finds nothing any more.

A stream of events is the same call made again and again, each time from where the answer before it ended
(`runs.event_api.FOLLOW_HEADER`); what they say is sent one after the other. It ends when an answer is a refusal, and
when the process does: the reader comes back, and goes on where it was.

When the process is told to end, all waits end first: a server that ends waits for its calls.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from types import FrameType
from typing import Any

import psycopg
from django.conf import settings
from django.http.response import HttpResponseBase

from config import wake

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # a wake-up may be lost: everybody also looks by the clock
EMBEDDED_LOOK_SECONDS = 0.25  # SQLite carries no wake-up from another process
STREAM_PAUSE_SECONDS = 0.1  # between two looks for one stream: a busy house rings hundreds of times in a second
KEEP_ALIVE_SECONDS = 15.0  # of silence, after which some proxies give a connection up
COALESCE_SECONDS = 0.005  # no shorter than `wake.COALESCE_SECONDS`
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Waiting:
    def __init__(self) -> None:
        self._bell = Bell()

    def asked_for(self, response: HttpResponseBase) -> float:
        """For how many seconds this answer may be kept back; 0 for all others."""
        return float(response.headers.get(_wait_header(), 0))

    async def for_something(
        self, response: HttpResponseBase, seconds: float, again: Callable[[], Awaitable[HttpResponseBase]]
    ) -> HttpResponseBase:
        """The first answer that is not empty-handed, or the last one."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        with self._bell.heard(response.headers.get(_for_header(), "")) as rung:
            rung.set()  # something may have come up before we began to listen
            while self.asked_for(response) and (left := end - loop.time()) > 0 and not self._bell.is_closing:
                await _either(rung, min(left, self._bell.look_seconds))
                rung.clear()
                response = await again()
        for name in (_wait_header(), _for_header()):
            response.headers.pop(name, None)
        return response

    def is_stream(self, response: HttpResponseBase) -> bool:
        return _follow_header() in response.headers

    def stream_headers(self, first: HttpResponseBase) -> dict[str, str]:
        """Those of its first answer, without what holds for that one alone."""
        return {name: value for name, value in first.items() if name not in {"Content-Length", _follow_header()}}

    async def stream(self, first: Any, again: Callable[[str], Awaitable[HttpResponseBase]]) -> AsyncIterator[bytes]:
        """What there is, and then what comes. `again(place)` asks for what follows that place."""
        loop = asyncio.get_running_loop()
        place, said = first.headers[_follow_header()], loop.time()
        yield first.content
        async with aclosing(self.looks()) as looks:
            async for _ in looks:
                response: Any = await again(place)
                if not self.is_stream(response):
                    return
                if (reached := response.headers[_follow_header()]) != place:
                    place, said = reached, loop.time()
                    yield response.content
                elif loop.time() - said > KEEP_ALIVE_SECONDS:
                    said = loop.time()
                    yield b":\n\n"

    async def looks(self) -> AsyncGenerator[None, None]:
        """Each moment at which there may be something new, until the process is told to end."""
        with self._bell.heard() as rung:
            rung.set()
            while not self._bell.is_closing:
                await _either(rung, self._bell.look_seconds)
                rung.clear()
                yield
                await asyncio.sleep(STREAM_PAUSE_SECONDS)


async def _either(rung: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(rung.wait(), seconds)


def _wait_header() -> str:
    from runs.prefer import WAIT_HEADER  # Django is not set up yet when this module is loaded

    return WAIT_HEADER


def _for_header() -> str:
    from runs.prefer import FOR_HEADER  # the same

    return FOR_HEADER


def _follow_header() -> str:
    from runs.event_api import FOLLOW_HEADER  # the same

    return FOLLOW_HEADER


class Bell:
    """Rings for all who wait in this process when there may be something to do.

    On PostgreSQL it hears the wake-ups of all processes, on a connection of its own from the first waiter on.
    """

    def __init__(self) -> None:
        self._ears: dict[asyncio.Event, str] = {}  # and the word that each listens for; "" is any
        self._listening: asyncio.Task[None] | None = None
        self.is_closing = False
        self._minds_the_end = False

    @property
    def look_seconds(self) -> float:
        return EMBEDDED_LOOK_SECONDS if settings.EMBEDDED else LOOK_SECONDS

    @contextmanager
    def heard(self, word: str = "") -> Iterator[asyncio.Event]:
        """An event that is set whenever it rings for that word, or for whatever there is."""
        ear = asyncio.Event()
        self._ears[ear] = word
        self._mind_the_end()
        if not settings.EMBEDDED and (self._listening is None or self._listening.done()):
            self._listening = asyncio.get_running_loop().create_task(self._ring_at_wake_ups())
        try:
            yield ear
        finally:
            del self._ears[ear]

    async def _ring_at_wake_ups(self) -> None:
        """Until the connection is lost: then all look by the clock, and the next one to wait connects again."""
        try:
            async with await psycopg.AsyncConnection.connect(**wake.listening_parameters()) as listening:
                await listening.execute(f"LISTEN {wake.CHANNEL}")
                async for heard in listening.notifies():
                    words = wake.words_of(heard.payload)
                    self._ring(words)
                    # What was committed right after a wake-up rang no more.
                    asyncio.get_running_loop().call_later(COALESCE_SECONDS, self._ring, words)
        except psycopg.Error as fault:
            log.warning("the wake-up connection was lost; looking by the clock until it is back: %s", fault)

    def _ring(self, words: frozenset[str] = wake.ALL) -> None:
        for ear, word in self._ears.items():
            if not word or word in words:
                ear.set()

    def _mind_the_end(self) -> None:
        """From the first wait on, hear of the signals before the server does, whose handlers are set by then."""
        if self._minds_the_end or threading.current_thread() is not threading.main_thread():
            return
        self._minds_the_end = True
        loop = asyncio.get_running_loop()
        for number in ENDING_SIGNALS:
            _call_first(number, lambda: loop.call_soon_threadsafe(self._close))

    def _close(self) -> None:
        self.is_closing = True
        self._ring()


def _call_first(number: signal.Signals, function: Callable[[], Any]) -> None:
    theirs = signal.getsignal(number)

    def handle(received: int, frame: FrameType | None) -> None:
        function()
        if callable(theirs):
            theirs(received, frame)

    if callable(theirs):  # otherwise the system ends the process, or ignores the signal, as nobody here may change
        signal.signal(number, handle)
