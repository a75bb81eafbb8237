# SPDX-License-Identifier: Apache-2.0
"""Secrets, drafts, comments and attachments on the decision page, by hand."""

import pytest
from playwright.sync_api import expect

from approvals import asking, services, talk
from approvals.models import Draft, Secret
from tests.people import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

CANARY = "sk_live_canary"
FORM = {
    "type": "object",
    "properties": {
        "api_key": {"type": "string", "format": "password", "title": "Key"},
        "account": {"type": "string", "title": "Account"},
    },
    "required": ["api_key"],
}


@pytest.fixture
def request_(validator):
    asked = asking.create_request(actor=validator, title="The key", role="human:police_liaison", form=FORM)
    talk.comment(request_id=asked.pk, actor=validator, text="The old one <b>expired</b>.\u202e")
    talk.attach(request_id=asked.pk, actor=validator, name=f"{'long-' * 30}name.pdf", content=b"%PDF-1.7")
    return asked


@pytest.fixture
def reviewer(visitor, liaison):
    visitor.log_in(liaison.username, PASSWORD)
    return visitor


def address_of(request):
    return f"/admin/approvals/actionrequest/{request.pk}/decide/"


def test_a_draft_keeps_itself_without_the_secret_and_nothing_is_wider_than_a_small_screen(reviewer, request_):
    reviewer.open(address_of(request_))
    page = reviewer.page
    page.set_viewport_size({"width": 320, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    sent = []
    page.on("request", lambda one: sent.append(one.post_data or "") if one.url.endswith("/draft/") else None)

    page.get_by_label("Key").fill(CANARY)
    page.get_by_label("Account").fill("acct_1")
    page.get_by_label("Reason").fill("So far")

    expect(page.locator("#draft-says")).to_contain_text("Draft saved, without what is secret in it", timeout=15_000)
    assert Draft.objects.get().response_data == {"account": "acct_1"}
    assert sent
    assert CANARY not in "".join(sent)
    reviewer.open(address_of(request_))
    expect(page.get_by_label("Account")).to_have_value("acct_1")
    expect(page.get_by_label("Key")).to_have_value("")
    assert reviewer.faults_by_day_and_night() == []


def test_who_gave_a_secret_takes_it_back_on_the_page(reviewer, request_, liaison):
    given = {"api_key": CANARY}
    services.decide(request_id=request_.pk, actor=liaison, outcome="PASS", response_data=given)

    reviewer.open(address_of(request_))
    assert CANARY not in reviewer.page.content()
    assert reviewer.faults_by_day_and_night() == []
    reviewer.press("Take back")

    expect(reviewer.page.get_by_role("heading", name="Secrets given")).to_be_visible()
    assert Secret.objects.get().state == "revoked"
