# SPDX-License-Identifier: Apache-2.0
"""The acts on templates of requests, and on how much one agent may ask.

A change holds for requests made from then on: those that are there keep what they were made with. A template is never
deleted, and keeps its name; it is taken out of use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import KIND_OF_ROLE, Kind, User, is_role
from approvals.models import AgentLimit, RequestTemplate, RequestType, Severity
from approvals.policies import published
from approvals.templating import PLACE, TITLE_LENGTH
from audit import actions
from audit.services import Line, act, record
from config import clock
from config.errors import Forbidden, Invalid, NotFound, Problem
from runs.models import Priority

MANAGE, MANAGE_LIMITS = "approvals.manage_templates", "approvals.manage_limits"
MOST_FIELDS, MOST_REASONS, LONGEST_TEXT = 50, 30, 500
NAME = re.compile(r"[a-z][a-z0-9_-]{0,59}")
FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,59}")
HIGHEST_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Terms:
    """All of a template that can be changed."""

    title: str
    request_type: str = RequestType.CUSTOM
    title_pattern: str = ""
    description_pattern: str = ""
    required_fields: Mapping[str, str] = field(default_factory=dict)
    role: str = ""
    priority: int = Priority.MEDIUM
    severity: str = Severity.MEDIUM
    policy: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    shared_fields: Sequence[str] = ()
    is_reversible: bool = False
    is_active: bool = True

    @classmethod
    def of(cls, template: RequestTemplate) -> Terms:
        return cls(**{each.name: getattr(template, each.name) for each in fields(cls)})


@act(actions.TEMPLATE_CHANGE_DENIED)
def create_template(*, actor: User, name: str, terms: Terms) -> RequestTemplate:
    """Make a template, in use at once. Raises Forbidden, and Invalid with all faults."""
    _require(actor, MANAGE)
    named = [] if NAME.fullmatch(name) else [Problem("name", "begins with a letter", "Write it as expense_report.")]
    _refuse([*named, *_problems(terms)])
    at = clock.now()
    template = RequestTemplate(name=name, created_at=at, changed_at=at, **_values(terms))
    try:
        with transaction.atomic():
            template.save(force_insert=True)
    except IntegrityError:
        raise Invalid(f"There is a template named {name} already.", errors=[Problem("name", "is taken")])
    told = {"template": _values(terms)}
    record([Line(actions.TEMPLATE_CREATED, template.audit_subject(), actor, at, private=told)])
    return template


@act(actions.TEMPLATE_CHANGE_DENIED)
def change_template(*, actor: User, name: str, terms: Terms) -> RequestTemplate:
    """Requests made from now on say it like this. Raises Forbidden, NotFound, Invalid."""
    _require(actor, MANAGE)
    template = RequestTemplate.objects.select_for_update().filter(name=name).first()
    if template is None:
        raise NotFound(f"There is no template {name!r}.")
    _refuse(list(_problems(terms)), subject=template)
    before, after = _values(Terms.of(template)), _values(terms)
    changed = sorted(each for each in after if before[each] != after[each])
    if not changed:
        return template
    for each in changed:
        setattr(template, each, after[each])
    template.changed_at = at = clock.now()
    template.revision += 1
    template.save(update_fields=[*changed, "revision", "changed_at"])
    facts, told = {"fields": changed}, {"template": after}
    record([Line(actions.TEMPLATE_CHANGED, template.audit_subject(), actor, at, data=facts, private=told)])
    return template


@act(actions.LIMIT_CHANGE_DENIED)
def set_limit(*, actor: User, user_id: int, open_requests: int | None, per_hour: int | None, reason: str) -> AgentLimit:
    """How much one user may ask: so many at once, so many in an hour; 0 is no limit, None as for everybody.

    Raises Forbidden, NotFound, Invalid.
    """
    _require(actor, MANAGE_LIMITS)
    user = User.objects.select_for_update(of=("self",)).filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such user.")
    _refuse(list(_limit_problems(open_requests=open_requests, per_hour=per_hour, reason=reason)))
    at = clock.now()
    limit = AgentLimit.objects.filter(user=user).first() or AgentLimit(user=user)
    limit.open_requests, limit.per_hour, limit.reason, limit.changed_at = open_requests, per_hour, reason, at
    limit.save()
    facts = {"open_requests": open_requests, "per_hour": per_hour}
    record([Line(actions.LIMIT_CHANGED, limit.audit_subject(), actor, at, note=reason, data=facts)])
    return limit


# Checks ---------------------------------------------------------------------------------------------------


def _require(actor: User, permission: str) -> None:
    if not actor.has_perm(permission):
        raise Forbidden(f"The permission {permission} is needed.")


def _refuse(problems: list[Problem], subject: Any = None) -> None:
    if problems:
        raise Invalid(f"{problems[0].path}: {problems[0].message}.", errors=problems, subject=subject)


def _values(terms: Terms) -> dict[str, Any]:
    return {**asdict(terms), "shared_fields": list(terms.shared_fields)}


def _problems(terms: Terms) -> Iterator[Problem]:
    if not terms.title.strip():
        yield Problem("title", "is empty", "Write what people read.")
    if terms.request_type not in RequestType.values:
        yield Problem("request_type", "is not known", f"One of {', '.join(RequestType.values)}.")
    if terms.severity not in Severity.values:
        yield Problem("severity", "is not known", f"One of {', '.join(Severity.values)}.")
    if terms.priority not in Priority.values:
        yield Problem("priority", "is not known", "One of critical, high, medium, low.")
    if terms.role and (not is_role(terms.role) or KIND_OF_ROLE[terms.role.partition(":")[0]] != Kind.HUMAN):
        yield Problem("role", "is no role of people", "Write it as human:legal, or leave it empty.")
    if terms.policy and published(terms.policy) is None:
        yield Problem("policy", "is not published", "Publish it under Policies, or leave it empty.")
    yield from _pattern_problems("title_pattern", terms.title_pattern)
    yield from _pattern_problems("description_pattern", terms.description_pattern)
    if len(terms.title_pattern) > TITLE_LENGTH:
        yield Problem("title_pattern", "is too long", f"Write {TITLE_LENGTH} characters at most.")
    yield from _text_problems("required_fields", terms.required_fields, MOST_FIELDS)
    yield from _text_problems("reasons", terms.reasons, MOST_REASONS)
    if not all(FIELD.fullmatch(each) for each in terms.shared_fields) or len(terms.shared_fields) > MOST_FIELDS:
        yield Problem("shared_fields", "are names of the context", "One a line, such as amount.")


def _pattern_problems(name: str, pattern: str) -> Iterator[Problem]:
    """A brace that opens no place would be shown to people as it stands."""
    if "{" in PLACE.sub("", pattern) or "}" in PLACE.sub("", pattern):
        yield Problem(name, "has a brace too many", "Write places as {amount}.")


def _text_problems(name: str, texts: Mapping[str, str], most: int) -> Iterator[Problem]:
    if len(texts) > most:
        yield Problem(name, f"are {len(texts)}", f"Write {most} at most.")
    for key, text in texts.items():
        if not FIELD.fullmatch(key) or not text.strip() or len(text) > LONGEST_TEXT:
            yield Problem(f"{name}.{key[:60]}", "is no name with a text", f"{LONGEST_TEXT} characters at most.")


def _limit_problems(*, reason: str, **numbers: int | None) -> Iterator[Problem]:
    for name, number in numbers.items():
        if number is not None and not 0 <= number <= HIGHEST_LIMIT:
            yield Problem(name, "is out of range", f"From 0 (no limit) to {HIGHEST_LIMIT}.")
    if not reason.strip():
        yield Problem("reason", "is empty", "Say why this one differs.")
