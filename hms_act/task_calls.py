# SPDX-License-Identifier: Apache-2.0
"""What a client says about tasks.

Kept true here: the token of a claimed task is remembered, so that who claims and who completes may be strangers
within one process.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hms_act.answers import Json, Lease, Task
from hms_act.calls import (
    DEFAULT_WAIT_SECONDS,
    LONGEST_WAIT_SECONDS,
    Calls,
    T,
    encoded,
    etag_of,
    given,
    headers_of,
    number_of,
    path_of,
    told,
)
from hms_act.retry import Retry
from hms_act.transport import Answer, Call

REMEMBERED_TOKENS = 1_000


class TaskTokens:
    """The tokens of the tasks claimed last. Kept after completion too, so that completing twice is harmless."""

    def __init__(self) -> None:
        # Each operation used on it is atomic, so it needs no lock, which a fork could leave locked for ever.
        self._tokens: OrderedDict[int, str] = OrderedDict()

    def remember(self, task_id: int, token: str) -> None:
        self._tokens.pop(task_id, None)
        self._tokens[task_id] = token
        if len(self._tokens) > REMEMBERED_TOKENS:
            self._tokens.popitem(last=False)

    def recall(self, task_id: int) -> str:
        return self._tokens.get(task_id, "")


class TaskCalls(Calls):
    """Part of `Client`."""

    _task_tokens: TaskTokens

    def next_task(self, role: str, *, wait: int = DEFAULT_WAIT_SECONDS, retry: Retry | None = None) -> Task | None:
        """Claim the next task of `role`, waiting up to `wait` seconds for one; None if there was none."""
        return next(iter(self.next_tasks(role, limit=1, wait=wait, retry=retry)), None)

    def next_tasks(
        self, role: str, *, limit: int, wait: int = DEFAULT_WAIT_SECONDS, retry: Retry | None = None
    ) -> list[Task]:
        """Claim up to `limit` tasks at once. Each is held under a lease of its own."""
        for seconds in _polls(wait):
            body = {"role": role, "wait": seconds, **given(limit=limit if limit > 1 else None)}
            call = Call("POST", "/acts/tasks/next", encoded(body), headers=headers_of(), patience=seconds)
            tasks = _claimed_tasks(self._transport.send(call, retry=retry))
            for task in tasks:
                self._task_tokens.remember(task.id, task.token)
            if tasks:
                return tasks
        return []

    # A task may be named by its number, or handed in as it was claimed or read. The token is the one named, else that
    # of the `Task`, else the one this client was given when it claimed the task.

    def complete_task(
        self, task: int | Task, outcome: str = "PASS", output: Any = None, note: str = "", *, token: str | None = None
    ) -> Task:
        """End a task with `outcome`. On a human task this is the decision. Raises LeaseLost.

        Without a token, a `Task` that was read is ended as it was read. Raises StaleRevision.
        """
        result = {"outcome": outcome, **given(output=output), **told(note=note)}
        return self._task_act(task, "complete", result, token, Task.from_answer)

    def fail_task(
        self,
        task: int | Task,
        *,
        error_type: str,
        message: str = "",
        retryable: bool | None = None,
        token: str | None = None,
    ) -> Task:
        """Report a fault, which the step's retry policy then judges by `error_type`. Raises LeaseLost."""
        fault = {"error_type": error_type, "message": message, **given(retryable=retryable)}
        return self._task_act(task, "fail", fault, token, Task.from_answer)

    def heartbeat(self, task: int | Task, *, token: str | None = None, retry: Retry | None = None) -> Lease:
        """Extend the lease, and learn whether the run is being cancelled. Raises LeaseLost."""
        return self._lease_act(task, "heartbeat", token, retry)

    def renew(self, task: int | Task, *, token: str | None = None) -> Lease:
        """Extend the lease. Raises LeaseLost."""
        return self._lease_act(task, "renew", token, None)

    def release(self, task: int | Task, *, note: str = "", token: str | None = None) -> Task:
        """Give a task back undone, for somebody else to claim. Raises LeaseLost."""
        return self._task_act(task, "release", told(note=note), token, Task.from_answer)

    def request_approval(
        self,
        task: int | Task,
        *,
        reason: str,
        context: Json | None = None,
        options: Sequence[str] = (),
        severity: str = "medium",
        role: str = "",
        token: str | None = None,
    ) -> str:
        """Ask a person before going on; the lease ends. The id of the request: wait for it, then `resume`.

        `role` is who answers, where the installation's reviewers are not meant. Raises LeaseLost.
        """
        asked = {"reason": reason, "context": context or {}, "options": list(options), "severity": severity}
        return self._task_act(
            task, "request-approval", {**asked, **told(role=role)}, token, lambda said: str(said["request_id"])
        )

    def resume(self, task: int | Task, *, token: str | None = None) -> Task:
        """Take up an approved task again, under a new lease. Raises Conflict while nobody has answered."""
        path = path_of("acts", "tasks", number_of(task), "resume")
        call = Call("POST", path, encoded(self._held(task, token)), headers=headers_of())
        (resumed,) = _claimed_tasks(self._transport.send(call))
        self._task_tokens.remember(resumed.id, resumed.token)
        return resumed

    def tasks(self, **filters: Any) -> Iterator[Task]:
        """Filters are those of the API: assignee ("me"), role, status …"""
        return self._list("/acts/tasks", filters, Task.from_answer)

    def task(self, task_id: int) -> Task:
        answer = self._get(path_of("acts", "tasks", task_id))
        return answer.parsed(lambda said: Task.from_answer(said, etag=answer.etag))

    def resolve_incident(
        self, task: int | Task, resolution: str, *, reason: str, output: Any = None, if_match: str = ""
    ) -> Task:
        """`retry` tries an incident again, `skip` goes on as if it had passed (with `output`), `fail` lets it fail.

        Given the `Task` that was read: raises StaleRevision if somebody has resolved it since.
        """
        body = {"resolution": resolution, "reason": reason, **given(output=output)}
        path = path_of("acts", "tasks", number_of(task), "resolve")
        return self._change("POST", path, body, if_match=if_match or etag_of(task)).parsed(Task.from_answer)

    def _task_act(self, task: int | Task, act: str, body: Json, token: str | None, parse: Callable[[Any], T]) -> T:
        held = self._held(task, token)
        # A token says more than an ETag: who lost it should hear just that, and not that something changed.
        if_match = "" if held else etag_of(task)
        path = path_of("acts", "tasks", number_of(task), act)
        return self._change("POST", path, {**held, **body}, if_match=if_match).parsed(parse)

    def _lease_act(self, task: int | Task, act: str, token: str | None, retry: Retry | None) -> Lease:
        path = path_of("acts", "tasks", number_of(task), act)
        answer = self._change("POST", path, self._held(task, token), retry=retry)
        return answer.parsed(lambda said: Lease.from_answer(said, at=answer.at))

    def _held(self, task: int | Task, token: str | None) -> dict[str, str]:
        own = "" if isinstance(task, int) else task.token
        known = token or own or self._task_tokens.recall(number_of(task))
        return {"token": known} if known else {}


def _polls(wait: int) -> Iterator[int]:
    """`wait` seconds, in as few polls as the server allows."""
    yield min(wait, LONGEST_WAIT_SECONDS)
    while (wait := wait - LONGEST_WAIT_SECONDS) > 0:
        yield min(wait, LONGEST_WAIT_SECONDS)


def _claimed_tasks(answer: Answer) -> list[Task]:
    """The tasks in an answer to a claim: none for 204, one as `task`, several as `tasks`."""

    def parse(said: Any) -> list[Task]:
        envelopes = said.get("tasks", [said])
        return [Task.from_answer(one.get("task", one), lease=one, at=answer.at) for one in envelopes]

    return answer.parsed(parse) if answer.body is not None else []
