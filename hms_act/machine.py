# SPDX-License-Identifier: Apache-2.0
"""`HITLStateMachine`: tasks of a program that stop for a person, and go on, once, by what the person said.

    machine = HITLStateMachine()
    await machine.start_task("deploy_prod")
    await machine.request_approval("deploy_prod", reason="Deploy v1.2.3 to production", severity="critical")
    await machine.wait_for("deploy_prod")      # or somebody decides in the inbox, and the program looks later
    await machine.resume("deploy_prod")
    await machine.complete("deploy_prod")

Kept true here: whether a task waits, is approved or rejected is what the server says of its question, whose
`workflow_id` is the id of the task, so a program that is started again finds it; and an approval lets a task go on
once, because to resume is to spend its receipt.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hms_act.answers import Request
from hms_act.asking import WAITING, WITHOUT_A_YES, HITLService, NotFulfilled, get_hitl_service
from hms_act.questions import Question, ask_after, is_used, newest_of
from hms_act.states import ENDED, DuplicateTask, InterruptPoint, InvalidTransition, TaskContext, TaskState, UnknownTask

EVERY_TASK = "*"

Callback = Callable[[TaskContext], Any]

log = logging.getLogger("hms_act.hitl")


class HITLStateMachine:
    """Safe to use from many coroutines of one event loop. Every method raises `HmsActError` where the server refuses.

    Without a `service` it speaks as HMS_ACT_TOKEN says at each call.
    """

    def __init__(self, service: HITLService | None = None, *, role: str | None = None) -> None:
        self._given = service
        self._role = role  # who is asked; without it, the installation's reviewers
        self._tasks: dict[str, TaskContext] = {}
        self._callbacks: dict[str, list[Callback]] = defaultdict(list)
        self._lock = asyncio.Lock()

    @property
    def _service(self) -> HITLService:
        return self._given or get_hitl_service()

    # --- the program's side

    async def start_task(
        self, task_id: str, *, step: str = "", metadata: Mapping[str, Any] | None = None, anew: bool = False
    ) -> TaskContext:
        """Begin a task. One that asked in an earlier life of this program is taken up where its question stands:
        awaiting approval, approved, or without a yes. `anew` lets what was asked then be.

        Raises DuplicateTask where it has been started here and has not ended.
        """
        async with self._lock:
            known = self._tasks.get(task_id)
            if known is not None and known.state not in ENDED:
                raise DuplicateTask(f"the task {task_id!r} is {known.state}")
            task = TaskContext(task_id, current_step=step, metadata=dict(metadata or {}))
            before = None if anew else await asyncio.to_thread(self._unused, task_id)
            task.state = TaskState.RUNNING
            if before is not None:
                task.take(before)
            self._tasks[task_id] = task
        await self._tell(task)
        return task

    def restore(self, task: TaskContext | Mapping[str, Any]) -> TaskContext:
        """Go on with a task that was kept by `to_dict()`."""
        restored = task if isinstance(task, TaskContext) else TaskContext.from_dict(task)
        self._tasks[restored.task_id] = restored
        return restored

    async def enter_step(self, task_id: str, step: str) -> TaskContext:
        """The step before it is done."""
        async with self._lock:
            task = self._in(task_id, TaskState.RUNNING)
            _finish_step(task)
            task.current_step = step
        await self._tell(task)
        return task

    async def request_approval(
        self,
        task_id: str,
        reason: str,
        *,
        context: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        severity: str = "medium",
        **more: Any,
    ) -> InterruptPoint:
        """Ask a person, and stop. `more` is sent with the request: `role`, `priority`, `required_fields`, `policy` …"""
        async with self._lock:
            task = self._in(task_id, TaskState.RUNNING)
            told = {"task": task_id, **({"step": task.current_step} if task.current_step else {}), **(context or {})}
            question = Question(reason, context=told, options=options, severity=severity, role=self._role, more=more)
            task.take(await asyncio.to_thread(self._ask, question, task_id))
            asked = task.interrupt_point
        assert asked is not None
        await self._tell(task)
        return asked

    async def wait_for(self, task_id: str, *, timeout: float | None = None) -> TaskContext:
        """The task once its question is closed, approved or not. TimeoutError leaves the question open."""
        task = self._in(task_id, *_ASKED)
        point = _question_of(task)
        try:
            answered = await self._service.answer_to(point.request_id, timeout=timeout)
        except NotFulfilled as end:
            answered = end.request
        await self._take(task, answered)
        return task

    async def resume(self, task_id: str) -> TaskContext:
        """Go on after an approval; it is used by it. Raises InvalidTransition while nobody has answered; Rejected,
        Expired, Cancelled, NotRequired, Superseded; ReceiptRefused where it was used or taken back."""
        async with self._lock:
            task = self._in(task_id, *_ASKED)
            answered = await asyncio.to_thread(self._read, task)
            task.take(answered)
            if task.state == TaskState.APPROVED:
                await asyncio.to_thread(self._service.client.spend, answered.id)
                task.state, task.interrupt_point = TaskState.RUNNING, None
        await self._tell(task)
        if not answered.closed:
            raise InvalidTransition(f"nobody has answered {answered.id} yet")
        if task.state != TaskState.RUNNING:
            raise WITHOUT_A_YES.get(answered.status, NotFulfilled)(answered)
        return task

    async def complete(self, task_id: str, **metadata: Any) -> TaskContext:
        return await self._end(task_id, TaskState.COMPLETED, metadata=metadata)

    async def fail(self, task_id: str, error: str | BaseException = "") -> TaskContext:
        """Give the task up. A question of it that is still open is taken back."""
        task = self._in(task_id, TaskState.PENDING, TaskState.RUNNING, TaskState.AWAITING_APPROVAL, TaskState.APPROVED)
        if task.state == TaskState.AWAITING_APPROVAL and task.interrupt_point is not None:
            await asyncio.to_thread(self._service.cancel_request, task.interrupt_point.request_id, reason=str(error))
        return await self._end(task_id, TaskState.FAILED, error=str(error))

    # --- the person's side: as whoever HMS_ACT_TOKEN speaks for, under every rule

    async def approve(
        self, task_id: str, approver: str = "", *, notes: str = "", outcome: str | None = None
    ) -> TaskContext:
        """Answer the question of a task, of this program or another. `approver` is kept as what it is, a claim."""
        return await self._decide(
            task_id, lambda asked: self._service.fulfill_request(
                asked.id, fulfilled_by=approver, notes=notes, outcome=outcome or _first_option(asked)
            )
        )  # fmt: skip

    async def reject(self, task_id: str, approver: str = "", *, reason: str) -> TaskContext:
        return await self._decide(
            task_id, lambda asked: self._service.reject_request(asked.id, rejected_by=approver, reason=reason)
        )

    async def get_pending_approvals(self) -> list[TaskContext]:
        """What waits for a person, the oldest first, of all programs: the server knows."""
        waiting = await asyncio.to_thread(self._service.inbox)
        return [_context_of(request) for request in waiting if request.workflow_id]

    # --- looking

    async def get_task(self, task_id: str) -> TaskContext:
        """As it is now; the answer to its question, if one has come. Raises UnknownTask."""
        task = self._known(task_id)
        if task.state == TaskState.AWAITING_APPROVAL:
            await self._take(task, await asyncio.to_thread(self._read, task))
        return task

    async def get_tasks_by_state(self, state: TaskState | str) -> list[TaskContext]:
        return [task for task in await self.get_all_tasks() if task.state == TaskState(state)]

    async def get_all_tasks(self) -> list[TaskContext]:
        """The tasks of this program."""
        return [await self.get_task(task_id) for task_id in list(self._tasks)]

    def add_callback(self, task_id: str, callback: Callback) -> None:
        """Call it, plain or async, with the task after each change of its state; `"*"` is every task.

        What it raises is logged, and changes nothing.
        """
        self._callbacks[task_id].append(callback)

    # --- helpers

    def _known(self, task_id: str) -> TaskContext:
        if task_id not in self._tasks:
            raise UnknownTask(task_id)
        return self._tasks[task_id]

    def _in(self, task_id: str, *states: TaskState) -> TaskContext:
        task = self._known(task_id)
        if task.state not in states:
            raise InvalidTransition(f"the task {task_id!r} is {task.state}, and not {' or '.join(states)}")
        return task

    def _read(self, task: TaskContext) -> Request:
        """Its question, or the one that has taken its place."""
        found = self._service.get_request(_question_of(task).request_id)
        while found.superseded_by:
            found = self._service.get_request(found.superseded_by)
        return found

    def _ask(self, question: Question, task_id: str) -> Request:
        return ask_after(self._service, question, task_id, newest_of(self._service, task_id))

    def _unused(self, task_id: str) -> Request | None:
        newest = newest_of(self._service, task_id)
        return None if newest is None or is_used(self._service, newest) else newest

    def _open_question(self, task_id: str) -> Request:
        for request in self._service.list_requests(workflow_id=task_id, status=WAITING, limit=1):
            return request
        raise InvalidTransition(f"no question of the task {task_id!r} is open")

    async def _decide(self, task_id: str, decide: Callable[[Request], Request]) -> TaskContext:
        asked = await asyncio.to_thread(self._open_question, task_id)
        decided = await asyncio.to_thread(decide, asked)
        task = self._tasks.get(task_id)
        if task is None:
            return _context_of(decided)
        await self._take(task, decided)
        return task

    async def _take(self, task: TaskContext, said: Request) -> None:
        before = task.state
        async with self._lock:
            if task.state in _ASKED:  # nobody else was faster
                task.take(said)
        if task.state != before:
            await self._tell(task)

    async def _end(
        self, task_id: str, state: TaskState, *, error: str = "", metadata: Mapping[str, Any] | None = None
    ) -> TaskContext:
        async with self._lock:
            allowed = {TaskState.RUNNING} if state == TaskState.COMPLETED else set(TaskState) - ENDED
            task = self._in(task_id, *sorted(allowed))
            if state == TaskState.COMPLETED:
                _finish_step(task)
            task.state, task.error = state, error
            task.metadata |= metadata or {}
        await self._tell(task)
        return task

    async def _tell(self, task: TaskContext) -> None:
        """Outside the lock, so that a callback may call the machine."""
        for callback in [*self._callbacks.get(task.task_id, ()), *self._callbacks.get(EVERY_TASK, ())]:
            try:
                told = callback(task)
                if inspect.isawaitable(told):
                    await told
            except Exception:
                log.exception("%s failed for the task %s", callback, task.task_id)


_ASKED = (TaskState.AWAITING_APPROVAL, TaskState.APPROVED, TaskState.REJECTED, TaskState.FAILED)


def _question_of(task: TaskContext) -> InterruptPoint:
    if task.interrupt_point is None:
        raise InvalidTransition(f"the task {task.task_id!r} is {task.state}, and has asked nothing")
    return task.interrupt_point


def _finish_step(task: TaskContext) -> None:
    if task.current_step:
        task.history.append(task.current_step)
    task.current_step = ""


def _context_of(request: Request) -> TaskContext:
    """The task as far as its question tells."""
    context = TaskContext(request.workflow_id, current_step=str(request.context.get("step") or ""))
    context.take(request)
    return context


def _first_option(asked: Request) -> str | None:
    """What is meant by a bare yes where other words are offered: the first that goes on."""
    going_on = (str(each["key"]) for each in asked.raw.get("options") or () if each.get("ends") != "fail")
    return next(going_on, None)
