# SPDX-License-Identifier: Apache-2.0
"""Who may see which entries.

Everyone sees what they did themselves, and `audit.view_entry` sees all. What lies between, the rooms above say: they
know who may see a run or a request, and register it here. Notes and disclosed values are for those who may see
the entry's subject; pages that show them to others ask for `audit.view_disclosure`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Q, QuerySet

from audit.models import Entry

Rule = Callable[[Any], Q]  # user → the entries this rule lets them see

_rules: list[Rule] = []


def allow(rule: Rule) -> None:
    """Add a rule. A room calls this when its app is ready."""
    if rule not in _rules:
        _rules.append(rule)


def entries_visible_to(user: Any) -> QuerySet[Entry]:
    entries = Entry.objects.all()
    if user.has_perm("audit.view_entry"):
        return entries
    seen = Q(actor_id=user.pk)
    for rule in _rules:
        seen |= rule(user)
    return entries.filter(seen)


def entries_of_run(run_id: int) -> QuerySet[Entry]:
    """Everything that happened in a run, in order, with what was said. The caller has checked who asks."""
    return Entry.objects.filter(run_id=run_id).select_related("disclosure").order_by("id")


def entries_of_request(request_id: str) -> QuerySet[Entry]:
    """Everything that happened to an action request, in order, with what was said."""
    return Entry.objects.filter(request_id=request_id).select_related("disclosure").order_by("id")
