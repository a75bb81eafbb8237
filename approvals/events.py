# SPDX-License-Identifier: Apache-2.0
"""What the stream of events tells of action requests: whose they are and what they are about, never the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from approvals.models import ActionRequest
from audit.models import Entry
from runs.models import Priority

FIELDS = ("workflow_id", "title", "requester__username", "request_type", "priority", "state")


def of_requests(user: Any, entries: Sequence[Entry]) -> dict[int, Mapping[str, Any]]:
    """Number of the entry → what its request is, where the reader may see the request.

    The entry itself holds no title: it is a text of others, which the log only commits to.
    """
    wanted = {entry.request_id for entry in entries if entry.request_id}
    visible = ActionRequest.objects.visible_to(user).filter(pk__in=wanted).order_by()
    known = {row["pk"]: row for row in visible.values("pk", *FIELDS)}
    return {entry.pk: _told(entry, known[entry.request_id]) for entry in entries if entry.request_id in known}


def _told(entry: Entry, request: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "workflow_id": request["workflow_id"],
        "title": request["title"],
        "agent_id": request["requester__username"],
        "request_type": request["request_type"],
        "priority": Priority(request["priority"]).name.lower(),
        "status": entry.to_state or request["state"],
    }
