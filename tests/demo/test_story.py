# SPDX-License-Identifier: Apache-2.0
"""The promises of the story hold after it was played, and each is found broken when it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMessage

from accounts.models import User
from approvals.models import ActionRequest
from approvals.services import decide
from audit.models import Entry
from demo import story
from demo.cast import AGENT, AGENT_ROLE, LIAISON, PLAYBOOK, assemble
from demo.fee_service import Order
from demo.feed import Feed, table
from runs.jobs import tick
from runs.models import Run
from runs.services import claim_tasks, complete_task, start_run
from tests.demo.conftest import APPLICATION
from tests.factories import later

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(frozen=True)
class Played:
    stage: story.Stage
    approved: int
    rejected: int

    def broken(self) -> list[str]:
        return [
            promise.words for promise in story.promises(self.stage, self.approved, self.rejected) if not promise.holds
        ]


@pytest.fixture
def played(settings, tmp_path, fee_server) -> Played:
    settings.VAR_DIR, settings.DEMO_FEE_URL = tmp_path, fee_server.url
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
    cast = assemble(tmp_path / "demo.json")
    approved = _decided("PASS", story.APPROVED_BECAUSE, email="ana@example.org")
    rejected = _decided("FAIL", story.REJECTED_BECAUSE, email="ben@example.org", place="riverside-park")
    tick()
    stage = story.Stage(
        url="http://127.0.0.1:9",
        fee_url=fee_server.url,
        var=tmp_path,
        liaison_password=cast.password(LIAISON),
        check=lambda: None,
        say=lambda line: None,
    )
    return Played(stage, approved, rejected)


def _decided(outcome: str, reason: str, **changes: Any) -> int:
    sender, agent = (User.objects.get(username=name) for name in ("web-form", AGENT))
    run = start_run(actor=sender, playbook=PLAYBOOK, payload={**APPLICATION, **changes})
    (lease,) = claim_tasks(role=AGENT_ROLE, actor=agent)
    complete_task(task_id=lease.task.pk, actor=agent, token=lease.token, outcome="PASS", output={"risk": "low"})
    request = ActionRequest.objects.get(run=run)
    decide(request_id=request.pk, actor=User.objects.get(username=LIAISON.username), outcome=outcome, reason=reason)
    return run.pk


def test_everything_promised_holds_after_the_story(played):
    assert played.broken() == []


def _lose_the_permit(played: Played) -> None:
    _permit(played).unlink()


def _change_the_permit(played: Played) -> None:
    _permit(played).write_bytes(_permit(played).read_bytes() + b" ")


def _mail_it_again(played: Played) -> None:
    pdf = _permit(played).read_bytes()
    EmailMessage("again", "", to=["ana@example.org"], attachments=[("p.pdf", pdf, "application/pdf")]).send()


def _charge_again(played: Played, ledger: Any) -> None:
    ledger.charge("another key", Order("40.00", "USD", "again"))


def _permit(played: Played) -> Path:
    return played.stage.var / "permits" / f"permit-{played.approved}.pdf"


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (_lose_the_permit, "the permit is a PDF, and the one that the log knows"),
        (_change_the_permit, "the permit is a PDF, and the one that the log knows"),
        (_mail_it_again, "the permit was mailed to the applicant, once"),
    ],
)
def test_a_permit_that_is_not_as_promised_is_found(played, spoil: Callable[[Played], None], found):
    spoil(played)
    assert found in played.broken()


def test_a_second_charge_is_found(played, fee_server):
    _charge_again(played, fee_server.ledger)
    assert played.broken() == ["every charge belongs to one completed step, and none was made twice"]


def test_a_rejected_application_with_a_permit_is_found(played):
    (played.stage.var / "permits" / f"permit-{played.rejected}.pdf").write_bytes(b"%PDF-1.4")
    assert played.broken() == ["no permit was written"]


def test_the_two_applications_are_not_mistaken_for_each_other(played):
    swapped = replace(played, approved=played.rejected, rejected=played.approved)
    assert len(swapped.broken()) >= 10


@pytest.mark.parametrize("fault", ["down", "busy", "lost"])
def test_a_fee_that_fails_twice_is_charged_once_by_the_third_attempt(played, fee_server, fault):
    before = len(fee_server.ledger.all())
    fee_server.add_faults(fault, 2)
    number = _decided("PASS", "again", place="memorial-lawn", email="cem@example.org")
    for _ in range(3):
        tick()
        later(minutes=2)

    run = Run.objects.get(pk=number)
    attempts = run.tasks.filter(step="Collect-Fee").order_by("attempt")
    assert run.state == "completed"
    assert [task.state for task in attempts] == ["failed", "failed", "completed"]
    assert all(task.retry_reason for task in attempts[:2])
    assert len(fee_server.ledger.all()) == before + 1


def test_a_bank_that_declines_ends_the_run_and_no_permit_is_written(played, fee_server):
    fee_server.add_faults("declined", 1)
    number = _decided("PASS", "again", place="memorial-lawn", email="cem@example.org")
    tick()

    run = Run.objects.get(pk=number)
    assert (run.state, run.ended_by_step) == ("failed", "Collect-Fee")
    assert not (played.stage.var / "permits" / f"permit-{number}.pdf").exists()


def test_waiting_for_what_does_not_happen_ends_with_the_reason(played, monkeypatch):
    monkeypatch.setattr(story, "WAIT_SECONDS", 0.2)
    with pytest.raises(story.StoryFailed, match="the end of the world: still not so"):
        played.stage.until("the end of the world", lambda: False)


def test_the_days_it_asks_for_are_days_nobody_asked_for(played):
    days = story.free_days()
    first = [next(days) for _ in range(8)]
    assert len(set(first)) == 8
    place, day = first[0]
    sender = User.objects.get(username="web-form")
    start_run(actor=sender, playbook=PLAYBOOK, payload={**APPLICATION, "place": place, "event_date": day.isoformat()})
    assert (place, day) not in [next(story.free_days()) for _ in range(1)]


# The log on a terminal ------------------------------------------------------------------------------------


def test_the_log_of_a_run_says_who_and_why_on_every_line(played):
    entries = Entry.objects.filter(run_id=played.approved).select_related("disclosure").order_by("id")
    told = table(entries)
    for said in ("AI-Screen", "validator", "liaison", story.APPROVED_BECAUSE, "worker", "COMPLETED"):
        assert said in told


def test_a_feed_tells_what_is_new_once(played, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    feed = Feed()
    assert list(feed.new_lines()) == []
    number = _decided("FAIL", "No\x1b[2J more", place="memorial-lawn")

    told = list(feed.new_lines())
    assert any(f"run {number}" in line and "started" in line for line in told)
    assert any("No�[2J more" in line for line in told)
    assert "\x1b" not in "".join(told)
    assert list(feed.new_lines()) == []


def test_a_line_of_the_feed_fits_the_terminal(played, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    feed = Feed()
    _decided("FAIL", "word " * 100, place="memorial-lawn")
    assert max(len(line) for line in feed.new_lines()) == 80
