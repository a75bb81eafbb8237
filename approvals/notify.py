# SPDX-License-Identifier: Apache-2.0
"""What the mails about requests say. They carry no case data, only a link."""

from __future__ import annotations

from functools import partial

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse

from approvals.models import ActionRequest, Notification
from config import mail
from runs import due

ASKED = "asked"


def mails() -> due.Source:
    return due.mail_source(Notification, partial(mail.send, Notification, asked))


def asked(notification: Notification) -> tuple[str, str]:
    request = notification.request
    who = notification.recipient
    text = render_to_string(
        "approvals/asked.txt",
        {
            "who": who.get_full_name() or who.get_username(),
            "title": request.title,
            "playbook": str(request.run.version.playbook) if request.run else "",
            "run": request.run_id,
            "requester": request.requester.get_full_name() or request.requester.get_username(),
            "severity": request.get_severity_display(),
            "due": request.due_at,
            "role": request.role,
            "link": settings.SITE_ROOT + link_to(request),
        },
    )
    return f"[{request.get_severity_display()}] To decide: {request.title}", text


def link_to(request: ActionRequest) -> str:
    return reverse("admin:approvals_actionrequest_decide", args=[request.pk])
