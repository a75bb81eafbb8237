# SPDX-License-Identifier: Apache-2.0
"""Policies, standing rules, and the pages beside a decision, in a browser: by day, by night, at 320 px, by keyboard."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from approvals import policies, revising, services, standing
from approvals.asking import create_request
from approvals.models import ActionRequest, PolicyVersion
from config import clock
from tests.browser.test_run_pages import photograph
from tests.browser.visitor import Visitor
from tests.people import agent, person

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

BOARD = "human:board"
POLICY = """\
stages:
  - name: two of the board
    rules:
      - {role: "human:board", approvals: 2}
reasons: {codes: {late: Too late, odd: Not ours}}
hold: 10m
edits: {allowed: true}
break_glass: {role: "human:board", review_role: "human:audit"}
"""


@pytest.fixture
def house(administrator) -> ActionRequest:
    for name in ("bea", "bo"):
        person(name, BOARD, "staff")
    asker = agent("asker", "agent:asker")
    policies.create_policy(actor=administrator, slug="plans", title="Plans of the city", document=POLICY)
    policies.publish_version(actor=administrator, slug="plans", number=1)
    policies.add_version(actor=administrator, slug="plans", document=POLICY.replace("10m", "1h"))
    until = clock.now() + timedelta(days=20)
    terms = standing.Proposal(
        "Small fees", "They are all alike.", "human:clerk", until, 100, when="asked.context.a < 9"
    )
    rule = standing.propose_rule(actor=administrator, proposal=terms)
    standing.activate_rule(actor=person("second", "administrator"), rule_id=rule.pk)
    request = create_request(
        actor=asker,
        role=BOARD,
        title="Publish the plan for the northern bank",
        context={"area": "north", "houses": 120},
        policy={"use": "plans"},
    )
    revising.request_info(request_id=request.pk, actor=_user("bea"), question="How many houses stand there now?")
    revising.answer_info(request_id=request.pk, actor=asker, answer="Ninety.")
    changes = {"context": {"area": "north", "houses": 30}}
    revising.revise_request(request_id=request.pk, actor=asker, changes=changes, reason="Only the new ones.")
    services.decide(request_id=request.pk, actor=_user("bea"), outcome="PASS", reason="Sound.")
    return request


def _user(name: str):
    from accounts.models import User

    return User.objects.get(username=name)


def page_of(request: ActionRequest, page: str = "decide") -> str:
    return f"/admin/approvals/actionrequest/{request.pk}/{page}/"


def test_no_page_of_policies_is_hard_to_read(house, administrator, visitor, client_for):
    visitor.come_in_as(client_for(administrator))
    draft = PolicyVersion.objects.get(number=2)
    faults = []
    for name, path in {
        "policies": "/admin/approvals/policy/",
        "policy": f"/admin/approvals/policy/{draft.policy_id}/change/",
        "policy-new": "/admin/approvals/policy/add/",
        "policy-version": f"/admin/approvals/policyversion/{draft.pk}/change/",
        "policy-publish": f"/admin/approvals/policyversion/{draft.pk}/publish/",
        "rules-standing": "/admin/approvals/standingrule/",
        "rule-standing": "/admin/approvals/standingrule/1/change/",
        "rule-propose": "/admin/approvals/standingrule/add/",
    }.items():
        visitor.open(path)
        faults += visitor.faults_by_day_and_night()
        photograph(visitor, name)

    assert faults == []


def test_no_page_beside_a_decision_is_hard_to_read(house, visitor, client_for):
    visitor.come_in_as(client_for(_user("bo")))
    faults = []
    for name in ("decide", "ask", "changes", "revise", "emergency"):
        visitor.open(page_of(house, name))
        faults += visitor.faults_by_day_and_night()
        photograph(visitor, f"request-{name}")

    assert faults == []


def test_a_member_of_the_board_asks_back_by_keyboard(house, visitor: Visitor, client_for):
    visitor.come_in_as(client_for(_user("bo")))
    visitor.open(page_of(house))
    expect(visitor.page.get_by_text("bea: Approved")).to_be_visible()
    expect(visitor.page.locator("dt", has_text="houses").first).to_be_visible()
    visitor.enter(visitor.page.get_by_role("link", name="Ask whoever asked something"))
    visitor.page.get_by_label("Question").press_sequentially("Who lives there?")
    visitor.enter(visitor.page.get_by_role("button", name="Send the question"))

    expect(visitor.page.get_by_text("Who lives there?").first).to_be_visible()
    assert ActionRequest.objects.get(pk=house.pk).state == "info_requested"
