# SPDX-License-Identifier: Apache-2.0
"""Proposals: what a request without a run asks leave to do, checked when it is asked and again before it is done.

    {"playbook": slug, "version": 3, "version_sha256": …, "payload": {…}}       a run, started by the approval
    {"call": name, "input": {…}, "call_sha256": …, "playbook": …, "version": …} one call, as a run of one step
    {"call": name, "input": {…}}                                               a call that whoever asks makes

The action is frozen with the request, by digest: the version it runs on and, for a call of a connector, what the
connector was set up to do. Where any of it has changed since, the approval is of something else, and is void.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounts.models import User
from approvals.changes import Changed, changes_between
from approvals.models.receipts import Executor
from audit.canonical import digest
from audit.shown import made_visible
from config.errors import Forbidden, Invalid, Problem, Refused
from playbooks import catalogue, one_call
from playbooks.models import Connector, Version, VersionState
from playbooks.payloads import payload_problems
from runs.models import Run

MAY_START = "runs.start"
TERMS = ("method", "url", "query_url", "headers", "verdict_statuses", "secret_ref", "secret_header", "signing_ref")
"""Fields of a connector that say what a call of it does."""
LOOKED_BACK = 100  # changes of a connector, for the one that a proposal was made under


class ProposalVoid(Refused):
    """What was proposed has changed since it was asked, so an approval would be of something else. Ask anew."""

    code = "proposal_void"


# Asking ---------------------------------------------------------------------------------------------------


def checked(actor: User, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The action of `{playbook, version?, payload}` or `{call, input, executor?}`; None if neither is named.

    Raises Forbidden without `runs.start`, and Invalid for what could not be done if it were approved now.
    """
    playbook, call = given.get("playbook"), given.get("call")
    if playbook and call:
        told = Problem("call", "beside a playbook", "Propose a playbook, or a call.")
        raise Invalid("A request proposes one thing.", errors=[told])
    if not playbook and not call:
        _refuse_lonely(given)
        return None
    if given.get("executor") == Executor.CALLER:
        return _by_caller(call, given)
    if not actor.has_perm(MAY_START):
        raise Forbidden("You may not propose what would be started in your name: you lack the permission runs.start.")
    return _a_run(str(playbook), given) if playbook else _a_call(str(call), given, actor)


def _refuse_lonely(given: Mapping[str, Any]) -> None:
    named = [name for name in ("version", "payload", "input", "executor") if given.get(name) not in (None, {}, "")]
    if named:
        remedy = "Name the playbook, or the call, that it is for."
        problems = [Problem(name, "of nothing that is proposed", remedy) for name in named]
        raise Invalid("The request proposes nothing that this could be for.", errors=problems)


def _by_caller(call: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    if not call:
        told = Problem("executor", "a playbook runs here", "Leave it out, or propose a call.")
        raise Invalid("Whoever asks cannot run a playbook.", errors=[told])
    return {"call": call, "input": dict(given.get("input") or {})}


def _a_run(slug: str, given: Mapping[str, Any]) -> dict[str, Any]:
    version = _published(slug, given.get("version"))
    payload = dict(given.get("payload") or {})
    _refuse_unfit(version, payload)
    return {**_facts(version), "payload": payload}


def _a_call(name: str, given: Mapping[str, Any], actor: User) -> dict[str, Any]:
    version = one_call.ensured(name, actor=actor)
    return {"call": name, "input": dict(given.get("input") or {}), "call_sha256": _set_up(name), **_facts(version)}


def _published(slug: str, number: int | None) -> Version:
    found = Version.objects.select_related("playbook").filter(playbook__slug=slug, state=VersionState.PUBLISHED)
    wanted = found if number is None else found.filter(number=number)
    version = wanted.order_by("-number").first()
    if version is None and number is not None:
        remedy = "Name a published one, or leave it out for the newest."
        raise Invalid(f"{slug!r} has no such version to run.", errors=[Problem("version", "not published", remedy)])
    if version is None or one_call.is_one_call(slug):
        remedy = "GET /acts/playbooks lists the playbooks."
        raise Invalid(
            f"There is no playbook {slug!r} to run.", errors=[Problem("playbook", "unknown playbook", remedy)]
        )
    return version


def refuse_edit(action: Mapping[str, Any]) -> None:
    """What a proposal is changed into must fit its version. Raises Invalid."""
    if "payload" in action:
        _refuse_unfit(
            Version.objects.get(playbook__slug=action["playbook"], number=action["version"]), action["payload"]
        )


def _refuse_unfit(version: Version, payload: Mapping[str, Any]) -> None:
    problems = payload_problems(version.definition.payload_schema, payload)
    if problems:
        raise Invalid("The payload does not fit the playbook's form.", errors=problems)


def _facts(version: Version) -> dict[str, Any]:
    return {"playbook": version.playbook.slug, "version": version.number, "version_sha256": version.digest}


def _set_up(name: str) -> str:
    """The digest of what a connector is set up to do; "" for code of this installation, which comes with a release.

    Its secrets are in it by their references alone, and whether it is switched on just now is not.
    """
    connector = Connector.objects.filter(name=name).first()
    return "" if connector is None or catalogue.is_code(name) else digest(_terms(connector))


def _terms(connector: Any) -> dict[str, Any]:
    """Of a connector, or of one as it was."""
    return {field: getattr(connector, field) for field in TERMS}


# Before it is done ----------------------------------------------------------------------------------------


def executor_of(request: Any) -> str:
    """Who does what an approval of this request permits."""
    if request.task_id is not None:
        return Executor.STEP
    return Executor.ENGINE if request.action and "version" in request.action else Executor.CALLER


def sentence(request: Any) -> str:
    """What an approval of a proposal does, for people, said by the server from what it would do."""
    action, asker = request.action, made_visible(request.requester.get_username())
    if executor_of(request) == Executor.CALLER:
        return f"{asker} may call {made_visible(action['call'])}, with exactly this input. Nothing starts here."
    if "call" in action:
        return f"{made_visible(action['call'])} is called once, in the name of {asker}, with exactly this input."
    name = f"{made_visible(action['playbook'])} version {action['version']}"
    return f"A run of {name} starts once, in the name of {asker}, with exactly this payload."


def startable(request: Any) -> Version:
    """The version that the proposal starts. Raises ProposalVoid, with what has changed since it was asked."""
    action, requester = request.action, request.requester
    version = Version.objects.select_related("playbook").filter(
        playbook__slug=action["playbook"], number=action["version"]
    ).first()  # fmt: skip
    why = _why_void(action, version, requester)
    if why or version is None:
        changes = [one.as_json() for one in changes_since(action)]
        raise ProposalVoid(
            f"It cannot be started any more: {why}. Reject it, or let it be asked anew.",
            subject=request,
            extra={"changes": changes},
        )
    return version


def _why_void(action: Mapping[str, Any], version: Version | None, requester: User) -> str:
    if version is None or version.digest != action["version_sha256"]:
        return f"version {action['version']} of {action['playbook']} is another than was proposed"
    if version.state != VersionState.PUBLISHED:
        return f"version {action['version']} of {action['playbook']} is {version.state}"
    if "call" in action and _set_up(action["call"]) != action["call_sha256"]:
        return f"the connector {action['call']} was changed since this was proposed"
    if not requester.is_active:
        return f"the account of {requester.get_username()}, in whose name it would start, is not active"
    if not requester.has_perm(MAY_START):
        return f"{requester.get_username()}, in whose name it would start, may start nothing any more"
    return ""


def changes_since(action: Mapping[str, Any]) -> list[Changed]:
    """How the connector that is to be called differs from what it was when this was proposed, as far as is kept."""
    now = Connector.objects.filter(name=action.get("call", "")).first()
    if now is None or digest(_terms(now)) == action.get("call_sha256"):
        return []
    earlier = map(_terms, Connector.history.filter(id=now.pk).order_by("-history_date", "-history_id")[:LOOKED_BACK])
    was = next((terms for terms in earlier if digest(terms) == action.get("call_sha256")), None)
    return [] if was is None else changes_between(was, _terms(now))


def payload_of(action: Mapping[str, Any]) -> dict[str, Any]:
    """What the run is started with."""
    return dict(action["input"] if "call" in action else action["payload"])


def effective_in(run: Run) -> dict[str, Any]:
    """The action that a run really is, computed anew from its rows, and from the connector as it is now."""
    facts, slug = _facts(run.version), run.version.playbook.slug
    if not one_call.is_one_call(slug):
        return {**facts, "payload": run.payload}
    (step,) = run.version.definition.steps
    assert step.call is not None, "its one step is a call"
    name = step.call.action
    return {"call": name, "input": run.payload, "call_sha256": _set_up(name), **facts}
