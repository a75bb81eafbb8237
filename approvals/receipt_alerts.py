# SPDX-License-Identifier: Apache-2.0
"""The mail to whoever approved: somebody tried to do something else, or to do it again. No case data, only a link."""

from __future__ import annotations

from functools import partial

from django.conf import settings
from django.template.loader import render_to_string

from approvals.models import ReceiptAlert
from approvals.notify import link_to
from config import mail
from config.mail import Letter
from runs import due

SAID = {
    "action_mismatch": "Something else was tried than what you approved.",
    "receipt_spent": "What you approved was tried once more after it had been done.",
    "receipt_expired": "What you approved was tried after its time.",
    "receipt_revoked": "What you approved was tried although the approval had been taken back.",
    "receipt_untrusted": "Something was tried on a receipt in your name that is not genuine.",
}


def mails() -> due.Source:
    return due.mail_source(ReceiptAlert, partial(mail.send, ReceiptAlert, refused))


def refused(alert: ReceiptAlert) -> Letter:
    request, who = alert.receipt.request, alert.recipient
    text = render_to_string(
        "approvals/receipt_alert.txt",
        {
            "who": who.get_full_name() or who.get_username(),
            "said": SAID[alert.purpose],
            "request": request.pk,
            "receipt": alert.receipt_id,
            "link": settings.SITE_ROOT + link_to(request),
        },
    )
    return Letter(f"Refused: {SAID[alert.purpose]}", text)
