# SPDX-License-Identifier: Apache-2.0
"""What is proposed, held and proven, for all to read; and the undo by keyboard."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from approvals.models import ActionRequest
from approvals.notify import link_to
from tests.approvals.asked import PAYMENT, approved, proposed, state_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

NARROWED = {"constraints": ["ceiling", "allowed", "not_after", "uses"]}


@pytest.fixture
def reviewer(visitor, client_for, liaison):
    visitor.come_in_as(client_for(liaison))
    return visitor


def test_no_page_of_what_is_proposed_or_proven_is_hard_to_read(reviewer, validator, liaison):
    asked = proposed(validator, call="treasury.pay", input=PAYMENT, executor="caller", policy=NARROWED)
    held = approved(validator, liaison, call="tests.pay", input=PAYMENT, policy={"hold": "1h"})
    faults = []
    for address in (
        link_to(asked),
        link_to(held.request),
        "/admin/approvals/receipt/",
        f"/admin/approvals/receipt/{held.pk.replace('_', '_5F')}/change/",
    ):
        reviewer.open(address)
        reviewer.look()
        faults += [*reviewer.faults(), *reviewer.faults_by_night()]

    assert faults == []


def test_an_approval_is_undone_by_keyboard(reviewer, validator, liaison):
    held = approved(validator, liaison, call="tests.pay", input=PAYMENT, policy={"hold": "1h"})
    reviewer.open(link_to(held.request))
    reviewer.page.get_by_label("Why, if you like").press_sequentially("the other invoice")
    reviewer.enter(reviewer.page.get_by_role("button", name="Undo the approval"))

    again = ActionRequest.objects.get(supersedes=held.request_id)
    expect(reviewer.page.get_by_text("Nothing was done; the same is asked again.")).to_be_visible()
    assert reviewer.page.url.endswith(link_to(again))
    assert state_of(held) == "revoked"
