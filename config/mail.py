# SPDX-License-Identifier: Apache-2.0
"""What is sent, as rows: due until a worker has sent it, tried again with growing pauses, given up in the open.

The row is written in the transaction of what it tells of, so nothing is lost and nothing tells of what did not
happen. Delivery is at least once: a process that dies between sending and marking sends again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from smtplib import SMTPException
from typing import Any, ClassVar

from django.conf import settings
from django.core.mail import BadHeaderError, EmailMultiAlternatives
from django.db import models, transaction
from django.db.models import Q

from config import clock, wake
from config.crash import crash_point
from config.guard import GuardedModel
from config.invariant import Invariant

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 6
SENDING_SECONDS = 120  # a row being sent is left alone this long; then it counts as not sent
BACKOFF_SECONDS = 30  # doubled with each attempt
MAX_SUBJECT = 200  # characters
CUT_SHORT = "the process that was sending it ended"
NO_ADDRESS = "there is no address to send it to"


class MailState(models.TextChoices):
    DUE = "due"
    SENT = "sent"
    FAILED = "failed"  # given up after its attempts
    NOT_NEEDED = "not_needed"  # what it would have told of was over first


class Undelivered(Exception):
    """It was not taken. Another try may succeed."""


class Undeliverable(Undelivered):
    """It will never be taken as it is: trying again is of no use."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What a mail says. The subject becomes one line; `html` is the same words, for programs that show it."""

    subject: str
    text: str
    html: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class DueRow(GuardedModel):
    """The base of all that is sent; a kind adds to whom, and what it is about."""

    purpose = models.CharField(max_length=20)
    state = models.CharField(max_length=10, choices=MailState, default=MailState.DUE)
    due_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    READ_WITH: ClassVar[tuple[str, ...]] = ()  # what is read with the row, to send it
    wakes = (wake.WORK,)

    class Meta:
        abstract = True

    @staticmethod
    def constraints(name: str) -> list[models.BaseConstraint]:
        return [
            Invariant(condition=Q(state__in=MailState.values), name=f"{name}_state_known"),
            Invariant(
                condition=Q(state=MailState.SENT, sent_at__isnull=False)
                | (~Q(state=MailState.SENT) & Q(sent_at__isnull=True)),
                name=f"{name}_sent_iff_at",
            ),
        ]

    def is_needed(self) -> bool:
        """Whether what it tells of still stands."""
        raise NotImplementedError(f"{type(self).__name__} says when it is needed")

    def is_deliverable(self) -> bool:
        """Whether there is somebody to take it."""
        return True


# Called under the row's lock before it is sent at the moment given: may put it off, by a later `due_at`, or hand it
# to something else that is sent. Returns the fields that it changed.
Arrange = Callable[[Any, datetime], tuple[str, ...]]


def as_it_is(row: DueRow, at: datetime) -> tuple[str, ...]:
    return ()


class DueMail(DueRow):
    """The base of every kind of mail to one person."""

    recipient = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")

    READ_WITH: ClassVar[tuple[str, ...]] = ("recipient",)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.purpose} to {self.recipient_id}"

    def is_deliverable(self) -> bool:
        return bool(self.recipient.is_active and self.recipient.email)


def due_mails(kind: type[DueRow], at: datetime | clock.Now) -> models.QuerySet[Any]:
    return kind._default_manager.filter(state=MailState.DUE, due_at__lte=at).order_by("due_at", "id")


def send(kind: type[DueMail], compose: Callable[[Any], Letter], mail_id: int) -> None:
    """Send one due mail. Safe to run twice, and beside others.

    `compose` says what stands in it: no case data, but a link to where it is shown after a log-in.
    """
    deliver(kind, lambda row: post(row.recipient.email, compose(row)), mail_id)


def post(address: str, letter: Letter) -> None:
    """Raises Undelivered, or Undeliverable for an address that no mail can have."""
    subject = " ".join(letter.subject.split())[:MAX_SUBJECT]
    message = EmailMultiAlternatives(subject, letter.text, to=[address], headers=dict(letter.headers))
    if letter.html:
        message.attach_alternative(letter.html, "text/html")
    try:
        message.send()
    except BadHeaderError as fault:
        raise Undeliverable(f"{type(fault).__name__}: {fault}")
    except (OSError, SMTPException) as fault:
        raise Undelivered(f"{type(fault).__name__}: {fault}")


def deliver(
    kind: type[DueRow],
    hand_over: Callable[[Any], tuple[str, ...] | None],
    row_id: int,
    *,
    arrange: Arrange = as_it_is,
    settled: Callable[[Any], None] | None = None,
) -> None:
    """Send one due row by `hand_over`, which may raise Undelivered, and returns the fields that it has learned.

    `settled(row)` is called in the transaction in which the row reaches a state that it stays in.
    """
    row = _take(kind, row_id, arrange, settled)
    if row is None:
        return
    try:
        learned = hand_over(row) or ()
    except Undelivered as fault:
        _note_fault(row, str(fault), for_ever=isinstance(fault, Undeliverable))
        fields: tuple[str, ...] = ("state", "due_at", "error")
    else:
        crash_point("mail.after_send")
        row.state, row.sent_at, row.error = MailState.SENT, clock.now(), ""
        fields = ("state", "sent_at", "error", *learned)
    with transaction.atomic():
        if row.write(*fields, state=MailState.DUE) and row.state != MailState.DUE and settled is not None:
            settled(row)


def _take(kind: type[DueRow], row_id: int, arrange: Arrange, settled: Callable[[Any], None] | None) -> DueRow | None:
    """The row, to be sent now by this process alone; None if it is not, or no longer, to be sent now."""
    with transaction.atomic():
        at = clock.now()
        rows = due_mails(kind, at).select_for_update(of=("self",), skip_locked=True).select_related(*kind.READ_WITH)
        row: DueRow | None = rows.filter(pk=row_id).first()
        if row is None:
            return None
        changed = arrange(row, at) if row.is_needed() else ()
        if not row.is_needed() or not row.is_deliverable():
            row.state, row.error = MailState.NOT_NEEDED, "" if row.is_deliverable() else NO_ADDRESS
        elif row.attempts >= MAX_ATTEMPTS:
            _give_up(row, row.error or CUT_SHORT)
        if row.state != MailState.DUE and settled is not None:
            settled(row)
        if row.state != MailState.DUE or row.due_at > at:
            row.save(update_fields=["state", "error", "due_at", *changed])
            return None
        row.attempts += 1
        row.due_at = at + timedelta(seconds=SENDING_SECONDS)
        row.save(update_fields=["attempts", "due_at", *changed])
        return row


def _note_fault(row: DueRow, error: str, *, for_ever: bool) -> None:
    row.error = error[:500]
    row.due_at = clock.now() + timedelta(seconds=BACKOFF_SECONDS * 2 ** (row.attempts - 1))
    if for_ever or row.attempts >= MAX_ATTEMPTS:
        _give_up(row, row.error)


def _give_up(row: DueRow, error: str) -> None:
    row.state, row.error = MailState.FAILED, error
    log.error("%s %s (%s) was given up after %s attempts: %s", type(row).__name__, row.pk, row, row.attempts, error)
