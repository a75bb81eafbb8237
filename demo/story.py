# SPDX-License-Identifier: Apache-2.0
"""The whole story, played by itself: two applications, one approved and one rejected, and what must hold afterwards.

It acts as people do, through the pages: the citizen's form, the liaison's mail, log-in and decision page.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from audit import actions
from audit.models import Entry
from demo.browser import Browser
from demo.cast import AGENT, LIAISON, PLAYBOOK
from demo.mailbox import mails_to, text_of
from demo.screening import Booking, Calendar, booking_of
from runs.models import Run, RunState, Task, TaskState

WAIT_SECONDS = 60.0  # for any one thing
LOOK_SECONDS = 0.1
DAYS_AHEAD = 30
FEE = ("40.00", "USD")
APPROVED_BECAUSE = "The plan is sound; two officers will be at the fountain."
REJECTED_BECAUSE = "The plan does not say how the bridge is kept open."
CONDITION = "Two medics stay at the fountain until the square is empty."
PLAN = "Ten stewards in yellow vests, first aid at the fountain, the place is swept at nine in the evening."
ALL_STEPS = ["AI-Screen", "Human-Approve", "Collect-Fee", "Issue-Permit"]
LINK = re.compile(r"https?://\S+")


class StoryFailed(Exception):
    """Something did not happen, or not in time; the message says what."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the story plays, and how it finds out that it should stop waiting."""

    url: str
    fee_url: str
    var: Path
    liaison_password: str
    check: Callable[[], None]  # raises if there is nothing left to wait for
    say: Callable[[str], None]

    def until(self, what: str, found: Callable[[], Any]) -> Any:
        """Wait until `found()` is true, and return it. Raises StoryFailed."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not (answer := found()):
            self.check()
            if time.monotonic() > deadline:
                raise StoryFailed(f"{what}: still not so after {WAIT_SECONDS:.0f} seconds")
            time.sleep(LOOK_SECONDS)
        return answer

    @property
    def mail(self) -> Path:
        return self.var / "mail"

    def charges(self) -> list[dict[str, str]]:
        return list(httpx2.get(f"{self.fee_url}/charges", trust_env=False).json()["charges"])


@dataclass(frozen=True, slots=True)
class Promise:
    words: str
    holds: bool


def play(stage: Stage) -> list[int]:
    """Both applications, from form to end; the numbers of their runs, the approved one first."""
    days = free_days()
    with Browser(stage.url) as citizen, Browser(stage.url) as liaison:
        approved = _apply(stage, citizen, "Ana Ruiz", "ana.ruiz", next(days))
        rejected = _apply(stage, citizen, "Ben Achterberg", "ben.achterberg", next(days))
        _log_in(stage, liaison)
        _decide(stage, liaison, approved, approve=True, reason=APPROVED_BECAUSE)
        _decide(stage, liaison, rejected, approve=False, reason=REJECTED_BECAUSE)
    for number in (approved, rejected):
        stage.until(f"the end of run {number}", partial(_has_ended, number))
    return [approved, rejected]


def promises(stage: Stage, approved: int, rejected: int) -> Iterator[Promise]:
    """What the story promises, and whether it is so."""
    yield from _promises_of_approval(stage, Run.objects.get(pk=approved))
    yield from _promises_of_rejection(stage, Run.objects.get(pk=rejected))
    fees = [charge["charge_id"] for charge in stage.charges()]
    done = Task.objects.filter(step="Collect-Fee", state=TaskState.COMPLETED)
    ids = [task.output["charge_id"] for task in done if task.output]
    yield Promise("every charge belongs to one completed step, and none was made twice", sorted(fees) == sorted(ids))


# Acting --------------------------------------------------------------------------------------------------


def _apply(stage: Stage, citizen: Browser, name: str, mailbox: str, booking: Booking) -> int:
    place, day = booking
    page = citizen.open(f"/forms/{PLAYBOOK}")
    answer = citizen.send(
        page,
        page.form_with("applicant_name", "crowd_size"),
        applicant_name=name,
        # A mailbox for each application, so that what was mailed for it can be told from earlier ones.
        email=f"{mailbox}+{day.isoformat()}-{place}@example.org",
        event_date=day.isoformat(),
        place=place,
        crowd_size="250",
        purpose="Clean air for the old town",
        crowd_control_plan=PLAN,
        is_true="on",
    )
    reference = re.search(r"Your reference is <strong>(\d+)</strong>", answer.text)
    if reference is None:
        raise StoryFailed(f"the form was not accepted: {answer.url} answered {answer.status}")
    stage.say(f"{name} applied for {place} on {day}: run {reference[1]}")
    return int(reference[1])


def free_days() -> Iterator[Booking]:
    """Places and days nobody has asked for yet, so that the story can be played again and again."""
    city = Calendar.load()
    asked = {booking_of(run.payload) for run in Run.objects.only("payload")}
    first = datetime.now(UTC).date() + timedelta(days=DAYS_AHEAD)
    for number in range(city.horizon_days - DAYS_AHEAD):
        day: date = first + timedelta(days=number)
        for place in city.places:
            if (place, day) not in asked and not city.holiday(day):
                yield place, day
    raise StoryFailed("every place is asked for on every day: make clean begins anew")


def _log_in(stage: Stage, liaison: Browser) -> None:
    page = liaison.open("/admin/login/")
    form = page.form_with("username", "password")
    answer = liaison.send(page, form, username=LIAISON.username, password=stage.liaison_password)
    if "password" in {name for form in answer.forms for name in form.names}:
        raise StoryFailed("the liaison could not log in with the password that was printed")


def _decide(stage: Stage, liaison: Browser, run: int, *, approve: bool, reason: str) -> None:
    link = stage.until(f"the mail that asks the liaison about run {run}", lambda: _link_in_mail(stage, run))
    page = liaison.open(link)
    form = page.form_with("reason", "revision", "digest")
    asked_for = {name: CONDITION for name in form.names if approve and name.endswith("conditions")}
    answer = liaison.send(page, form, outcome="PASS" if approve else "FAIL", reason=reason, **asked_for)
    if answer.status != 200:
        raise StoryFailed(f"the decision on run {run} was not taken: {answer.url} answered {answer.status}")
    stage.say(f"the liaison {'approved' if approve else 'rejected'} run {run}: {reason}")


def _link_in_mail(stage: Stage, run: int) -> str:
    for mail in mails_to(stage.mail, f"{LIAISON.username}@"):
        text = text_of(mail)
        if f", run {run}\n" in text and (link := LINK.search(text)):
            return link[0]
    return ""


def _has_ended(run: int) -> bool:
    return not Run.objects.get(pk=run).is_open


# What must hold ------------------------------------------------------------------------------------------


def _promises_of_approval(stage: Stage, run: Run) -> Iterator[Promise]:
    outputs = dict(run.tasks.filter(state=TaskState.COMPLETED).values_list("step", "output"))
    fee, permit = outputs.get("Collect-Fee") or {}, outputs.get("Issue-Permit") or {}
    charged = [charge for charge in stage.charges() if charge["charge_id"] == fee.get("charge_id")]
    yield Promise(f"run {run.pk} is completed", run.state == RunState.COMPLETED)
    yield Promise("its steps were done in order: screened, decided, charged, issued", _steps(run) == ALL_STEPS)
    yield Promise("the agent passed it before any person was asked", _agent_was_first(run))
    yield Promise("the log names who approved, and why", _decided_by(run) == (LIAISON.username, APPROVED_BECAUSE))
    yield Promise("$40 were charged, once", [(c["amount"], c["currency"]) for c in charged] == [FEE])
    pdf = _permit_file(stage, run)
    yield Promise("the permit is a PDF, and the one that the log knows", _is_the_permit(pdf, permit))
    yield Promise("the permit was mailed to the applicant, once", _attachments(stage, run) == [pdf])


def _promises_of_rejection(stage: Stage, run: Run) -> Iterator[Promise]:
    yield Promise(f"run {run.pk} is failed", run.state == RunState.FAILED)
    yield Promise(
        "it ended at the liaison's step", _steps(run) == ["AI-Screen"] and run.ended_by_step == "Human-Approve"
    )
    yield Promise("the log names who rejected, and why", _decided_by(run) == (LIAISON.username, REJECTED_BECAUSE))
    yield Promise("no fee was asked for", not run.effects.exists())
    yield Promise("no permit was written", _permit_file(stage, run) == b"")
    yield Promise("no permit was mailed", _attachments(stage, run) == [])


def _steps(run: Run) -> list[str]:
    done = run.tasks.filter(state=TaskState.COMPLETED).order_by("ended_at", "id")
    return list(done.values_list("step", flat=True))


def _agent_was_first(run: Run) -> bool:
    entries = Entry.objects.filter(run_id=run.pk).order_by("id")
    passed = entries.filter(action=actions.TASK_COMPLETED, step="AI-Screen", actor_name=AGENT).first()
    asked = entries.filter(action=actions.REQUEST_CREATED).first()
    return passed is not None and asked is not None and passed.pk < asked.pk


def _decided_by(run: Run) -> tuple[str, str]:
    decided = [actions.REQUEST_FULFILLED, actions.REQUEST_REJECTED]
    entry = Entry.objects.select_related("disclosure").filter(run_id=run.pk, action__in=decided).first()
    return (entry.actor_name, entry.note) if entry else ("", "")


def _permit_file(stage: Stage, run: Run) -> bytes:
    path = stage.var / "permits" / f"permit-{run.pk}.pdf"
    return path.read_bytes() if path.exists() else b""


def _is_the_permit(pdf: bytes, output: dict[str, Any]) -> bool:
    return pdf.startswith(b"%PDF-") and hashlib.sha256(pdf).hexdigest() == output.get("sha256")


def _attachments(stage: Stage, run: Run) -> list[bytes]:
    mails = mails_to(stage.mail, run.payload["email"])
    return [part.get_content() for mail in mails for part in mail.iter_attachments()]
