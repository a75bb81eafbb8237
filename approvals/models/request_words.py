# SPDX-License-Identifier: Apache-2.0
"""What a request may be: its type, its state, how it was decided, what harm it might do."""

from __future__ import annotations

from django.db import models


class RequestType(models.TextChoices):
    """The seven of the field's contract, and approval of a playbook's step (a `custom` with options)."""

    API_KEY = "api_key"
    ACCOUNT_CREATION = "account_creation"
    LEGAL_DOCUMENT = "legal_document"
    PAYMENT_AUTHORIZATION = "payment_authorization"
    BUSINESS_SETUP = "business_setup"
    STRATEGIC_DECISION = "strategic_decision"
    CUSTOM = "custom"


class RequestState(models.TextChoices):
    PENDING = "pending"
    IN_REVIEW = "in_review"  # claimed by a person
    INFO_REQUESTED = "info_requested"  # its clock is paused
    CHANGES_REQUESTED = "changes_requested"  # waits for a new revision
    FULFILLED = "fulfilled"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    NOT_REQUIRED = "not_required"  # its task or run ended without it


OPEN_REQUESTS = (
    RequestState.PENDING,
    RequestState.IN_REVIEW,
    RequestState.INFO_REQUESTED,
    RequestState.CHANGES_REQUESTED,
)
DECIDABLE_REQUESTS = (RequestState.PENDING, RequestState.IN_REVIEW)
DECIDED_REQUESTS = (RequestState.FULFILLED, RequestState.REJECTED)


class Decided(models.TextChoices):
    """How a request came to its outcome."""

    PERSON = "person"
    BREAK_GLASS = "break_glass"  # by one person, in an emergency; reviewed afterwards
    STANDING_RULE = "standing_rule"
    TIMEOUT = "timeout"  # by nobody: the policy's default


EMERGENCY = "emergency"  # why somebody sees a request who is not asked: they may break the glass


class Severity(models.TextChoices):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"
