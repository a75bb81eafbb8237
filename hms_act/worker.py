# SPDX-License-Identifier: Apache-2.0
"""`Worker`: the loop of an agent or a service. Claim, heartbeat, handle, report; stop without losing work.

What it keeps true:
- a task is claimed only by a slot that is free to start it at once;
- a lease is kept by heartbeats at a third of its time, and taken for lost when the server says so or when its end
  has come near on our own clock; then no result is sent;
- a handler that raises is reported by `fail`, so no task waits for its lease to run out because of an exception;
- on SIGTERM or SIGINT nothing new is claimed, what is held may finish within `grace_seconds`, the rest is released;
- a server that restarts is waited for; a credential or role that is refused ends the loop with that error.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, TypeVar

from hms_act.answers import Signals, Task
from hms_act.client import Client, encoded
from hms_act.errors import HmsActError, Invalid, LeaseLost, NonRetryable
from hms_act.retry import NEVER, Retry

logger = logging.getLogger("hms_act.worker")

POLL_SECONDS = 5  # how long a claim waits at the server, and so how long a stop may wait for it
POLL_SECONDS_PER_ROLE = 1  # with several roles, which are asked in turn
GRACE_SECONDS = 10.0
IMPATIENCE_SECONDS = 1.0  # a second signal within this time is an echo of the first, not impatience
DEFAULT_TTL_SECONDS = 60.0  # where the server does not say when a lease ends
ERROR_TYPE_CHARACTERS, MESSAGE_CHARACTERS = 100, 2_000  # a report must not be refused for its length
OUTAGE = Retry(initial_interval=0.5, maximum_interval=10.0)

Handler = Callable[[Task], Any]
H = TypeVar("H", bound=Handler)


class InvalidResult(Exception):
    """A handler returned something that is no result, or an outcome its step does not declare."""


@dataclass(frozen=True, slots=True)
class Result:
    outcome: str
    output: Any = None
    note: str = ""

    @classmethod
    def of(cls, returned: Any) -> Result:
        """The result in what a handler returned. Raises InvalidResult if there is none, or JSON cannot say it."""
        result = cls._read(returned)
        try:
            encoded([result.outcome, result.output, result.note])
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidResult(f"the result cannot be sent as JSON: {error}") from error
        return result

    @classmethod
    def _read(cls, returned: Any) -> Result:
        match returned:
            case Result():
                return returned
            case str(outcome):
                return cls(outcome)
            case (str(outcome), output):
                return cls(outcome, output)
            case {"outcome": str(outcome), **rest} if rest.keys() <= {"output", "note"}:
                return cls(outcome, rest.get("output"), str(rest.get("note") or ""))
        raise InvalidResult(
            "a handler returns an outcome, (outcome, output), or a dict of outcome, output and note; "
            f"this one returned {returned!r}"
        )

    @property
    def word(self) -> str:
        return self.outcome


@dataclass(frozen=True, slots=True)
class Fault:
    error_type: str
    message: str
    retryable: bool | None = None  # None: as the step's retry policy says

    @classmethod
    def of(cls, error: BaseException) -> Fault:
        final = isinstance(error, NonRetryable | InvalidResult)
        name = type(error).__name__[:ERROR_TYPE_CHARACTERS]
        return cls(name, _sendable(str(error))[:MESSAGE_CHARACTERS], retryable=False if final else None)

    @property
    def word(self) -> str:
        return self.error_type


@dataclass(slots=True)
class Held:
    """A task between its claim and its end, and how long its lease may be relied on (monotonic seconds)."""

    task: Task
    safe_until: float
    ttl_seconds: float
    over: threading.Event = field(default_factory=threading.Event)  # no heartbeat is needed any more

    @classmethod
    def claimed(cls, task: Task) -> Held:
        # Counted from the answer: the claim was made at the end of a poll, not when the poll was sent.
        ttl = task.ttl_seconds or DEFAULT_TTL_SECONDS
        return cls(task=task, safe_until=time.monotonic() + safe_seconds(ttl), ttl_seconds=ttl)

    @property
    def signals(self) -> Signals:
        return self.task.signals

    def extend(self, ttl_seconds: float | None, *, before: float) -> None:
        self.ttl_seconds = ttl_seconds or self.ttl_seconds
        self.safe_until = before + safe_seconds(self.ttl_seconds)

    def is_safe(self) -> bool:
        return not self.signals.lease_lost and time.monotonic() < self.safe_until


def safe_seconds(ttl_seconds: float) -> float:
    """How long a lease may be relied on: short of its end by a tenth, at least a second, at most its half."""
    margin = min(max(1.0, ttl_seconds / 10), ttl_seconds / 2)
    return ttl_seconds - margin


class Worker:
    """Performs the tasks of the roles it has handlers for, `concurrency` at a time, each in a thread. Runs once.

    worker = Worker()

    @worker.handles("agent:validator")
    def check(task):
        return "PASS" if task.payload["form_id"] else "FAIL"

    worker.run()
    """

    def __init__(
        self, client: Client | None = None, concurrency: int = 1, *, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self._client = client or Client()
        self._concurrency = concurrency
        self._grace_seconds = grace_seconds
        self._handlers: dict[str, Handler] = {}
        self._held: dict[int, Held] = {}  # by slot
        self._stopping = threading.Event()
        # A queue, because `put` may be called from a signal handler in the thread that waits in `get`;
        # to set an Event there could deadlock.
        self._bell: queue.SimpleQueue[_Stop | _SlotEnded] = queue.SimpleQueue()

    def handles(self, role: str) -> Callable[[H], H]:
        def register(handler: H) -> H:
            self.register(role, handler)
            return handler

        return register

    def register(self, role: str, handler: Handler) -> None:
        if role in self._handlers:
            raise ValueError(f"{role} has a handler already")
        self._handlers[role] = handler

    def stop(self) -> None:
        """Ask for a stop, from any thread or signal handler. Asked again a second later: without grace."""
        self._bell.put(_Stop())

    def run(self) -> None:
        """Work until asked to stop. Raises the HmsActError that makes further work impossible."""
        if not self._handlers:
            raise ValueError("a worker needs a handler: @worker.handles(role)")
        if self._stopping.is_set():
            raise RuntimeError("a worker runs once; make another one")
        logger.info("performing %s, %d at a time", ", ".join(self._handlers), self._concurrency)
        with self._signals_heard():
            for slot in range(self._concurrency):
                name = f"hms-act-worker-{slot}"
                threading.Thread(target=self._work, args=(slot,), name=name, daemon=True).start()
            error = self._supervise()
            self._release_rest()
        if error:
            raise error

    # --- the thread that called run()

    def _supervise(self) -> BaseException | None:
        """Until every slot has ended, or the grace given to them has."""
        working: int = self._concurrency
        error: BaseException | None = None
        stopped_at: float | None = None
        while working:
            try:
                message = self._bell.get(timeout=self._grace_left(stopped_at))
            except queue.Empty:
                break
            if isinstance(message, _SlotEnded):
                working, error = working - 1, error or message.error
            if stopped_at is None and (isinstance(message, _Stop) or error):
                logger.info("stopping: %d task(s) in hand", len(self._held))
                stopped_at = time.monotonic()
                self._stopping.set()
            elif isinstance(message, _Stop) and time.monotonic() - (stopped_at or 0) >= IMPATIENCE_SECONDS:
                break
        return error

    def _grace_left(self, stopped_at: float | None) -> float | None:
        if stopped_at is None:
            return None
        return max(stopped_at + self._grace_seconds - time.monotonic(), 0.0)

    def _release_rest(self) -> None:
        for held in list(self._held.values()):
            held.signals.lease_lost = True  # its handler may still run, and must not report any more
            held.over.set()
            self._release(held.task)

    @contextmanager
    def _signals_heard(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are for the main thread's owner, who calls stop()
            return
        heard = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(one, lambda *_: self.stop()) for one in heard]
        try:
            yield
        finally:
            for one, handler in zip(heard, before, strict=True):
                signal.signal(one, handler if handler is not None else signal.SIG_DFL)

    # --- a slot

    def _work(self, slot: int) -> None:
        error: BaseException | None = None
        try:
            self._work_until_stopped(slot)
        except BaseException as ended:  # whatever it is, run() must hear of it, or would wait for ever
            error = ended
        finally:
            self._bell.put(_SlotEnded(error))

    def _work_until_stopped(self, slot: int) -> None:
        failures = 0
        for role in cycle(list(self._handlers)):
            if self._stopping.is_set():
                return
            try:
                held = self._claim(role)
            except HmsActError as error:
                if not _may_pass(error):
                    raise
                failures += 1
                self._wait_out(error, failures)
                continue
            if failures:
                logger.info("the server answers again")
                failures = 0
            if held is not None:
                self._hold(slot, held, self._handlers[role])

    def _claim(self, role: str) -> Held | None:
        task = self._client.next_task(role, wait=self._poll_seconds(), retry=NEVER)
        return Held.claimed(task) if task is not None else None

    def _poll_seconds(self) -> int:
        """Short enough for a poll to end within the grace: what it brings must still be released."""
        if len(self._handlers) > 1:
            return POLL_SECONDS_PER_ROLE
        return max(1, min(POLL_SECONDS, int(self._grace_seconds / 2)))

    def _wait_out(self, error: HmsActError, failures: int) -> None:
        if failures == 1:
            logger.warning("no task can be claimed for now: %s", error)
        self._stopping.wait((error.retry_after or 0.0) + OUTAGE.backoff(failures))

    def _hold(self, slot: int, held: Held, handler: Handler) -> None:
        if self._stopping.is_set():
            self._release(held.task)  # it was handed out while the stop was asked for
            return
        self._held[slot] = held
        name = f"hms-act-heartbeat-{held.task.id}"
        threading.Thread(target=self._beat, args=(held,), name=name, daemon=True).start()
        try:
            self._deliver(held, _handled(handler, held.task))
        finally:
            held.over.set()
            self._held.pop(slot, None)

    def _deliver(self, held: Held, report: Result | Fault) -> None:
        """Send the report for as long as the lease lasts; a server that is away may be back before its end."""
        task, failures = held.task, 0
        while held.is_safe():
            try:
                self._send(task, report)
                return
            except LeaseLost:
                break
            except HmsActError as error:
                if isinstance(error, Invalid) and isinstance(report, Result):
                    report = Fault.of(InvalidResult(str(error)))
                elif error.transient:
                    failures += 1
                    held.over.wait((error.retry_after or 0.0) + OUTAGE.backoff(failures))
                else:
                    logger.error("task %s: its end could not be reported: %s", task.id, error)
                    return
        logger.warning("task %s: the lease was lost; its result (%s) does not count", task.id, report.word)

    def _send(self, task: Task, report: Result | Fault) -> None:
        match report:
            case Result(outcome, output, note):
                self._client.complete_task(task, outcome, output, note)
            case Fault(error_type, message, retryable):
                self._client.fail_task(task, error_type=error_type, message=message, retryable=retryable)
        logger.info("task %s (%s): %s", task.id, task.step, report.word)

    def _release(self, task: Task) -> None:
        try:
            self._client.release(task)
            logger.info("task %s (%s): released", task.id, task.step)
        except HmsActError as error:
            logger.warning("task %s: not released, so its lease must run out: %s", task.id, error)

    # --- the heartbeats of one task

    def _beat(self, held: Held) -> None:
        interval = held.ttl_seconds / 3
        while not held.over.wait(interval):
            before = time.monotonic()
            try:
                lease = self._client.heartbeat(held.task, retry=NEVER)
            except HmsActError as error:
                if _may_pass(error) and held.is_safe():
                    interval = held.ttl_seconds / 10
                    continue
                if not held.over.is_set():
                    held.signals.lease_lost = True
                    logger.warning("task %s: the lease is lost: %s", held.task.id, error)
                return
            held.extend(lease.ttl_seconds, before=before)
            held.signals.cancel_requested = lease.cancel_requested
            held.signals.paused = lease.paused
            interval = held.ttl_seconds / 3


@dataclass(frozen=True, slots=True)
class _Stop:
    """Somebody asked for a stop."""


@dataclass(frozen=True, slots=True)
class _SlotEnded:
    error: BaseException | None


def _handled(handler: Handler, task: Task) -> Result | Fault:
    try:
        return Result.of(handler(task))
    except (Exception, SystemExit) as error:  # a library that calls sys.exit() must not end the worker
        logger.exception("task %s (%s): its handler raised", task.id, task.step)
        return Fault.of(error)


def _sendable(text: str) -> str:
    """Without what no server takes: NUL, and half a surrogate pair (as in the name of a file that is not UTF-8)."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _may_pass(error: HmsActError) -> bool:
    """Whether it may be over without anybody changing the credential, the role or the address."""
    return error.transient or error.status >= 500
