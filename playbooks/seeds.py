# SPDX-License-Identifier: Apache-2.0
"""The default layer of rules that every installation has from its first migration on (`default_rules.yaml`).

A rule set that is there is left as it is: administrators change it, or take it out of the default layer. Like the
seeded groups it came before the log, which begins with the first act; its versions are nobody's.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from playbooks import rules as written
from playbooks import source

DEFAULT_RULES = Path(__file__).with_name("default_rules.yaml")


@cache
def default_layer() -> dict[str, dict[str, Any]]:
    """Slug → title, concern and parsed rules."""
    told = source.read(DEFAULT_RULES.read_text(encoding="utf-8")).data
    return {slug: {**each, "rules": written.parse_data({"rules": each["rules"]})} for slug, each in told.items()}


def after_migrate(using: str = "default", **kwargs: Any) -> None:
    from django.db import connections

    if using == "default" and "playbooks_rulesetversion" in connections[using].introspection.table_names():
        seed_rules()


def seed_rules() -> None:
    from config import clock
    from playbooks.models import RuleSet, RuleSetVersion

    at = clock.now()
    there = set(RuleSet.objects.values_list("slug", flat=True))
    for slug, told in default_layer().items():
        if slug in there:
            continue
        rule_set = RuleSet.objects.create(
            slug=slug, title=told["title"], concern=told["concern"], is_default=True, created_at=at
        )
        rules = told["rules"]
        version = RuleSetVersion.objects.create(
            rule_set=rule_set, number=1, rules=written.as_json(rules), digest=written.digest(rules), created_at=at
        )
        version.publish(by=None, at=at)
        version.save(update_fields=["state", "published_by", "published_at"])
