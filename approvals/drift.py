# SPDX-License-Identifier: Apache-2.0
"""How what is asked differs, place by place, from what somebody was shown of it.

Nothing is judged here: `decide()` refuses what is not what was shown. This says what is different, on the decision
page and in what programs are told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from approvals.binding import what_is_asked
from approvals.changes import Changed, changes_between
from approvals.models import ActionRequest, Revision


@dataclass(frozen=True, slots=True)
class Drift:
    """Between the revision that somebody was shown and what is asked now."""

    looked_at: int
    changes: tuple[Changed, ...]
    latest: Revision  # who changed it last, when and why


def since(request: ActionRequest, looked_at: int | None) -> Drift | None:
    """None if nothing has changed, or if that revision never was."""
    if looked_at is None or not 1 <= looked_at < request.revision:
        return None
    kept = {each.number: each for each in request.revisions.select_related("made_by").filter(number__in=[
        looked_at, request.revision
    ])}  # fmt: skip
    if kept.keys() != {looked_at, request.revision}:
        return None
    changes = changes_between(kept[looked_at].content, what_is_asked(request))
    return Drift(looked_at, tuple(one for one in changes if one.path != "revision"), kept[request.revision])


def told(request: ActionRequest, looked_at: int | None) -> dict[str, Any]:
    """Beside `stale_revision`: what is asked now, and how it differs from what the caller had read."""
    drift = since(request, looked_at)
    changes = [one.as_json() for one in drift.changes] if drift else []
    return {"revision": request.revision, "digest": request.digest, "changes": changes}
