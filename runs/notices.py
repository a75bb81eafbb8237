# SPDX-License-Identifier: Apache-2.0
"""What the mails about runs say. They carry no case data, only a link."""

from __future__ import annotations

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse

from config.mail import Letter
from runs.models import Notice

STALLED = "stalled"


def stalled(notice: Notice) -> Letter:
    task, run, who = notice.task, notice.run, notice.recipient
    assert task is not None, "it is a task that stalls"
    version = run.version
    text = render_to_string(
        "runs/stalled.txt",
        {
            "who": who.get_full_name() or who.get_username(),
            "playbook": version.playbook,
            "version": version.number,
            "run": run.pk,
            "step": task.step,
            "attempt": task.attempt,
            "state": task.get_state_display().lower(),
            "role": task.role,
            "minutes": task.definition.max_minutes,
            "link": settings.SITE_ROOT + reverse("admin:runs_run_change", args=[run.pk]),
        },
    )
    return Letter(f"[Stalled] {version.playbook}, run {run.pk}: {task.step}", text)
