# SPDX-License-Identifier: Apache-2.0
"""From the citizen's form to the fee, in a real Chromium: apply, be screened, be decided on, be charged once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.conf import settings as project
from django.core import mail
from django.utils import timezone
from playwright.sync_api import Page, expect

from demo.fee_service import FeeServer, Ledger
from runs import jobs
from runs import services as runs
from runs.models import Run
from tests.factories import claimed, published
from tests.people import PASSWORD, agent, person

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

INBOX = "/admin/approvals/actionrequest/"
DOCUMENT = json.loads((project.BASE_DIR / "demo" / "protest_permit.json").read_text())


@pytest.fixture
def ledger(tmp_path, settings) -> Iterator[Ledger]:
    kept = Ledger(tmp_path / "fees.sqlite3")
    with FeeServer(kept) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        settings.DEMO_FEE_URL, settings.VAR_DIR = server.url, tmp_path
        yield kept
        server.shutdown()
        thread.join(10)


def apply(page: Page) -> Run:
    page.goto("/forms/protest_permit")
    page.get_by_label("Name of the person").fill("Ada Lovelace")
    page.get_by_label("E-mail address").fill("ada@example.org")
    page.get_by_label("Date of the protest").fill((timezone.now() + timedelta(days=60)).date().isoformat())
    page.get_by_label("Place").select_option(index=1)
    page.get_by_label("How many people").fill("200")
    page.get_by_label("What the protest").fill("Better machines")
    page.get_by_label("Crowd-control plan").fill("Twenty stewards along the route.")
    page.get_by_label("What I state is true").check()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("reference")).to_be_visible()
    return Run.objects.get()


def log_in_as_liaison(page: Page) -> None:
    page.goto(f"/admin/login/?next={INBOX}")
    page.get_by_label("Username").fill("liaison")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("All clear").first).to_be_visible()


def screen() -> None:
    validator = agent("validator", "agent:validator")
    lease = claimed(validator)
    runs.complete_task(
        task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS", output={"risk": "low"}
    )


def open_the_only_request(page: Page) -> None:
    page.goto(INBOX)
    page.get_by_role("link", name="Approve the crowd-control plan").click()
    expect(page.get_by_role("heading", name="Your decision")).to_be_visible()


@pytest.fixture
def page(visitor) -> Page:
    return visitor.page


@pytest.fixture
def liaison(live_server):
    return person("liaison", "staff", "human:police_liaison")


def test_from_the_form_over_inbox_and_approval_to_the_fee(page, ledger, liaison):
    published(DOCUMENT)
    run = apply(page)
    log_in_as_liaison(page)
    screen()
    open_the_only_request(page)
    expect(page.get_by_text("Ada Lovelace").first).to_be_visible()
    page.get_by_role("radio", name="Approve").check()
    page.get_by_label("Reason").fill("The plan is sound.")
    page.get_by_role("button", name="Record my decision").click()
    expect(page.get_by_text("All clear").first).to_be_visible()
    assert ledger.all() == [], "nothing is charged within the click"

    jobs.tick()

    assert Run.objects.get(pk=run.pk).state == "completed"
    assert [(charge["amount"], charge["currency"]) for charge in ledger.all()] == [("40.00", "USD")]
    assert "ada@example.org" in {to for message in mail.outbox for to in message.to}


def test_a_rejection_charges_nothing(page, ledger, liaison):
    published(DOCUMENT)
    run = apply(page)
    log_in_as_liaison(page)
    screen()
    open_the_only_request(page)
    page.get_by_role("radio", name="Reject").check()
    page.get_by_label("Reason").fill("The bridge is closed.")
    page.get_by_role("button", name="Record my decision").click()
    expect(page.get_by_text("All clear").first).to_be_visible()

    jobs.tick()

    assert Run.objects.get(pk=run.pk).state == "failed"
    assert ledger.all() == []
