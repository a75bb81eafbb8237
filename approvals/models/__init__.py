# SPDX-License-Identifier: Apache-2.0
"""Requests and votes; policies and standing rules; messages. One file for each subject."""

from approvals.models.messages import Broadcast, MailLink, Notification, Preference, Summary
from approvals.models.outside import (
    ExternalNotice,
    ExternalSystem,
    ExternalUser,
    SeenMessage,
    SlackAccount,
    SlackCode,
)
from approvals.models.policies import Policy, PolicyVersion, RuleState, StandingRule
from approvals.models.requests import (
    DECIDABLE_REQUESTS,
    DECIDED_REQUESTS,
    OPEN_REQUESTS,
    ActionRequest,
    Asked,
    Decided,
    RequestQuerySet,
    RequestState,
    RequestType,
    Revision,
    Severity,
    Vote,
    new_request_id,
)

__all__ = [
    "DECIDABLE_REQUESTS",
    "DECIDED_REQUESTS",
    "OPEN_REQUESTS",
    "ActionRequest",
    "Asked",
    "Broadcast",
    "Decided",
    "ExternalNotice",
    "ExternalSystem",
    "ExternalUser",
    "MailLink",
    "Notification",
    "Policy",
    "PolicyVersion",
    "Preference",
    "RequestQuerySet",
    "RequestState",
    "RequestType",
    "Revision",
    "RuleState",
    "SeenMessage",
    "Severity",
    "SlackAccount",
    "SlackCode",
    "StandingRule",
    "Summary",
    "Vote",
    "new_request_id",
]
