# SPDX-License-Identifier: Apache-2.0
"""Which requests stand in which list of a person's inbox. Rows and counts come from the same querysets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F

from approvals import policy, rights
from approvals.models import ActionRequest, RequestQuerySet, RequestState

COUNTED = 1000  # beyond this a count says "1000+": nobody reads further, and the database need not either
LOOKED_THROUGH = 50  # requests that are looked through for the next one a person may decide
DECIDED = (RequestState.FULFILLED, RequestState.REJECTED)


@dataclass(frozen=True, slots=True)
class Tab:
    key: str
    label: str
    of: Callable[[RequestQuerySet, Any], RequestQuerySet]  # (visible requests, user) → those of this list
    order: Sequence[Any]

    def rows(self, user: Any) -> RequestQuerySet:
        return self.of(ActionRequest.objects.visible_to(user), user).order_by(*self.order)

    def count(self, user: Any) -> str:
        """The number of rows, as far as it is worth counting."""
        count = self.rows(user).order_by()[: COUNTED + 1].count()
        return f"{COUNTED}+" if count > COUNTED else str(count)


TO_DECIDE = Tab(
    "to_decide",
    "To decide",
    lambda seen, user: seen.decidable_by(user),
    ActionRequest.objects.in_inbox_order().query.order_by,
)
TABS: Mapping[str, Tab] = {
    tab.key: tab
    for tab in (
        TO_DECIDE,
        Tab("decided", "Decided", lambda seen, user: seen.filter(state__in=DECIDED), (F("decided_at").desc(), "-id")),
        Tab("all", "All I may see", lambda seen, user: seen, ("-created_at", "-id")),
    )
}


def tab_named(key: str | None) -> Tab:
    return TABS.get(key or "", TO_DECIDE)


def badge(user: Any) -> str:
    """How many requests wait for this person, or nothing."""
    count = TO_DECIDE.count(user)
    return "" if count == "0" else count


def bar_of(request: ActionRequest, user: Any) -> policy.Bar | None:
    """Why this person may not decide, for showing; a decision asks again, under the lock.

    Makes no query for a request read with its run, `WITH_WHAT_BARS` and `know_doers`, and a user of whom all that
    counts has been read once.
    """
    rules = rights.rules_of(request)
    return rights.bar_of(request, rights.person_known(user, rules), rules)


def next_for(user: Any) -> ActionRequest | None:
    """The first request in the inbox that this person may decide."""
    rows = TO_DECIDE.rows(user).select_related("run").prefetch_related(*rights.WITH_WHAT_BARS)
    waiting = list(rows[:LOOKED_THROUGH])
    rights.know_doers(waiting)
    return next((request for request in waiting if bar_of(request, user) is None), None)
