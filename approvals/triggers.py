# SPDX-License-Identifier: Apache-2.0
"""What was asked, answered and mailed stays; votes are only added; what is asked changes only with its revision."""

from approvals import message_triggers
from approvals.models import OPEN_REQUESTS, ActionRequest, RequestState, Vote
from audit.guards import append_only, arrows, frozen, no_delete, sql_words, starts_in

OPEN = sql_words(OPEN_REQUESTS)
CLOSED = f'OLD."state" NOT IN ({OPEN})'
SAME_REVISION = 'NEW."revision" <= OLD."revision"'
SAME_TASK_OPEN = f'"task_id" = NEW."task_id" AND "state" IN ({OPEN})'

ASKED = ("revision", "title", "description", "asked", "required_fields", "form", "options", "policy", "digest")
ANSWER = ("outcome", "decided_by", "decided_at", "response_data", "notes", "rejection_reason", "claimed_decider")

TRIGGERS = [
    *no_delete(ActionRequest, unique=[SAME_TASK_OPEN]),
    arrows(ActionRequest),
    starts_in(ActionRequest, RequestState.PENDING),
    frozen(ActionRequest, "id", "task", "run", "requester", "request_type", "created_at", rule="identity"),
    frozen(ActionRequest, *ASKED, "severity", when=SAME_REVISION, rule="asked"),
    frozen(ActionRequest, *ASKED, *ANSWER, when=CLOSED, rule="closed"),
    *append_only(Vote),
    *message_triggers.TRIGGERS,
]
