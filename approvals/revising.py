# SPDX-License-Identifier: Apache-2.0
"""Asking anew: a revision of what is asked, and the talk that leads to one (a question back, changes wanted).

A change to what is asked is a new revision with another digest. It voids the votes on the one before in the same
transaction, and whoever makes it is a maker of what is asked from then on; but for changes that only narrow, in ways
that the policy names.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from accounts.models import User
from approvals import notify, policy, policy_document, proposals, rights
from approvals.binding import what_is_asked
from approvals.changes import changes_between, only_narrows
from approvals.claiming import CLAIM_FIELDS
from approvals.models import OPEN_REQUESTS, ActionRequest, RequestState, Revision
from approvals.reading import locked, refuse_unless_current, refuse_unless_open
from audit import actions
from audit.canonical import digest
from audit.services import SYSTEM, Line, act, record, transitioned
from config import clock
from config.errors import Forbidden, Invalid, Problem, WrongState

EDITABLE = ("title", "description", "asked", "action")
MOVED = ("stage", "exchange", "paused_seconds", "follow_up_at", "due_at", "expires_at", "timetable")
MAX_EXCHANGE = 100  # questions and answers on one request
MAX_TEXT = 10_000  # characters of each


# A new revision -------------------------------------------------------------------------------------------


@act(actions.REQUEST_REVISE_DENIED)
def revise_request(
    *, request_id: str, actor: User, changes: Mapping[str, Any], reason: str = "", revision: int | None = None
) -> ActionRequest:
    """Ask something else instead: `changes` may hold title, description, context, payload and input.

    For whoever asked, and for deciders where the policy allows edits. Raises NotFound, Forbidden, StaleRevision,
    WrongState, Invalid.
    """
    request = locked(request_id, actor)
    if request.state not in OPEN_REQUESTS:
        refuse_unless_open(request)
    refuse_unless_current(request, revision)
    rules = rights.rules_of(request)
    _refuse_editor(request, actor, rules)
    wanted = _wanted(request, changes)
    if not changes_between({name: getattr(request, name) for name in wanted}, wanted):
        raise Invalid("Nothing of what is asked would change.", errors=[Problem("", "no change", "Change something.")])
    at = clock.now()
    if request.revision == 1:
        first_revision(request).save()
    line, made = revised(request, wanted, by=actor, reason=reason, at=at, rules=rules)
    made.save()
    request.save(update_fields=[*CLAIM_FIELDS, *EDITABLE, *MOVED, "revision", "policy", "digest"])
    notify.tell(None, request, notify.REVISED, [one["id"] for one in request.eligible], at)
    record([line])
    return request


def _refuse_editor(request: ActionRequest, actor: User, rules: policy.Policy) -> None:
    if actor.pk == request.requester_id:
        return
    if not rules.edits.allowed:
        raise Forbidden("Only whoever asked may change what is asked.", subject=request)
    rights.refuse_unless_may_decide(request, actor)


def _wanted(request: ActionRequest, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the request as they shall be. Raises Invalid."""
    known = {"title", "description", "context"} | (set(request.action or {}) & {"payload", "input"})
    unknown = sorted(set(changes) - known)
    if unknown:
        remedy = f"Here {', '.join(sorted(known))} can be changed."
        raise Invalid("This cannot be changed.", errors=[Problem(name, "not editable", remedy) for name in unknown])
    wanted = {name: changes[name] for name in ("title", "description") if name in changes}
    if "context" in changes:
        wanted["asked"] = {**request.asked, "context": changes["context"]}
    if request.action is not None:
        wanted["action"] = {
            **request.action,
            **{name: changes[name] for name in ("payload", "input") if name in changes},
        }
        proposals.refuse_edit(wanted["action"])
    return wanted


def revised(
    request: ActionRequest,
    wanted: Mapping[str, Any],
    *,
    by: Any,
    reason: str,
    at: datetime,
    rules: policy.Policy,
) -> tuple[Line, Revision]:
    """Make the next revision of a request in memory: the line to record, and the row to add. `by` None: the product."""
    before, stage = what_is_asked(request), request.stage
    after = _content(request, wanted, rules)
    changed = [one for one in changes_between(before, after) if one.path != "revision"]
    keeps_votes = only_narrows(_narrowable(before), _narrowable(after), rules.edits.narrowing)
    given = {"changes": {**wanted, "policy": after["policy"]}, "digest": digest(after)}
    facts = {"revision": after["revision"], "content_hash": given["digest"], "keeps_votes": keeps_votes}
    private = {"changes": [one.as_json() for one in changed]}
    line = transitioned(
        request.revise, given, actor=SYSTEM if by is None else by, at=at, note=reason, data=facts, private=private
    )
    if keeps_votes:
        request.stage = stage
    return line, Revision(
        request=request,
        number=request.revision,
        made_by=by,
        made_at=at,
        reason=reason,
        content=after,
        digest=request.digest,
        changes=private["changes"],
        keeps_votes=keeps_votes,
    )


def first_revision(request: ActionRequest) -> Revision:
    """What was asked first, kept once there is another."""
    assert request.revision == 1
    return Revision(
        request=request,
        number=1,
        made_by_id=request.requester_id,
        made_at=request.created_at,
        content=what_is_asked(request),
        digest=request.digest,
    )


def _content(request: ActionRequest, wanted: Mapping[str, Any], rules: policy.Policy) -> dict[str, Any]:
    said = {**what_is_asked(request), **wanted, "revision": request.revision + 1}
    return {**said, "policy": policy_document.as_json(rules)}


def _narrowable(content: Mapping[str, Any]) -> dict[str, Any]:
    """What edits are about: the action's own fields, and the context, by the names that policies use."""
    action = content.get("action") or {}
    rest = {name: content[name] for name in ("title", "description")}
    return {**rest, **action, "context": content["asked"].get("context", {})}


# Talk -----------------------------------------------------------------------------------------------------


@act(actions.REQUEST_TALK_DENIED)
def request_info(*, request_id: str, actor: User, question: str) -> ActionRequest:
    """Ask whoever asked. Until they answer, nobody decides and the clock stands. For those who may decide.

    Raises NotFound, AlreadyDecided, WrongState, RoleRequired, Forbidden, Invalid.
    """
    request = _for_talk(request_id, actor, question)
    at = clock.now()
    line = transitioned(request.request_info, actor=actor, at=at, note=question)
    return _talked(request, line, "question", actor, question, tell="info_requested")


@act(actions.REQUEST_TALK_DENIED)
def answer_info(*, request_id: str, actor: User, answer: str) -> ActionRequest:
    """Answer the question; deadlines move by as long as the clock stood. For whoever asked, or started the run.

    Raises NotFound, WrongState, Forbidden, Invalid.
    """
    _refuse_text(answer, "answer")
    request = locked(request_id, actor)
    if request.state != RequestState.INFO_REQUESTED:
        raise WrongState("Nothing is asked back here now.", subject=request)
    if actor.pk not in {request.requester_id, request.run.started_by_id if request.run else None}:
        raise Forbidden("Only whoever asked can answer this.", subject=request)
    line = transitioned(request.resume, actor=actor, at=clock.now(), note=answer)
    return _talked(request, line, "answer", actor, answer, tell="answered")


@act(actions.REQUEST_TALK_DENIED)
def request_changes(*, request_id: str, actor: User, feedback: str) -> ActionRequest:
    """Say what would have to be otherwise; whoever asked sends a new revision, or takes it back. No rejection.

    Raises NotFound, AlreadyDecided, WrongState, RoleRequired, Forbidden, Invalid.
    """
    request = _for_talk(request_id, actor, feedback)
    line = transitioned(request.request_changes, actor=actor, at=clock.now(), note=feedback)
    return _talked(request, line, "changes", actor, feedback, tell="changes_requested")


def _for_talk(request_id: str, actor: User, text: str) -> ActionRequest:
    _refuse_text(text, "text")
    request = locked(request_id, actor)
    refuse_unless_open(request, at=clock.now())
    rights.refuse_unless_may_decide(request, actor)
    if len(request.exchange) >= MAX_EXCHANGE:
        raise WrongState("Enough has been asked: decide, or reject with a reason.", subject=request)
    return request


def _refuse_text(text: str, name: str) -> None:
    if not text.strip():
        raise Invalid("There is nothing in it.", errors=[Problem(name, "empty", "Write a sentence.")])
    if len(text) > MAX_TEXT:
        raise Invalid("It is too long.", errors=[Problem(name, "too long", f"Use {MAX_TEXT} characters at most.")])


def _talked(request: ActionRequest, line: Line, kind: str, actor: User, text: str, *, tell: str) -> ActionRequest:
    said = {"kind": kind, "by": actor.get_username(), "at": line.at.isoformat(), "text": text}
    request.exchange = [*request.exchange, said]
    request.save(update_fields=[*CLAIM_FIELDS, *MOVED])
    asks_requester = kind != "answer"
    people = [request.requester_id] if asks_requester else [one["id"] for one in request.eligible]
    notify.tell(None, request, tell, people, line.at)
    record([line])
    return request
