# SPDX-License-Identifier: Apache-2.0
"""`Client`: one method for each call of the HTTP API.

Kept true here: every call that changes something carries an Idempotency-Key, the same one however often it is
sent; what was read, and is handed in as it was read, is changed as it was read (If-Match) or not at all; lists are
read page by page, as they are asked for; the token of a claimed task is remembered, so that who claims and who
completes may be strangers within one process.
"""

from __future__ import annotations

import json
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

from hms_act.answers import Event, Json, Lease, Request, Run, StoredPlaybook, Task, Version
from hms_act.receipts import Receipt
from hms_act.retry import Retry
from hms_act.talk import Talk
from hms_act.transport import Answer, Call, Tokens, Transport

DEFAULT_URL = "http://localhost:8000"
DEFAULT_TIMEOUT_SECONDS = 30.0
DEFAULT_WAIT_SECONDS = 30
LONGEST_WAIT_SECONDS = 60  # what the server is willing to hold one call for
REMEMBERED_TOKENS = 1_000

JSON = "application/json"
YAML = "application/yaml"

T = TypeVar("T")


class Client(Talk):
    """Speaks to one server as one user.

    `url` and `token` (an API key or a JWT) come from HMS_ACT_URL and HMS_ACT_TOKEN where they are not given.
    Safe to share between threads, and to keep over a fork. Every method raises `HmsActError`, and says in its own
    words only what more there is to know.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        refresh_token: str = "",
        retry: Retry | None = None,
        sleep: Callable[[float], None] = time.sleep,
        on_tokens: Callable[[Tokens], None] | None = None,
    ) -> None:
        access = token if token is not None else os.environ.get("HMS_ACT_TOKEN", "")
        self._sleep = sleep
        self._transport = Transport(
            url=url or os.environ.get("HMS_ACT_URL") or DEFAULT_URL,
            tokens=Tokens(access=access, refresh=refresh_token),
            timeout=timeout,
            retry=retry or Retry(),
            sleep=sleep,
            on_tokens=on_tokens,
        )
        self._task_tokens = _TaskTokens()

    @property
    def url(self) -> str:
        return self._transport.url

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- who is calling

    def log_in(self, username: str, password: str) -> Tokens:
        """From now on this client speaks as `username`, and renews its JWT by itself."""
        body = {"username": username, "password": password}
        call = Call("POST", "/auth/token", encoded(body), headers=_headers(), anonymous=True)
        answer = self._transport.send(call)
        tokens = answer.parsed(lambda said: Tokens(access=said["access"], refresh=said.get("refresh", "")))
        self._transport.tokens = tokens
        return tokens

    # --- runs

    def start_run(
        self,
        playbook: str | int,
        *,
        payload: Json | None = None,
        version: int | None = None,
        labels: Json | None = None,
        priority: str | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Start `playbook`, by id or by number, in its newest published version unless one is named.

        With an `idempotency_key` of your own, a start repeated by another process is still one run.
        """
        named = {"protocol_id": playbook} if isinstance(playbook, int) else {"playbook": playbook}
        chosen = _given(version=version, labels=labels, priority=priority)
        body = {**named, "payload": payload or {}, **chosen}
        return self._change("POST", "/acts/run", body, key=idempotency_key).parsed(Run.from_answer)

    def runs(self, **filters: Any) -> Iterator[Run]:
        """Newest first. Filters are those of the API: status, playbook, label, started_by, created_after …"""
        return self._list("/acts/runs", filters, Run.from_answer)

    def run(self, run_id: int) -> Run:
        answer = self._get(_path("acts", "runs", run_id))
        return answer.parsed(lambda said: Run.from_answer(said, etag=answer.etag))

    def cancel_run(self, run: int | Run, *, reason: str = "", if_match: str = "") -> Run:
        """Given the `Run` that was read, not just its number: raises StaleRevision if it has moved since."""
        path = _path("acts", "runs", _number(run), "cancel")
        if_match = if_match or _etag(run)
        return self._change("PATCH", path, _told(reason=reason), if_match=if_match).parsed(Run.from_answer)

    def terminate_run(self, run: int | Run, *, reason: str, if_match: str = "") -> Run:
        """End a run at once; nothing is undone. Given the `Run` that was read: raises StaleRevision."""
        path = _path("acts", "runs", _number(run), "terminate")
        answer = self._change("PATCH", path, {"reason": reason}, if_match=if_match or _etag(run))
        return answer.parsed(Run.from_answer)

    def send_signal(self, run: int | Run, name: str, data: Any = None, *, idempotency_key: str | None = None) -> Run:
        """Tell a run that something has happened, in whatever state it is by now. `data` is the output of the step
        that waits for the signal; with none waiting, the signal is kept for the next that does.

        With an `idempotency_key` of your own, a signal repeated by another process is still one.
        """
        path = _path("acts", "runs", _number(run), "signals", name)
        return self._change("POST", path, _given(data=data), key=idempotency_key).parsed(Run.from_answer)

    def wait_for_run(self, run_id: int, *, timeout: float | None = None) -> Run:
        """The run once it has ended. Raises TimeoutError after `timeout` seconds; the run goes on."""
        end = time.monotonic() + timeout if timeout is not None else None
        pause = 0.2
        while not (run := self.run(run_id)).ended:
            if end is not None and time.monotonic() + pause > end:
                raise TimeoutError(f"run {run_id} has not ended within {timeout} seconds; it goes on")
            self._sleep(pause)
            pause = min(pause * 1.5, 5.0)
        return run

    # --- tasks

    def next_task(self, role: str, *, wait: int = DEFAULT_WAIT_SECONDS, retry: Retry | None = None) -> Task | None:
        """Claim the next task of `role`, waiting up to `wait` seconds for one; None if there was none."""
        return next(iter(self.next_tasks(role, limit=1, wait=wait, retry=retry)), None)

    def next_tasks(
        self, role: str, *, limit: int, wait: int = DEFAULT_WAIT_SECONDS, retry: Retry | None = None
    ) -> list[Task]:
        """Claim up to `limit` tasks at once. Each is held under a lease of its own."""
        for seconds in _polls(wait):
            body = {"role": role, "wait": seconds, **_given(limit=limit if limit > 1 else None)}
            call = Call("POST", "/acts/tasks/next", encoded(body), headers=_headers(), patience=seconds)
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
        told = {"outcome": outcome, **_given(output=output), **_told(note=note)}
        return self._task_act(task, "complete", told, token, Task.from_answer)

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
        fault = {"error_type": error_type, "message": message, **_given(retryable=retryable)}
        return self._task_act(task, "fail", fault, token, Task.from_answer)

    def heartbeat(self, task: int | Task, *, token: str | None = None, retry: Retry | None = None) -> Lease:
        """Extend the lease, and learn whether the run is being cancelled. Raises LeaseLost."""
        return self._lease_act(task, "heartbeat", token, retry)

    def renew(self, task: int | Task, *, token: str | None = None) -> Lease:
        """Extend the lease. Raises LeaseLost."""
        return self._lease_act(task, "renew", token, None)

    def release(self, task: int | Task, *, note: str = "", token: str | None = None) -> Task:
        """Give a task back undone, for somebody else to claim. Raises LeaseLost."""
        return self._task_act(task, "release", _told(note=note), token, Task.from_answer)

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
            task, "request-approval", {**asked, **_told(role=role)}, token, lambda said: str(said["request_id"])
        )

    def resume(self, task: int | Task, *, token: str | None = None) -> Task:
        """Take up an approved task again, under a new lease. Raises Conflict while nobody has answered."""
        path = _path("acts", "tasks", _number(task), "resume")
        call = Call("POST", path, encoded(self._held(task, token)), headers=_headers())
        (resumed,) = _claimed_tasks(self._transport.send(call))
        self._task_tokens.remember(resumed.id, resumed.token)
        return resumed

    def tasks(self, **filters: Any) -> Iterator[Task]:
        """Filters are those of the API: assignee ("me"), role, status …"""
        return self._list("/acts/tasks", filters, Task.from_answer)

    def task(self, task_id: int) -> Task:
        answer = self._get(_path("acts", "tasks", task_id))
        return answer.parsed(lambda said: Task.from_answer(said, etag=answer.etag))

    def resolve_incident(
        self, task: int | Task, resolution: str, *, reason: str, output: Any = None, if_match: str = ""
    ) -> Task:
        """`retry` tries an incident again, `skip` goes on as if it had passed (with `output`), `fail` lets it fail.

        Given the `Task` that was read: raises StaleRevision if somebody has resolved it since.
        """
        body = {"resolution": resolution, "reason": reason, **_given(output=output)}
        path = _path("acts", "tasks", _number(task), "resolve")
        return self._change("POST", path, body, if_match=if_match or _etag(task)).parsed(Task.from_answer)

    # --- playbooks

    def playbooks(self, **filters: Any) -> Iterator[StoredPlaybook]:
        return self._list("/acts/playbooks", filters, StoredPlaybook.from_answer)

    def playbook(self, playbook_id: str | int) -> StoredPlaybook:
        return self._get(_path("acts", "playbooks", playbook_id)).parsed(StoredPlaybook.from_answer)

    def create_playbook(self, document: Json | str, *, playbook_id: str = "", content_type: str = "") -> StoredPlaybook:
        """Store a new playbook, its version 1 a draft. Raises Conflict (`playbook_exists`).

        `document` is the document as data, or its text: YAML, unless `content_type` says otherwise. `playbook_id` is
        for a document that has no id of its own.
        """
        params = _told(id=playbook_id)
        call = _document_call("/acts/playbooks", document, content_type, key=_new_key(), params=params)
        return self._transport.send(call).parsed(StoredPlaybook.from_answer)

    def add_version(self, playbook_id: str, document: Json | str, *, content_type: str = "") -> Version:
        """Add a draft. A document equal to the newest version makes none: that version is returned."""
        path = _path("acts", "playbooks", playbook_id, "versions")
        call = _document_call(path, document, content_type, key=_new_key())
        answer = self._transport.send(call)
        created = answer.status == 201
        return answer.parsed(lambda said: Version.from_answer(playbook_id, said, created=created))

    def version(self, playbook_id: str, number: int) -> Version:
        answer = self._get(_path("acts", "playbooks", playbook_id, "versions", number))
        return answer.parsed(lambda said: Version.from_answer(playbook_id, said, etag=answer.etag))

    def publish_version(self, playbook_id: str, version: int | Version, *, if_match: str = "") -> Version:
        """Freeze a draft: from now on it can be run and never changes. Raises Invalid.

        Given the `Version` that was read, not just its number: raises StaleRevision if it was edited since.
        """
        number, etag = (version.number, version.etag) if isinstance(version, Version) else (version, "")
        path = _path("acts", "playbooks", playbook_id, "versions", number, "publish")
        answer = self._change("POST", path, {}, if_match=if_match or etag)
        return answer.parsed(lambda said: Version.from_answer(playbook_id, said))

    def validate_playbook(self, document: Json | str, *, content_type: str = "") -> dict[str, Any]:
        """`{"valid", "publishable", "errors", "warnings", "notes", "digest"}`; nothing is stored.

        Errors and warnings are `{"code", "path", "line", "message", "remedy"}`.
        """
        call = _document_call("/acts/playbooks/validate", document, content_type, key=None)
        return self._transport.send(call).parsed(dict)

    def playbook_schema(self) -> dict[str, Any]:
        """The JSON Schema of playbook documents."""
        return self._get("/acts/playbooks/schema").parsed(dict)

    # --- requests to humans

    def requests(self, **filters: Any) -> Iterator[Request]:
        """Filters are those of the API: status (one, or a list of several), priority, agent_id …"""
        return self._list("/hitl/requests", filters, self._with_handles)

    def request(self, request_id: str, *, wait: int = 0) -> Request:
        """With `wait`, the server answers once the request is decided, or after so many seconds (at most 60)."""
        answer = self._get(_path("hitl", "requests", request_id), _given(wait=wait or None), patience=wait)
        return answer.parsed(lambda said: self._with_handles(said, etag=answer.etag))

    def create_request(
        self,
        *,
        title: str = "",
        request_type: str | None = None,
        description: str | None = None,
        required_fields: Json | None = None,
        form: Json | None = None,
        options: Sequence[Json] = (),
        priority: str | None = None,
        severity: str | None = None,
        context: Json | None = None,
        role: str | None = None,
        template: str | None = None,
        agent_id: str | None = None,
        workflow_id: str | None = None,
        proposal: Json | None = None,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> Request:
        """Ask people for something. What is left out, the template says: the one named, or that of the type.

        The answer is asked for by `required_fields` (name → description) or by a `form`, which is JSON Schema;
        `options` are outcomes to choose from: `{"key", "label", "ends"}`, `ends` being "fail" on one that rejects.
        `agent_id` is who asks, where that is not the caller itself; `more` is sent as it is. Asked again while it is
        open, the same question is the same request (`duplicate` is true then), also after a restart. `proposal` is what
        an approval permits: `{"playbook", "version"?, "payload"}`, or `{"call", "input", "executor"?}`.
        """
        told = _told(title=title)
        chosen = _given(
            request_type=request_type,
            description=description,
            required_fields=required_fields,
            form=form,
            options=list(options) or None,
            priority=priority,
            severity=severity,
            context=context,
            role=role,
            template=template,
            agent_id=agent_id,
            workflow_id=workflow_id,
        )
        body = {**told, **chosen, **(proposal or {}), **more}
        answer = self._change("POST", "/hitl/requests", body, key=idempotency_key)
        return answer.parsed(lambda said: Request.from_answer(said, etag=answer.etag))

    def cancel_request(self, request: str | Request, *, reason: str = "") -> Request:
        """Take a question back. Raises AlreadyDecided, Conflict where it is closed or a run's own."""
        path = _path("hitl", "requests", request if isinstance(request, str) else request.id, "cancel")
        return self._change("POST", path, _told(reason=reason)).parsed(Request.from_answer)

    def statistics(self, **filters: Any) -> dict[str, Any]:
        """What became of the requests: totals, times, shares. Filters are those of the API: `period`."""
        return self._get("/hitl/statistics", filters).parsed(dict)

    def events(
        self,
        types: Sequence[str] = (),
        *,
        after: str | None = None,
        wait: int = DEFAULT_WAIT_SECONDS,
        run_id: int | None = None,
        request_id: str | None = None,
    ) -> Iterator[Event]:
        """What happens, for ever, in order and without a gap; first what happened behind `after`, an event's id.

        Without `after` it begins now. Each call waits up to `wait` seconds for something to happen.
        """
        filters = _given(run_id=run_id, request_id=request_id)
        place = after if after is not None else self.newest_event()
        seconds = min(wait, LONGEST_WAIT_SECONDS)
        while True:
            params = {
                **_query({**filters, "after": place, "wait": seconds}),
                **({"type": list(types)} if types else {}),
            }
            answer = self._transport.send(Call("GET", "/acts/events", params=params, patience=seconds))
            yield from answer.parsed(lambda said: [Event.from_answer(one) for one in said["results"]])
            place = answer.parsed(lambda said: str(said["after"]))

    def newest_event(self) -> str:
        """Where the log ends now: what happens from now on is behind it."""
        return self._get("/acts/events", {"after": "now"}).parsed(lambda said: str(said["after"]))

    def fulfill(
        self,
        request: str | Request,
        *,
        response_data: Json | None = None,
        notes: str = "",
        outcome: str | None = None,
        fulfilled_by: str = "",
        revision: int | None = None,
        if_match: str = "",
    ) -> Request:
        """Approve, answer, provide. Raises AlreadyDecided; StaleRevision if it is no longer the `revision` named.

        Given the `Request` that was read, not just its id, it is decided as it was read, or not at all: by its ETag,
        or, out of a list, by its revision. `outcome` is for a request that offers other options than approval.
        Who decides is who this client speaks as; `fulfilled_by` is kept as what it is, a claim.
        """
        request_id, bond, if_match = _as_read(request, revision, if_match)
        body = {"response_data": response_data or {}, "notes": notes, **_given(outcome=outcome), **bond}
        body |= _told(fulfilled_by=fulfilled_by)
        path = _path("hitl", "requests", request_id, "fulfill")
        return self._change("POST", path, body, if_match=if_match).parsed(Request.from_answer)

    def reject(
        self,
        request: str | Request,
        *,
        reason: str,
        rejected_by: str = "",
        revision: int | None = None,
        if_match: str = "",
    ) -> Request:
        """Raises AlreadyDecided; StaleRevision if it is no longer what was read, or the `revision` named."""
        request_id, bond, if_match = _as_read(request, revision, if_match)
        body = {"reason": reason, **_told(rejected_by=rejected_by), **bond}
        path = _path("hitl", "requests", request_id, "reject")
        return self._change("POST", path, body, if_match=if_match).parsed(Request.from_answer)

    # --- receipts of approvals

    def receipt(self, request: str | Request) -> Receipt:
        """What an approval permits, signed. Raises NotFound where nothing was approved."""
        return self._get(_path("hitl", "requests", _id(request), "receipt")).parsed(Receipt.from_answer)

    def receipt_keys(self) -> dict[str, str]:
        """The public keys that prove receipts, by id, for `Receipt.verify`; without those that are trusted no more."""
        said = self._get("/hitl/receipt-keys").parsed(dict)
        return {key["id"]: key["public_key"] for key in said["keys"] if key["distrusted_at"] is None}

    def spend(
        self,
        request: str | Request,
        *,
        call: str = "",
        input: Json | None = None,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Use an approval for what you are about to do, and do it only if this returns.

        Raises ReceiptRefused, by whose `code` you know why: action_mismatch, receipt_spent, receipt_expired,
        receipt_held, receipt_revoked, receipt_untrusted.
        """
        path = _path("hitl", "requests", _id(request), "spend")
        body = {**_told(call=call), **_given(input=input)}
        return self._change("POST", path, body, key=idempotency_key).parsed(Receipt.from_answer)

    def revoke_receipt(self, request: str | Request, *, reason: str) -> Receipt:
        """Take back an approval that nobody has used. Raises Conflict if somebody has."""
        path = _path("hitl", "requests", _id(request), "revoke")
        return self._change("POST", path, {"reason": reason}).parsed(Receipt.from_answer)

    def undo(self, request: str | Request, *, reason: str = "") -> Request:
        """Undo an approval that is held: the request that asks the same again. Raises Conflict (`too_late_to_undo`)."""
        path = _path("hitl", "requests", _id(request), "undo")
        return self._change("POST", path, _told(reason=reason)).parsed(Request.from_answer)

    # --- how it is said

    def _get(self, path: str, params: Mapping[str, Any] | None = None, *, patience: float = 0.0) -> Answer:
        return self._transport.send(Call("GET", path, params=_query(params or {}), patience=patience))

    def _change(
        self,
        method: str,
        path: str,
        body: Json,
        *,
        key: str | None = None,
        if_match: str = "",
        retry: Retry | None = None,
    ) -> Answer:
        headers = _headers(key=key or _new_key(), if_match=if_match)
        return self._transport.send(Call(method, path, encoded(body), headers=headers), retry=retry)

    def _list(self, path: str, filters: Mapping[str, Any], parse: Callable[[Json], T]) -> Iterator[T]:
        params: Mapping[str, str | list[str]] | None = _query(filters)
        while params is not None:
            page = self._get(path, params)
            yield from page.parsed(lambda said: [parse(one) for one in said["results"]])
            # Only the query of `next` is used: behind a proxy its host may be one that we cannot reach,
            # and no answer may send our credentials to another address.
            following = page.body.get("next")
            params = {**parse_qs(urlsplit(following).query)} if following else None

    def _task_act(self, task: int | Task, act: str, told: Json, token: str | None, parse: Callable[[Any], T]) -> T:
        held = self._held(task, token)
        # A token says more than an ETag: who lost it should hear just that, and not that something changed.
        if_match = "" if held else _etag(task)
        path = _path("acts", "tasks", _number(task), act)
        return self._change("POST", path, {**held, **told}, if_match=if_match).parsed(parse)

    def _lease_act(self, task: int | Task, act: str, token: str | None, retry: Retry | None) -> Lease:
        path = _path("acts", "tasks", _number(task), act)
        answer = self._change("POST", path, self._held(task, token), retry=retry)
        return answer.parsed(lambda said: Lease.from_answer(said, at=answer.at))

    def _held(self, task: int | Task, token: str | None) -> dict[str, str]:
        own = "" if isinstance(task, int) else task.token
        known = token or own or self._task_tokens.recall(_number(task))
        return {"token": known} if known else {}


class _TaskTokens:
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


def _new_key() -> str:
    return str(uuid4())


def _path(*parts: str | int) -> str:
    return "/" + "/".join(quote(str(part), safe="") for part in parts)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _told(**texts: str) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}


def _query(filters: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """As JSON writes them, so that True is `true`; a list is asked for value by value, and None not at all."""
    return {
        name: [_word(each) for each in value] if isinstance(value, (list, tuple)) else _word(value)
        for name, value in filters.items()
        if value is not None
    }


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str).strip('"')


def encoded(body: Any) -> bytes:
    """Raises ValueError for what JSON cannot say: NaN, infinity, half a surrogate pair."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _headers(*, content_type: str = JSON, key: str | None = None, if_match: str = "") -> dict[str, str]:
    """A call that changes nothing has no `key`."""
    return {"Content-Type": content_type, **_told(**{"Idempotency-Key": key or "", "If-Match": if_match})}


def _document_call(
    path: str, document: Json | str, content_type: str, *, key: str | None, params: Mapping[str, str] | None = None
) -> Call:
    """A text is sent as it is, so that the server's remarks name the lines its author sees."""
    is_text = isinstance(document, str)
    content = document.encode() if isinstance(document, str) else encoded(document)
    headers = _headers(content_type=(content_type or YAML) if is_text else JSON, key=key)
    return Call("POST", path, content, params=params or {}, headers=headers)


def _number(named: int | Run | Task) -> int:
    return named if isinstance(named, int) else named.id


def _etag(named: int | Run | Task) -> str:
    """What it was when it was read; "" where only its number is known."""
    return "" if isinstance(named, int) else named.etag


def _id(named: str | Request) -> str:
    return named if isinstance(named, str) else named.id


def _as_read(request: str | Request, revision: int | None, if_match: str) -> tuple[str, dict[str, Any], str]:
    """(id, the revision to decide on as the body says it, the ETag to decide under)."""
    if isinstance(request, str):
        return request, _given(revision=revision), if_match
    if_match = if_match or request.etag
    known = revision if revision is not None or if_match else request.revision
    return request.id, _given(revision=known), if_match


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
