# SPDX-License-Identifier: Apache-2.0
"""What was asked, answered and mailed stays; votes are only added; what is asked changes only with its revision."""

from approvals import message_triggers
from approvals.models import (
    OPEN_RECEIPTS,
    OPEN_REQUESTS,
    ActionRequest,
    AgentLimit,
    Asked,
    Attachment,
    Calendar,
    Comment,
    Delegation,
    Draft,
    Policy,
    PolicyVersion,
    Receipt,
    ReceiptAlert,
    ReceiptState,
    RequestState,
    RequestTemplate,
    Revision,
    RuleState,
    Secret,
    SecretState,
    SigningKey,
    Spending,
    StandingRule,
    Vote,
)
from audit.guards import append_only, arrows, frozen, no_delete, refuse, sql_words, starts_in
from playbooks.triggers import frozen_once_published

OPEN = sql_words(OPEN_REQUESTS)
CLOSED = f'OLD."state" NOT IN ({OPEN})'
SAME_REVISION = 'NEW."revision" <= OLD."revision"'
SAME_TASK_OPEN = f'"task_id" = NEW."task_id" AND "state" IN ({OPEN})'
SAME_QUESTION_OPEN = (
    '"requester_id" = NEW."requester_id" AND "question_digest" = NEW."question_digest" '
    f'AND NEW."question_digest" <> \'\' AND "state" IN ({OPEN})'
)

ASKED = (
    "revision",
    "title",
    "description",
    "asked",
    "action",
    "required_fields",
    "form",
    "options",
    "policy",
    "digest",
)
ANSWER = (
    "outcome", "decided_by", "decided_how", "decided_at", "response_data", "notes", "rejection_reason", "reason_code",
    "constraints", "claimed_decider",
)  # fmt: skip
COUNTED = ("role", "priority", "first_viewed_at", "first_claimed_at", "due_at")  # by the statistics, once
TERMS = (
    "title", "reason", "role", "request_type", "agent", "playbook", "step", "max_severity", "when", "max_uses",
    "valid_from", "valid_until", "proposed_by", "proposed_at",
)  # fmt: skip
NOT_HELD = f"OLD.\"state\" <> '{SecretState.HELD}'"
STILL_HELD = f"NEW.\"state\" = '{SecretState.HELD}'"
SAME_FIELD_HELD = f'"request_id" = NEW."request_id" AND "field" = NEW."field" AND "state" = \'{SecretState.HELD}\''

LENT = (
    "giver", "delegate", "role", "request_type", "max_severity", "request", "is_away", "reason", "starts_at",
    "ends_at", "made_by", "made_at",
)  # fmt: skip
SAYS = (
    "id", "request", "revision", "executor", "action", "digest", "proposed_digest", "content_digest", "outcome",
    "voters", "constraints", "uses_allowed", "nonce", "minted_at", "not_before", "not_after", "key_id", "signature",
)  # fmt: skip
OPEN_ONES = sql_words(OPEN_RECEIPTS)
SAME_REQUEST_OPEN = f'"request_id" = NEW."request_id" AND "state" IN ({OPEN_ONES}) AND NEW."state" IN ({OPEN_ONES})'
OVER = f'OLD."state" NOT IN ({OPEN_ONES})'
DISTRUSTED = 'OLD."distrusted_at" IS NOT NULL'

TRIGGERS = [
    *no_delete(ActionRequest, unique=[SAME_TASK_OPEN, SAME_QUESTION_OPEN]),
    arrows(ActionRequest),
    starts_in(ActionRequest, RequestState.PENDING),
    frozen(ActionRequest, "id", "task", "run", "requester", "request_type", "created_at", rule="identity"),
    frozen(ActionRequest, *ASKED, "severity", when=SAME_REVISION, rule="asked"),
    frozen(ActionRequest, *ASKED, *ANSWER, when=CLOSED, rule="closed"),
    frozen(ActionRequest, *COUNTED, when=CLOSED, rule="counted"),
    frozen(ActionRequest, "eligible", "supersedes", "template", "question_digest", rule="made_with"),
    *append_only(Vote),
    *append_only(Revision),
    *append_only(Asked),
    *no_delete(Calendar),
    frozen(Calendar, "slug", "created_at", rule="identity"),
    *no_delete(Delegation),
    frozen(Delegation, *LENT, rule="terms"),
    frozen(Delegation, "revoked_at", "revoked_by", when='OLD."revoked_at" IS NOT NULL', rule="revoked"),
    *no_delete(Policy),
    *no_delete(PolicyVersion),
    *frozen_once_published(PolicyVersion, "document"),
    *no_delete(StandingRule),
    arrows(StandingRule),
    starts_in(StandingRule, RuleState.PROPOSED),
    frozen(StandingRule, *TERMS, rule="terms"),
    *no_delete(RequestTemplate),
    frozen(RequestTemplate, "name", "created_at", rule="identity"),
    *no_delete(AgentLimit),
    frozen(AgentLimit, "user", rule="identity"),
    *append_only(Comment),
    *append_only(Attachment),
    frozen(Draft, "id", "request", "person", rule="identity"),
    *no_delete(Secret, unique=[SAME_FIELD_HELD]),
    arrows(Secret),
    starts_in(Secret, SecretState.HELD),
    frozen(Secret, "id", "request", "field", "given_by", "given_at", "expires_at", rule="identity"),
    frozen(Secret, "ciphertext", when=STILL_HELD, rule="sealed"),
    frozen(Secret, "key_id", "wrapped_key", "ciphertext", "ended_at", when=NOT_HELD, rule="destroyed"),
    *message_triggers.TRIGGERS,
    *no_delete(Receipt, unique=[SAME_REQUEST_OPEN]),
    arrows(Receipt, at_once=[(ReceiptState.HELD, ReceiptState.READY, ReceiptState.SPENT)]),
    starts_in(Receipt, ReceiptState.HELD, ReceiptState.READY, ReceiptState.SPENT),
    frozen(Receipt, *SAYS, rule="says"),
    frozen(Receipt, "uses", "closed_at", when=OVER, rule="over"),
    refuse(Receipt, "uses_rise", "UPDATE", 'NEW."uses" < OLD."uses"', "what was used stays used"),
    *append_only(Spending),
    *no_delete(SigningKey),
    frozen(SigningKey, "id", "public_key", "created_at", rule="identity"),
    frozen(SigningKey, "distrusted_at", when=DISTRUSTED, rule="distrusted"),
    *no_delete(ReceiptAlert),
    frozen(ReceiptAlert, "id", "receipt", "recipient", "purpose", rule="identity"),
    frozen(ReceiptAlert, "state", "sent_at", when=message_triggers.SENT, rule="sent"),
]
