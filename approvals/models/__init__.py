# SPDX-License-Identifier: Apache-2.0
"""Requests and votes; policies and standing rules; messages; receipts; secrets; talk. One file for each subject."""

from approvals.models.channels import ChannelPost, SlackChannel
from approvals.models.messages import Broadcast, MailLink, Notification, Preference, Summary
from approvals.models.outside import (
    ExternalNotice,
    ExternalSystem,
    ExternalUser,
    SeenMessage,
    SlackAccount,
    SlackCode,
)
from approvals.models.people import Calendar, Delegation
from approvals.models.policies import Policy, PolicyVersion, RuleState, StandingRule
from approvals.models.receipts import (
    OPEN_RECEIPTS,
    Receipt,
    ReceiptAlert,
    ReceiptState,
    SigningKey,
    Spending,
)
from approvals.models.request_words import (
    DECIDABLE_REQUESTS,
    DECIDED_REQUESTS,
    EMERGENCY,
    OPEN_REQUESTS,
    Decided,
    RequestState,
    RequestType,
    Severity,
)
from approvals.models.requests import ActionRequest, RequestQuerySet, new_request_id
from approvals.models.secrets import Secret, SecretState
from approvals.models.talk import Attachment, Comment, Draft
from approvals.models.tallies import RequestTally
from approvals.models.templates import AgentLimit, RequestTemplate
from approvals.models.votes import Asked, Revision, Vote

__all__ = [
    "DECIDABLE_REQUESTS",
    "DECIDED_REQUESTS",
    "EMERGENCY",
    "OPEN_RECEIPTS",
    "OPEN_REQUESTS",
    "ActionRequest",
    "AgentLimit",
    "Asked",
    "Attachment",
    "Broadcast",
    "Calendar",
    "ChannelPost",
    "Comment",
    "Decided",
    "Delegation",
    "Draft",
    "ExternalNotice",
    "ExternalSystem",
    "ExternalUser",
    "MailLink",
    "Notification",
    "Policy",
    "PolicyVersion",
    "Preference",
    "Receipt",
    "ReceiptAlert",
    "ReceiptState",
    "RequestQuerySet",
    "RequestState",
    "RequestTally",
    "RequestTemplate",
    "RequestType",
    "Revision",
    "RuleState",
    "Secret",
    "SecretState",
    "SeenMessage",
    "Severity",
    "SigningKey",
    "SlackAccount",
    "SlackChannel",
    "SlackCode",
    "Spending",
    "StandingRule",
    "Summary",
    "Vote",
    "new_request_id",
]
