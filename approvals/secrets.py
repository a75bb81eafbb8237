# SPDX-License-Identifier: Apache-2.0
"""Which parts of an answer are secret: they go to who asked for them, and into no log, page or output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from approvals.models import ActionRequest, RequestType

MASK = "••••••••"


def secret_fields(request: ActionRequest, answer: Mapping[str, Any]) -> frozenset[str]:
    """Names of the secret fields: `writeOnly` or `format: password` in the form; all of an answer with API keys."""
    if request.request_type == RequestType.API_KEY:
        return frozenset(answer)
    described = (request.form or {}).get("properties", {})
    return frozenset(name for name in answer if _is_secret(described.get(name)))


def masked(request: ActionRequest, answer: Mapping[str, Any]) -> dict[str, Any]:
    hidden = secret_fields(request, answer)
    return {name: MASK if name in hidden else value for name, value in answer.items()}


def _is_secret(schema: Any) -> bool:
    return isinstance(schema, Mapping) and bool(schema.get("writeOnly") or schema.get("format") == "password")
