# SPDX-License-Identifier: Apache-2.0
"""Standing rules: approvals given beforehand, by two people, for requests like these, so often and until then.

A request that one answers is recorded in full like any other: it is made, and approved a moment later by the product
in the name of the rule. Each rule is visible, bounded and expires.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from accounts.models import User
from approvals import notify
from approvals.models import ActionRequest, RuleState, Severity, StandingRule
from approvals.policies import MANAGE
from approvals.policy import SEVERITIES
from audit import actions
from audit.services import SYSTEM, Line, act, record, transitioned
from config import clock
from config.errors import Forbidden, Invalid, NotFound, Problem, WrongState
from playbooks import expressions

LONGEST = timedelta(days=90)
MOST_USES = 1000
HIGHEST = Severity.MEDIUM  # of more harm than this, people decide each time
NAMES = ("asked", "action", "title", "severity", "agent")
BATCH = 100


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a standing rule would say."""

    title: str
    reason: str
    role: str
    valid_until: datetime
    max_uses: int
    request_type: str = ""
    agent: User | None = None
    playbook: str = ""
    step: str = ""
    max_severity: str = Severity.LOW
    when: str = ""


# Acts -----------------------------------------------------------------------------------------------------


@act(actions.STANDING_RULE_CHANGE_DENIED)
def propose_rule(*, actor: User, proposal: Proposal) -> StandingRule:
    """Propose a rule; another person has to activate it. Raises Forbidden, Invalid."""
    _require(actor)
    at = clock.now()
    _refuse_unbounded(proposal, at)
    rule = StandingRule.objects.create(
        **{name: getattr(proposal, name) for name in Proposal.__slots__},
        valid_from=at,
        proposed_by=actor,
        proposed_at=at,
        next_check_at=proposal.valid_until,
    )
    facts = {"max_uses": rule.max_uses, "until": rule.valid_until.isoformat(), "max_severity": rule.max_severity}
    line = Line(
        actions.STANDING_RULE_PROPOSED, rule.audit_subject(), actor, at, to_state=RuleState.PROPOSED,
        note=proposal.reason, data=facts, private={"title": rule.title, "when": rule.when},
    )  # fmt: skip
    record([line])
    return rule


@act(actions.STANDING_RULE_CHANGE_DENIED)
def activate_rule(*, actor: User, rule_id: int) -> StandingRule:
    """The second person's yes: from now on it answers. Raises Forbidden (also to who proposed it), WrongState."""
    _require(actor)
    rule, at = _locked(rule_id), clock.now()
    if rule.proposed_by_id == actor.pk:
        raise Forbidden("You proposed this rule, so somebody else must activate it.", subject=rule)
    if rule.valid_until <= at:
        raise WrongState("Its time is over.", subject=rule)
    line = transitioned(rule.activate, {"by": actor}, actor=actor, at=at)
    rule.save(update_fields=["state", "activated_by", "activated_at", "next_check_at"])
    record([line])
    return rule


@act(actions.STANDING_RULE_CHANGE_DENIED)
def revoke_rule(*, actor: User, rule_id: int, reason: str = "") -> StandingRule:
    """It answers nothing any more. Revoking twice is revoking once. Raises Forbidden, NotFound, WrongState."""
    _require(actor)
    rule = _locked(rule_id)
    if rule.state == RuleState.REVOKED:
        return rule
    line = transitioned(rule.revoke, actor=actor, at=clock.now(), note=reason)
    rule.save(update_fields=["state", "ended_at", "next_check_at"])
    record([line])
    return rule


def use_rule(rule_id: int, request: ActionRequest, at: datetime) -> tuple[StandingRule, list[Line]] | None:
    """Count one use, in the caller's transaction; None if the rule answers no more. The last use expires it."""
    rule = StandingRule.objects.select_for_update().get(pk=rule_id)
    if rule.state != RuleState.ACTIVE or rule.valid_until <= at or rule.uses >= rule.max_uses:
        return None
    rule.uses += 1
    facts = {"request": request.pk, "uses": rule.uses, "of": rule.max_uses}
    lines = [Line(actions.STANDING_RULE_USED, rule.audit_subject(), SYSTEM, at, data=facts)]
    if rule.uses == rule.max_uses:
        lines.append(transitioned(rule.expire, actor=SYSTEM, at=at, note="It has been used as often as it may."))
    rule.save(update_fields=["uses", "state", "ended_at", "next_check_at"])
    return rule, lines


def leave_to_people(request: ActionRequest, at: datetime) -> None:
    """The rule that would have answered does not: ask whom it would have spared."""
    request.standing_rule = None
    request.look_again(at)
    request.save(update_fields=["standing_rule", "next_check_at"])
    notify.tell(None, request, notify.ASKED, [one["id"] for one in request.eligible], at)


def expire_rules(now: datetime) -> int:
    """Rules whose time is over answer no more. A sweep."""
    if not StandingRule.objects.filter(next_check_at__lte=now).exists():
        return 0
    with transaction.atomic():
        due = StandingRule.objects.select_for_update(skip_locked=True).filter(next_check_at__lte=now)
        rows = list(due.order_by("next_check_at")[:BATCH])
        record([transitioned(rule.expire, actor=SYSTEM, at=now, note="Its time is over.") for rule in rows])
        for rule in rows:
            rule.save(update_fields=["state", "ended_at", "next_check_at"])
    return len(rows)


# Matching -------------------------------------------------------------------------------------------------


def answering(request: ActionRequest, at: datetime) -> StandingRule | None:
    """The oldest active rule that answers this request."""
    rules = StandingRule.objects.filter(role=request.role, state=RuleState.ACTIVE, valid_until__gt=at)
    return next((rule for rule in rules.order_by("pk") if _fits(rule, request)), None)


def _fits(rule: StandingRule, request: ActionRequest) -> bool:
    asked = request.asked
    return (
        rule.uses < rule.max_uses
        and SEVERITIES.index(request.severity) <= SEVERITIES.index(rule.max_severity)
        and rule.request_type in ("", request.request_type)
        and rule.agent_id in (None, request.requester_id)
        and rule.playbook in ("", asked.get("playbook", ""))
        and rule.step in ("", asked.get("step", ""))
        and request.form is None  # what people fill in, no rule can
        and (not rule.when or _holds(rule.when, request))
    )


def _holds(when: str, request: ActionRequest) -> bool:
    """A condition that cannot be evaluated does not hold: then a person decides."""
    names = {
        "asked": request.asked,
        "action": request.action or {},
        "title": request.title,
        "severity": request.severity,
        "agent": request.requester.get_username(),
    }
    try:
        return expressions.evaluate(when, names, at="the standing rule") is True
    except expressions.Unevaluable:
        return False


# Checks ---------------------------------------------------------------------------------------------------


def _require(actor: User) -> None:
    if not actor.has_perm(MANAGE):
        raise Forbidden("Only administrators propose, activate and revoke standing rules.")


def _refuse_unbounded(proposal: Proposal, at: datetime) -> None:
    problems = []
    if not proposal.title.strip():
        problems.append(Problem("title", "It is empty.", "Write what people read."))
    if not proposal.reason.strip():
        problems.append(Problem("reason", "It is empty.", "Say why no person needs to decide."))
    if not at < proposal.valid_until <= at + LONGEST:
        problems.append(Problem("valid_until", "Not within 90 days.", "A rule ends, and is renewed by two people."))
    if not 1 <= proposal.max_uses <= MOST_USES:
        problems.append(Problem("max_uses", "Out of range.", f"Allow from 1 to {MOST_USES} uses."))
    if SEVERITIES.index(proposal.max_severity) > SEVERITIES.index(HIGHEST):
        problems.append(Problem("max_severity", "Too high.", f"No more than {HIGHEST.label.lower()}."))
    if proposal.when:
        problems += _problems_of(proposal.when)
    if problems:
        raise Invalid("The rule cannot be like this.", errors=problems)


def _problems_of(when: str) -> list[Problem]:
    try:
        expressions.check(when)
    except expressions.BadExpression as bad:
        return [Problem("when", bad.message, bad.remedy)]
    unknown = sorted(expressions.names_in(when) - set(NAMES))
    return [Problem("when", f"{name} is not known here.", f"It reads {', '.join(NAMES)}.") for name in unknown]


def _locked(rule_id: int) -> StandingRule:
    found = StandingRule.objects.select_for_update().filter(pk=rule_id).first()
    if found is None:
        raise NotFound(f"There is no standing rule {rule_id}.")
    return found
