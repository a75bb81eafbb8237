# SPDX-License-Identifier: Apache-2.0
"""When somebody who may decide first had a request before them: what the time to view is counted by."""

from __future__ import annotations

from typing import Any

from approvals.models import OPEN_REQUESTS
from approvals.reading import locked
from approvals.rights import refuse_unless_may_decide
from audit import actions
from audit.services import Line, act, record
from config import clock


@act(actions.REQUEST_VIEW_DENIED)
def note_view(*, request_id: str, actor: Any) -> bool:
    """Write down, once for each request, that `actor` sees it; whether this was that once.

    To look changes nothing by itself: a page that is shown tells so by a call of its own. Later looks are not kept.
    Raises NotFound, RoleRequired, Forbidden.
    """
    request = locked(request_id, actor)
    if request.first_viewed_at is not None or request.state not in OPEN_REQUESTS:
        return False
    refuse_unless_may_decide(request, actor)
    request.first_viewed_at = clock.now()
    request.save(update_fields=["first_viewed_at"])
    shown = {"revision": request.revision, "content_hash": request.digest}
    record([Line(actions.REQUEST_VIEWED, request.audit_subject(), actor, request.first_viewed_at, data=shown)])
    return True
