# SPDX-License-Identifier: Apache-2.0
"""What each command of `hms-act` does: one call of the client, and what of its answer is shown.

A command reads its arguments and returns; it neither prints its result nor decides how an error looks.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from hms_act.answers import Request, Run, Task
from hms_act.client import Client
from hms_act.errors import FieldError, StaleRevision
from hms_act.playbook import content_type_of, document_id, save_document
from hms_act.state import State
from hms_act.text import plain, table

DONE, REFUSED = 0, 1
RESOLVED = {"retry": "tried again", "skip": "left out", "fail": "let fail"}


class UsageError(Exception):
    """What was typed cannot be meant."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a command has to show: to people, and with --json to programs."""

    text: str
    data: Any
    code: int = DONE


@dataclass(frozen=True, slots=True)
class Session:
    client: Client
    state: State


Command = Callable[[Session, argparse.Namespace], Shown | Iterator[Shown]]  # one after the other, as they come


def run(session: Session, args: argparse.Namespace) -> Shown:
    playbook = int(args.playbook) if args.playbook.isdecimal() else args.playbook
    started = session.client.start_run(
        playbook, payload=_json_argument(args.payload), version=args.version, labels=dict(args.label) or None
    )
    if not args.wait:
        return Shown(f"Run {started.id}: {plain(started.status)}", dict(started.raw))
    print(f"Run {started.id}: waiting for its end (Ctrl-C leaves it running)", file=sys.stderr)
    ended = session.client.wait_for_run(started.id)
    code = DONE if ended.status == "completed" else REFUSED
    return Shown(f"Run {ended.id}: {plain(ended.status)}", dict(ended.raw), code)


def terminate(session: Session, args: argparse.Namespace) -> Shown:
    run = session.client.terminate_run(args.run, reason=args.reason)
    return Shown(f"Run {run.id}: {plain(run.status)}", dict(run.raw))


def signal(session: Session, args: argparse.Namespace) -> Shown:
    data = _json_argument(args.data) if args.data is not None else None
    run = session.client.send_signal(args.run, args.name, data)
    return Shown(f"Run {run.id}: {plain(args.name)} was sent; {plain(run.status)}", dict(run.raw))


def incidents(session: Session, args: argparse.Namespace) -> Shown:
    tasks = list(session.client.tasks(status="incident", unresolved=True, run=args.run, role=args.role))
    rows = [(one.id, one.run_id, one.path, _minute(one.ended_at), _fault(one)) for one in tasks]
    text = table(("TASK", "RUN", "WHERE", "SINCE (UTC)", "WHY"), rows) if rows else "Nothing waits for an operator"
    return Shown(text, [dict(one.raw) for one in tasks])


def _fault(task: Task) -> str:
    return ": ".join(part for part in (task.error_type, task.error_message) if part) or task.retry_reason


def resolve(session: Session, args: argparse.Namespace) -> Shown:
    output = _json_argument(args.output) if args.output is not None else None
    task = session.client.resolve_incident(args.task, args.resolution, reason=args.reason, output=output)
    return Shown(f"Task {task.id}: {RESOLVED[args.resolution]}", dict(task.raw))


def claim(session: Session, args: argparse.Namespace) -> Shown:
    task = session.client.next_task(args.role, wait=args.wait)
    if task is None:
        return Shown(f"No task for {plain(args.role)}", None)
    session.state.keep_token(task.id, task.token)
    held = {"fence": task.fence, "expires_at": task.expires_at and task.expires_at.isoformat()}
    return Shown(_task_text(task), {"task": dict(task.raw), **held})


def complete(session: Session, args: argparse.Namespace) -> Shown:
    output = _json_argument(args.output) if args.output is not None else None
    token = session.state.token(args.task)
    task = session.client.complete_task(args.task, args.outcome, output, args.note, token=token)
    return Shown(f"Task {args.task}: {plain(task.outcome or args.outcome)}", dict(task.raw))


def inbox(session: Session, args: argparse.Namespace) -> Shown:
    """The oldest first, as they should be answered; what a colleague has claimed still waits."""
    requests = list(session.client.requests(status=["pending", "in_review"], order="created_at"))
    rows = [(one.id, one.priority, one.role, _minute(one.created_at), one.title) for one in requests]
    header = ("REQUEST", "PRIORITY", "ROLE", "SINCE (UTC)", "TITLE")
    text = table(header, rows) if rows else "Nothing is waiting"
    return Shown(text, [dict(one.raw) for one in requests])


def approve(session: Session, args: argparse.Namespace) -> Shown:
    told = {"response_data": _json_argument(args.data), "notes": args.note, "outcome": args.outcome}
    return _decided(session, args, session.client.fulfill, told)


def reject(session: Session, args: argparse.Namespace) -> Shown:
    return _decided(session, args, session.client.reject, {"reason": args.reason})


def cancel(session: Session, args: argparse.Namespace) -> Shown:
    if isinstance(args.what, int):
        run = session.client.cancel_run(args.what, reason=args.reason)
        return Shown(f"Run {run.id}: {plain(run.status)}", dict(run.raw))
    request = session.client.cancel_request(args.what, reason=args.reason)
    session.state.forget_shown_etag(request.id)
    return Shown(f"{plain(request.id)}: {plain(request.status)}", dict(request.raw))


def _decided(
    session: Session, args: argparse.Namespace, decide: Callable[..., Request], told: Mapping[str, Any]
) -> Shown:
    """Under the ETag that `show` last saw, so that nobody decides what they have not seen; else under today's."""
    etag = session.state.shown_etag(args.request) or session.client.request(args.request).etag
    try:
        answered = decide(args.request, **told, revision=args.revision, if_match=etag)
    except StaleRevision as error:
        detail = f"{args.request} has changed since it was read: hms-act show {args.request}, then decide again"
        raise StaleRevision(replace(error.problem, detail=detail)) from error
    session.state.forget_shown_etag(args.request)
    return Shown(f"{plain(answered.id)}: {plain(answered.status)}", dict(answered.raw))


def show(session: Session, args: argparse.Namespace) -> Shown:
    if isinstance(args.what, int):
        run = session.client.run(args.what)
        return Shown(_run_text(run), dict(run.raw))
    request = session.client.request(args.what)
    session.state.keep_shown_etag(request.id, request.etag)
    return Shown(_request_text(request), dict(request.raw))


def login(session: Session, args: argparse.Namespace) -> Shown:
    username = args.username or input("User name: ")
    password = sys.stdin.readline().rstrip("\r\n") if args.password_stdin else getpass.getpass()
    session.state.keep_log_in(session.client.log_in(username, password))
    note = "; HMS_ACT_TOKEN is set and goes before it" if os.environ.get("HMS_ACT_TOKEN") else ""
    text = f"Logged in to {session.client.url} as {plain(username)}{note}"
    return Shown(text, {"url": session.client.url, "username": username})


def logout(session: Session, args: argparse.Namespace) -> Shown:
    known = session.state.forget_log_in()
    text = f"Logged out of {session.client.url}" if known else f"There was no log-in to {session.client.url}"
    return Shown(text, {"url": session.client.url, "logged_in": False})


def validate(session: Session, args: argparse.Namespace) -> Shown:
    """Nothing is stored. What would be refused is told before what is only odd."""
    judged = session.client.validate_playbook(_file_text(args.file), content_type=content_type_of(args.file))
    lines = [
        f"{level}: {plain(FieldError.from_answer(each))}{_in_brackets(each)}"
        for level in ("error", "warning")
        for each in judged.get(f"{level}s") or ()
    ]
    good = bool(judged.get("publishable"))
    verdict = "It can be published." if good else "It cannot be published."
    return Shown("\n".join([*lines, verdict]), judged, DONE if good else REFUSED)


def push(session: Session, args: argparse.Namespace) -> Shown:
    content_type, document = content_type_of(args.file), _file_text(args.file)
    playbook_id = args.id or document_id(document, content_type) or Path(args.file).stem
    version = save_document(
        playbook_id, document, content_type=content_type, publish=not args.no_publish, client=session.client
    )
    news = "new" if version.created else "unchanged"
    lines = [f"{plain(playbook_id)} version {version.number}: {plain(version.state)} ({news})"]
    lines += [f"warning: {plain(warning)}" for warning in version.warnings]
    return Shown("\n".join(lines), {"playbook": playbook_id, "created": version.created, **version.raw})


# --- what was typed


def _json_argument(argument: str) -> Any:
    text = _file_text(argument[1:]) if argument.startswith("@") else argument
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise UsageError(f"{argument} is not JSON: {error}") from error


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _file_text(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"cannot read {name}: {reason}") from error


def _in_brackets(finding: Any) -> str:
    code = FieldError.from_answer(finding).code
    return f" [{plain(code)}]" if code else ""


# --- what is shown


def _task_text(task: Task) -> str:
    until = f"{task.expires_at:%Y-%m-%d %H:%M:%S} UTC" if task.expires_at else "an unknown time"
    facts = {
        "run": f"{task.run_id}, attempt {task.attempt}",
        "role": task.role,
        "call": " ".join(part for part in (task.call, _compact(task.arguments)) if part),
        "payload": _compact(task.payload),
        "data": _compact(task.data),
        "yours until": until,
    }
    return _facts_text(f"Task {task.id}: {task.step}", facts)


def _request_text(request: Request) -> str:
    """All that is asked, nothing shortened; of the answer who gave it and why, but no data, which may be secret."""
    facts = {
        "status": request.status,
        "revision": request.revision,
        "run": request.run_id,
        "role": request.role,
        "asked by": request.agent_id,
        "since (UTC)": _minute(request.created_at),
        "priority": request.priority,
        "description": request.description,
        "fields": _compact(request.required_fields),
        "options": _compact(request.raw.get("options")),
        "context": _compact(request.context),
        "answer": request.outcome,
        "given by": request.fulfilled_by,
        "because": request.notes or request.rejection_reason,
    }
    return _facts_text(f"Request {request.id}: {request.title}", facts)


def _facts_text(heading: str, facts: Mapping[str, Any]) -> str:
    lines = [f"  {name:<12} {plain(value)}" for name, value in facts.items() if value]
    return "\n".join([plain(heading), *lines])


def _minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""


def _run_text(found: Run) -> str:
    version = f" v{found.version}" if found.version is not None else ""
    of = f" (started by run {found.parent_run})" if found.parent_run is not None else ""
    steps = [
        (name, step.get("status"), step.get("outcome") or _items(step.get("items")), _count(step.get("attempts")))
        for name, step in found.steps.items()
    ]
    stuck = [(one.get("task"), one.get("path"), one.get("reason")) for one in found.incidents]
    children = [(one.get("run_id"), one.get("path"), one.get("status")) for one in found.child_runs]
    log = [(line.get("t"), line.get("step"), line.get("status")) for line in found.log]
    tables = (
        (("STEP", "STATUS", "OUTCOME", "ATTEMPTS"), steps),
        (("INCIDENT", "WHERE", "WHY"), stuck),
        (("CHILD RUN", "WHERE", "STATUS"), children),
        (("TIME", "STEP", "STATUS"), log),
    )
    heading = f"Run {found.id}: {plain(found.playbook)}{version}, {plain(found.status)}{of}"
    return "\n\n".join([heading, *(table(header, rows) for header, rows in tables if rows)])


def _items(states: Any) -> str:
    """Of a step inside a foreach step: how many items stand where."""
    return ", ".join(f"{count} {state}" for state, count in states.items()) if isinstance(states, dict) else ""


def _count(attempts: Any) -> Any:
    return len(attempts) if isinstance(attempts, list) else attempts
