# SPDX-License-Identifier: Apache-2.0
"""The seven types of requests as templates, which every installation has from its first migration on.

A template that is there is left as it is: administrators change it, or take it out of use. Like the seeded groups they
came before the log, which begins with the first act.
"""

from __future__ import annotations

from typing import Any

from django.db import connections

TEMPLATES: dict[str, dict[str, Any]] = {
    "api_key": {"title": "API key or other credential"},
    "account_creation": {"title": "Account to be opened"},
    "legal_document": {"title": "Legal document"},
    "payment_authorization": {"title": "Payment", "shared_fields": ["amount", "currency"]},
    "business_setup": {"title": "Business set-up", "is_reversible": False},
    "strategic_decision": {"title": "Strategic decision"},
    "custom": {"title": "Other", "is_reversible": False},
}


def after_migrate(using: str = "default", **kwargs: Any) -> None:
    if using == "default" and "approvals_requesttemplate" in connections[using].introspection.table_names():
        seed_templates()


def seed_templates() -> None:
    from approvals.models import RequestTemplate
    from config import clock

    at = clock.now()
    there = set(RequestTemplate.objects.values_list("name", flat=True))
    for name, told in TEMPLATES.items():
        if name not in there:
            RequestTemplate.objects.create(name=name, request_type=name, created_at=at, changed_at=at, **told)
