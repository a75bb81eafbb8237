# SPDX-License-Identifier: Apache-2.0
"""Mails as rows: due until the worker has sent them.

The row is written in the transaction of what it tells of, so no mail is lost and none tells of what did not
happen. Delivery is at least once: a process that dies between sending and marking sends again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import models, transaction
from django.db.models import Q

from config import clock
from config.crash import crash_point
from config.guard import GuardedModel

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 6
SENDING_SECONDS = 120  # a row being sent is left alone this long; then it counts as not sent
BACKOFF_SECONDS = 30  # doubled with each attempt


class MailState(models.TextChoices):
    DUE = "due"
    SENT = "sent"
    FAILED = "failed"  # given up after its attempts
    NOT_NEEDED = "not_needed"  # what it would have told of was over first


class DueMail(GuardedModel):
    """The base of every kind of mail; a kind adds what it is about, and these two."""

    recipient = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    purpose = models.CharField(max_length=20)
    state = models.CharField(max_length=10, choices=MailState, default=MailState.DUE)
    due_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.purpose} to {self.recipient_id}"

    @staticmethod
    def constraints(name: str) -> list[models.CheckConstraint]:
        return [
            models.CheckConstraint(condition=Q(state__in=MailState.values), name=f"{name}_state_known"),
            models.CheckConstraint(
                condition=Q(state=MailState.SENT, sent_at__isnull=False)
                | (~Q(state=MailState.SENT) & Q(sent_at__isnull=True)),
                name=f"{name}_sent_iff_at",
            ),
        ]

    def is_needed(self) -> bool:
        """Whether what it tells of still stands."""
        raise NotImplementedError(f"{type(self).__name__} says when it is needed")


def due_mails(kind: type[DueMail], at: datetime | clock.Now) -> models.QuerySet[Any]:
    return kind._default_manager.filter(state=MailState.DUE, due_at__lte=at).order_by("due_at", "id")


def send(kind: type[DueMail], compose: Callable[[Any], tuple[str, str]], mail_id: int) -> None:
    """Send one due mail. Safe to run twice, and beside others.

    `compose` gives (subject, text): no case data, but a link to where it is shown after a log-in.
    """
    mail = _take(kind, mail_id)
    if mail is None:
        return
    subject, text = compose(mail)
    try:
        EmailMessage(" ".join(subject.split())[:200], text, to=[mail.recipient.email]).send()
    except (OSError, SMTPException) as fault:
        _put_back(mail, f"{type(fault).__name__}: {fault}")
    else:
        crash_point("mail.after_send")
        mail.state, mail.sent_at, mail.error = MailState.SENT, clock.now(), ""
        mail.write("state", "sent_at", "error", state=MailState.DUE)


def _take(kind: type[DueMail], mail_id: int) -> DueMail | None:
    with transaction.atomic():
        rows = (
            due_mails(kind, clock.now()).select_for_update(of=("self",), skip_locked=True).select_related("recipient")
        )
        mail: DueMail | None = rows.filter(pk=mail_id).first()
        if mail is None:
            return None
        if not (mail.recipient.is_active and mail.recipient.email and mail.is_needed()):
            mail.state = MailState.NOT_NEEDED
            mail.save(update_fields=["state"])
            return None
        mail.attempts += 1
        mail.due_at = clock.now() + timedelta(seconds=SENDING_SECONDS)
        mail.save(update_fields=["attempts", "due_at"])
        return mail


def _put_back(mail: DueMail, error: str) -> None:
    mail.error = error[:500]
    if mail.attempts >= MAX_ATTEMPTS:
        mail.state = MailState.FAILED
        log.error("mail %s to %s was given up after %s attempts: %s", mail.pk, mail.recipient, mail.attempts, error)
    mail.due_at = clock.now() + timedelta(seconds=BACKOFF_SECONDS * 2 ** (mail.attempts - 1))
    mail.write("state", "due_at", "error", state=MailState.DUE)
