# SPDX-License-Identifier: Apache-2.0
"""What the description of the API shows of the calls in `playbooks/api.py`: documents, answers by hand, examples.

A test sends every example to the server and holds the answer against the description.
"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

WHEN = "2025-11-03T13:00:00.120000Z"
DIGEST = "9c1185a5c5e9fc54612808977ee8f548b2258d31fb8b8a9a6c0dd5b1d9f1d0f3"

A_DOCUMENT: dict[str, Any] = {
    "type": "object",
    "description": "A playbook document; `GET /acts/playbooks/schema` answers its JSON Schema.",
    "additionalProperties": True,
}
A_COPY: dict[str, Any] = {
    "type": "object",
    "description": "A copy of an earlier version.",
    "required": ["clone"],
    "additionalProperties": False,
    "properties": {"clone": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}},
}
DOCUMENT = {"application/json": A_DOCUMENT, "application/yaml": A_DOCUMENT}
A_CLAIM: dict[str, Any] = {"description": "What claims to be a playbook document; any JSON or YAML is judged."}
CLAIMED_DOCUMENT = {"application/json": A_CLAIM, "application/yaml": A_CLAIM}
DOCUMENT_OR_COPY = {"application/json": {"anyOf": [A_COPY, A_DOCUMENT]}, "application/yaml": A_DOCUMENT}
DEFAULT_ID = OpenApiParameter("id", str, description="Names a document that does not name itself.")

NEW = {
    "id": "noise_permit",
    "title": "Noise permit",
    "steps": [
        {"id": "AI-Screen", "role": "agent:validator", "call": "ai_validator.check_form", "retries": 3},
        {"id": "Human-Approve", "role": "human:police_liaison", "max_minutes": 240},
    ],
}
CHANGED = {**NEW, "id": "protest_permit", "title": "Protest permit"}

VERSION = {
    "version": 1,
    "state": "draft",
    "digest": DIGEST,
    "created_at": WHEN,
    "created_by": "author",
    "published_at": None,
    "retired_at": None,
}
VERSION_IN_FULL = {**VERSION, "playbook": "protest_permit", "document": CHANGED}
A_WARNING = {
    "code": "role_without_members",
    "path": "steps[0].role",
    "message": "Role agent:validator has no members: its tasks will wait.",
    "remedy": "Give agent:validator members: Users, in the admin.",
}
PUBLISHED = {
    **VERSION,
    "state": "published",
    "published_at": WHEN,
    "warnings": [A_WARNING],
}
RETIRE = {"reason": "Replaced by version 2."}
RETIRED = {**VERSION, "state": "retired", "published_at": WHEN, "retired_at": WHEN}
PLAYBOOK = {
    "id": "noise_permit",
    "number": 7,
    "title": "Noise permit",
    "owner": "author",
    "created_at": WHEN,
    "current_version": None,
    "versions": [VERSION],
}
VALID = {"valid": True, "publishable": True, "errors": [], "warnings": [], "notes": [], "digest": DIGEST}
A_RULE = {
    "id": "no-small-groups",
    "title": "No small groups",
    "when": "data.Analyze.smallest_group < 10",
    "result": "FAIL",
    "because": "A group of fewer than ten people would be shown.",
    "evidence": {"smallest": "data.Analyze.smallest_group"},
}
ANOTHER_RULE = {**A_RULE, "id": "small-groups", "result": "ASK_HUMAN"}
NEW_RULE_SET = {
    "id": "counting",
    "title": "Fair counting",
    "concern": "privacy",
    "is_default": False,
    "rules": [A_RULE],
}
OTHER_RULES = {"rules": [A_RULE, ANOTHER_RULE]}
RULES = {
    "version": 1,
    "state": "draft",
    "digest": DIGEST,
    "rules": [A_RULE],
    "created_at": WHEN,
    "created_by": "administrator",
    "published_at": None,
    "published_by": None,
    "retired_at": None,
}
PUBLISHED_RULES = {**RULES, "state": "published", "published_at": WHEN, "published_by": "administrator"}
RETIRED_RULES = {**PUBLISHED_RULES, "state": "retired", "retired_at": WHEN}
RULE_SET = {
    "id": "counting",
    "title": "Fair counting",
    "concern": "privacy",
    "is_default": False,
    "created_at": WHEN,
    "current_version": None,
    "versions": [RULES],
}
JSON_SCHEMA = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Playbook", "type": "object"}
A_JSON_SCHEMA = {"type": "object", "description": "A JSON Schema (Draft 2020-12).", "additionalProperties": True}


class FaultOut(serializers.Serializer[Any]):
    code = serializers.CharField(required=False)
    path = serializers.CharField()
    line = serializers.IntegerField(required=False)
    message = serializers.CharField()
    remedy = serializers.CharField(required=False)


class ValidityOut(serializers.Serializer[Any]):
    valid = serializers.BooleanField(help_text="It can be stored as a draft.")
    publishable = serializers.BooleanField()
    errors = FaultOut(many=True, help_text="What is wrong, or what publishing would refuse.")  # type: ignore[assignment]  # not DRF's attribute
    warnings = FaultOut(many=True, help_text="What publishing would let pass.")
    notes = serializers.ListField(child=serializers.CharField(), help_text="Defaults that were applied.")
    digest = serializers.CharField(allow_null=True)
