# SPDX-License-Identifier: Apache-2.0
"""The pages of runs and playbooks by hand: a fault found at a click, and a run cancelled by keyboard alone."""

from __future__ import annotations

import pytest
from django.contrib.auth.hashers import make_password
from playwright.sync_api import expect

from runs.models import Run
from tests.browser.visitor import Visitor
from tests.factories import founder, waiting_for_a_person
from tests.people import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

FAULTY = '{\n  "id": "looks",\n  "steps": [\n    {"id": "look", "type": "agnet"}\n  ]\n}'


@pytest.fixture
def at_work(visitor, validator) -> Visitor:
    waiting_for_a_person(validator)
    user = founder()
    user.password = make_password(PASSWORD)
    user.save(update_fields=["password"])
    visitor.log_in(user.username, PASSWORD)
    expect(visitor.page.get_by_text("Newest runs")).to_be_visible()
    return visitor


def test_a_click_on_a_fault_selects_its_line(at_work):
    at_work.open("/admin/playbooks/playbook/add/")
    at_work.fill({"Document": FAULTY})
    at_work.page.get_by_label("Document").press("End")
    at_work.press("Save as a draft", status=422)
    at_work.page.get_by_role("link", name="line 4").click()

    selected = at_work.page.evaluate("(t => t.value.slice(t.selectionStart, t.selectionEnd))(document.activeElement)")
    assert selected == '    {"id": "look", "type": "agnet"}'


def test_the_way_from_the_dashboard_to_a_run_and_its_cancelling_is_walked_by_keyboard(at_work):
    run = f"Run {Run.objects.earliest('pk').pk}"
    at_work.enter(at_work.page.get_by_role("link", name=run, exact=True))
    at_work.enter(at_work.page.get_by_role("link", name="Cancel the run"))
    at_work.page.get_by_label("Reason").press_sequentially("Entered twice.")
    at_work.enter(at_work.page.get_by_role("button", name="Cancel the run"))

    expect(at_work.page.get_by_text(f"{run} is cancelled.")).to_be_visible()
    expect(at_work.page.get_by_text("Entered twice.").first).to_be_visible()
