# SPDX-License-Identifier: Apache-2.0
"""What a template says where whoever asks leaves it out. Pure but for reading the template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db.models import CharField

from approvals.models import RequestTemplate, RequestType, Severity
from config.errors import Invalid, Problem
from config.prepared import Param, Reading
from runs.models import Priority

PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,59})\}")
TITLE_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks. What is None or empty was left out."""

    title: str = ""
    description: str | None = None
    request_type: str = ""
    required_fields: Mapping[str, str] | None = None
    role: str = ""
    priority: Priority | None = None
    severity: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] | None = None


def template_for(name: str, request_type: str) -> RequestTemplate | None:
    """The template that is named, else that of the type. Raises Invalid for a name without one in use."""
    found: RequestTemplate | None = next(iter(_by_name(name=name or request_type or RequestType.CUSTOM)), None)
    if found is not None and found.is_active:
        return found
    if name:
        raise Invalid(
            f"There is no template {name!r} in use.",
            errors=[Problem("template", "not known, or not in use", "GET /hitl/templates lists them.")],
        )
    return None


_by_name = Reading(lambda: RequestTemplate.objects.filter(name=Param("name", CharField())))


def filled(asked: Question, template: RequestTemplate | None) -> Question:
    """The whole question. Raises Invalid where no title is left, or a pattern names what the context does not have."""
    if template is not None:
        asked = _by_template(asked, template)
    if not asked.title.strip():
        raise Invalid("The request has no title.", errors=[Problem("title", "missing", "Say what is asked.")])
    return Question(
        title=asked.title,
        description=asked.description or "",
        request_type=asked.request_type or RequestType.CUSTOM,
        required_fields=asked.required_fields or {},
        role=asked.role or settings.REVIEW_ROLE,
        priority=Priority.MEDIUM if asked.priority is None else asked.priority,
        severity=asked.severity or Severity.MEDIUM,
        context=asked.context,
        policy=asked.policy,
    )


def _by_template(asked: Question, template: RequestTemplate) -> Question:
    title = asked.title or _written(template.title_pattern, asked.context, "title")[:TITLE_LENGTH]
    description = asked.description
    if description is None:
        description = _written(template.description_pattern, asked.context, "description")
    return Question(
        title=title,
        description=description,
        request_type=asked.request_type or template.request_type,
        required_fields=template.required_fields if asked.required_fields is None else asked.required_fields,
        role=asked.role or template.role,
        priority=Priority(template.priority) if asked.priority is None else asked.priority,
        severity=asked.severity or template.severity,
        context=asked.context,
        policy=_policy_of(template) if asked.policy is None else asked.policy,
    )


def _policy_of(template: RequestTemplate) -> dict[str, Any] | None:
    named = {"use": template.policy} if template.policy else {}
    coded = {"reasons": {"codes": template.reasons}} if template.reasons else {}
    return {**named, **coded} or None


def _written(pattern: str, context: Mapping[str, Any], what: str) -> str:
    """The pattern with the context's values in its places: texts and numbers, as they are."""

    def value(found: re.Match[str]) -> str:
        given = context.get(found[1])
        if isinstance(given, bool) or not isinstance(given, str | int | float):
            remedy = f"Send it, or send the {what} itself."
            problem = Problem(f"context.{found[1]}", "missing, or no text or number", remedy)
            raise Invalid(f"The template's {what} names {found[1]!r} of the context.", errors=[problem])
        return str(given)

    return PLACE.sub(value, pattern)


def shared_context(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Of a request's `asked`, what its template lets stand in a mail or chat message; nothing where it has none."""
    fields, context = asked.get("template", {}).get("shared_fields", ()), asked.get("context", {})
    return {name: context[name] for name in fields if name in context}
