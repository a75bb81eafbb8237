# SPDX-License-Identifier: Apache-2.0
"""`@requires_approval` and `@interruptible`: functions that a person has to allow, and functions that can be stopped.

    @requires_approval(reason="Deploy to production", options=["proceed", "cancel"], severity="high")
    async def deploy(version): ...

    @interruptible(check_interval=1.0)
    async def move_files(task):
        await interrupt("The disk is nearly full. Go on?", options=["go on", "stop"])

Kept true here: a function under `requires_approval` runs once for an approval of exactly this call with exactly these
arguments, and never without; a question that was asked by an earlier life of the program is not asked again.
Both decorators are for plain functions, which block, and for async ones, which do not.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import re
import time
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from hms_act.answers import Json, Request, Task
from hms_act.asking import HITLService, get_hitl_service
from hms_act.errors import LeaseLost
from hms_act.questions import Question, ask_once, is_used, workflow_of

HIDDEN = "(hidden)"
LONGEST_CALL = 200

Function = TypeVar("Function", bound=Callable[..., Any])

_approval: ContextVar[Request | None] = ContextVar("hms_act_approval", default=None)
_interruptible: ContextVar[_Life | None] = ContextVar("hms_act_interruptible", default=None)


class Interrupted(Exception):
    """The run of this task is being cancelled, or its lease was lost: stop here, and undo what is half done."""


def current_approval() -> Request | None:
    """Inside a function under `requires_approval`: who allowed it, with which option and notes."""
    return _approval.get()


# A function that a person has to allow


def requires_approval(
    reason: str = "",
    options: Sequence[str | Json] = (),
    severity: str = "medium",
    *,
    context: Mapping[str, Any] | None = None,
    role: str | None = None,
    timeout: float | None = None,
    hide: Sequence[str] = (),
    service: HITLService | None = None,
    **more: Any,
) -> Callable[[Function], Function]:
    """Ask a person before each call, and wait for the answer; `timeout` in seconds, then TimeoutError.

    People see the function and its arguments, but for those to `hide`. An option whose word is a refusal (cancel, no,
    stop …) rejects; so does one that is given as `{"key", "label", "ends": "fail"}`. `more` is sent with the request.
    Calling raises Rejected, Expired, Cancelled, NotRequired or ReceiptRefused, and the function is not run.
    """

    def decorate(function: Function) -> Function:
        def question(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Permission:
            call, given = _name_of(function), _arguments(function, args, kwargs, hide)
            proposal = {"call": call, "input": given, "executor": "caller"}
            what = reason or f"May {call} be called?"
            asked = Question(what, context or {}, options, severity, role, {**more, "proposal": proposal})
            return _Permission(service or get_hitl_service(), asked, call, given, timeout)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def allowed_async(*args: Any, **kwargs: Any) -> Any:
                permission = question(args, kwargs)
                asked = await asyncio.to_thread(permission.ask)
                answered = await permission.service.answer_to(asked, timeout=timeout)
                await asyncio.to_thread(permission.use, answered)
                with _set(_approval, answered):
                    return await function(*args, **kwargs)

            return cast(Function, allowed_async)

        @functools.wraps(function)
        def allowed(*args: Any, **kwargs: Any) -> Any:
            permission = question(args, kwargs)
            answered = permission.service.wait_for(permission.ask(), timeout=timeout)
            permission.use(answered)
            with _set(_approval, answered):
                return function(*args, **kwargs)

        return cast(Function, allowed)

    return decorate


@dataclass(frozen=True, slots=True)
class _Permission:
    service: HITLService
    question: Question
    call: str
    given: Json
    timeout: float | None

    def ask(self) -> Request:
        asked = self.question
        own = [asked.reason, asked.context, list(asked.options), asked.severity, asked.role, self.given]
        return ask_once(self.service, asked, workflow_of(self.call, *own))

    def use(self, answered: Request) -> None:
        """Raises ReceiptRefused unless it allows exactly this, now."""
        self.service.client.spend(answered, call=self.call, input=self.given)


# A function that can be paused, cancelled, and interrupted by a question


def interruptible(check_interval: float = 1.0, *, service: HITLService | None = None) -> Callable[[Function], Function]:
    """Let a function be paused and cancelled with its run, and ask people on its way (`interrupt`).

    Of a function that is handed a claimed `Task`, the lease is kept, and every `check_interval` seconds it is seen
    whether its run is paused or cancelled. An async function is held at its next `await` while the run is paused, and
    cancelled there; a plain one, where it calls `checkpoint()`. Then Interrupted is raised.
    """

    def decorate(function: Function) -> Function:
        def life(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Life:
            task = next((each for each in (*args, *kwargs.values()) if isinstance(each, Task)), None)
            given = _arguments(function, args, kwargs, ())
            return _Life(service or get_hitl_service(), _name_of(function), given, task, check_interval)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def watched_async(*args: Any, **kwargs: Any) -> Any:
                own = life(args, kwargs)
                with _set(_interruptible, own):
                    result = await _watched(own, function(*args, **kwargs))
                await asyncio.to_thread(own.use_up)
                return result

            return cast(Function, watched_async)

        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            own = life(args, kwargs)
            with _set(_interruptible, own):
                result = function(*args, **kwargs)
            own.use_up()
            return result

        return cast(Function, watched)

    return decorate


def checkpoint() -> None:
    """In a plain interruptible function: a good place to stop. Blocks while the run is paused. Raises Interrupted."""
    _current().hold()


def interrupt_sync(reason: str, *, timeout: float | None = None, **asked: Any) -> Request:
    """Ask a person in the middle of a plain interruptible function: the answer, as `wait_for` has it.

    `asked` is `context`, `options`, `severity`, `role`, and what else a request may hold. Started again before its end,
    the function asks nothing twice that was answered: the answers are used up when it returns.
    """
    life = _current()
    return life.answered(life.service.wait_for(life.ask(reason, **asked), timeout=timeout))


async def interrupt(reason: str, *, timeout: float | None = None, **asked: Any) -> Request:
    """`interrupt_sync`, in an async function."""
    life = _current()
    request = await asyncio.to_thread(lambda: life.ask(reason, **asked))
    return life.answered(await life.service.answer_to(request, timeout=timeout))


def _current() -> _Life:
    life = _interruptible.get()
    if life is None:
        raise RuntimeError("this is called inside a function under @interruptible alone")
    return life


@dataclass(slots=True)
class _Life:
    """One call of an interruptible function."""

    service: HITLService
    name: str
    given: Json
    task: Task | None
    check_interval: float
    questions: int = 0
    answers: list[Request] = field(default_factory=list)
    looked_at: float = 0.0

    def ask(
        self,
        reason: str,
        *,
        context: Mapping[str, Any] | None = None,
        options: Sequence[str | Json] = (),
        severity: str = "medium",
        role: str | None = None,
        **more: Any,
    ) -> Request:
        """The n-th question of this call is the n-th of the same call in an earlier life."""
        self.questions += 1
        told = {"function": self.name, "arguments": self.given, **(context or {})}
        question = Question(reason, told, options, severity, role, more)
        return ask_once(self.service, question, workflow_of(self.name, self.given, self.questions, reason))

    def answered(self, request: Request) -> Request:
        self.answers.append(request)
        return request

    def use_up(self) -> None:
        """The next call asks anew."""
        for request in self.answers:
            if not is_used(self.service, request):
                self.service.client.spend(request)

    def hold(self) -> None:
        """Look, if it is time to, and wait for as long as the run is paused. Raises Interrupted."""
        while self.task is not None and time.monotonic() - self.looked_at >= self.check_interval:
            is_paused = self.look()
            if not is_paused:
                return
            time.sleep(self.check_interval)

    def look(self) -> bool:
        """Whether the run is paused. Keeps the lease. Raises Interrupted."""
        assert self.task is not None
        try:
            lease = self.service.client.heartbeat(self.task)
        except LeaseLost as lost:
            raise Interrupted(f"task {self.task.id} is held by nobody, or by somebody else") from lost
        self.looked_at = time.monotonic()
        if lease.cancel_requested:
            raise Interrupted(f"run {self.task.run_id} is being cancelled")
        return lease.paused


async def _watched(life: _Life, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of the work. A second task looks after its lease, and opens and shuts the gate."""
    if life.task is None:
        return await work
    gate = asyncio.Event()
    gate.set()
    working = asyncio.ensure_future(_Gated(work, gate))
    looking = asyncio.ensure_future(_look_after(life, gate))
    try:
        await asyncio.wait({working, looking}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        await _end(working)
        looking.result()  # which raises
        raise AssertionError("looking ends by an error alone")
    finally:
        await _end(working)
        await _end(looking)


async def _look_after(life: _Life, gate: asyncio.Event) -> None:
    while True:
        if await asyncio.to_thread(life.look):
            gate.clear()
        else:
            gate.set()
        await asyncio.sleep(life.check_interval)


async def _end(task: asyncio.Future[Any]) -> None:
    """Cancel it, and wait until it has cleaned up; what it raises then is lost with it."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})


class _Gated:
    """A coroutine that goes on behind each of its awaits only while the gate is open."""

    def __init__(self, work: Coroutine[Any, Any, Any], gate: asyncio.Event) -> None:
        self._work, self._gate = work, gate

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[], Any] = functools.partial(self._work.send, None)
        while True:
            try:
                waited_for = step()
            except StopIteration as end:
                return end.value
            try:
                value = yield waited_for
                if not self._gate.is_set():
                    yield from self._gate.wait().__await__()
                step = functools.partial(self._work.send, value)
            except BaseException as error:  # cancelled: the work has to hear of it, and may clean up
                step = functools.partial(self._work.throw, error)


# What is told of a call


def _name_of(function: Callable[..., Any]) -> str:
    """`module.qualified_name`, in the letters that the name of a call has."""
    name = f"{function.__module__}.{function.__qualname__}".replace(".<locals>", "")
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip("_.-")[-LONGEST_CALL:]


def _arguments(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], hide: Sequence[str]
) -> dict[str, Any]:
    """By name, as JSON; `self` is left out, and what JSON cannot say is told as a text that another process would
    write, too."""
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    named = {name: value for name, value in bound.arguments.items() if name not in {"self", "cls"}}
    return {name: HIDDEN if name in hide else _as_json(value) for name, value in named.items()}


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=_as_text, allow_nan=False))


def _as_text(value: Any) -> str:
    if isinstance(value, Task):
        return f"task {value.id}"
    # The plain `repr` of an object holds an address, which is another one in each process.
    kind: Any = type(value)
    is_plain = kind.__repr__ is object.__repr__ and kind.__str__ is object.__str__
    return f"<{kind.__qualname__}>" if is_plain else str(value)


@contextmanager
def _set(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    before = variable.set(value)
    try:
        yield
    finally:
        variable.reset(before)
