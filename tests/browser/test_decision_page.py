# SPDX-License-Identifier: Apache-2.0
"""The decision page and the public form by hand: by keyboard, in a hurry, after a while away; for all to read."""

import json
import re

import pytest
from playwright.sync_api import expect

from approvals.asking import create_request
from approvals.models import Vote
from approvals.revising import revise_request
from demo.cast import DOCUMENT
from runs.models import Run
from tests.browser.test_run_pages import photograph
from tests.browser.visitor import NARROW, TOO_WIDE, WIDE
from tests.factories import PERMIT, later, published, reloaded, waiting_for_a_person
from tests.people import PASSWORD, person

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OFFICERS = {
    "type": "object",
    "required": ["officers"],
    "properties": {
        "officers": {"type": "integer", "minimum": 2, "title": "Officers on site"},
        "lanes": {"type": "array", "items": {"enum": ["north", "south"]}, "title": "Lanes to close"},
    },
}
MOST_TABS = 60


def human_step(**fields):
    """The permit's playbook, its human step changed."""
    changed = [{**step, **fields} if step["id"] == "Human-Approve" else step for step in PERMIT["steps"]]
    return {**PERMIT, "steps": changed}


def address_of(request):
    return f"/admin/approvals/actionrequest/{request.pk}/decide/"


@pytest.fixture
def reviewer(visitor, liaison):
    visitor.log_in(liaison.username, PASSWORD)
    return visitor


def tabbed_to(visitor, what):
    """Press Tab until it has the focus, which is then to be seen."""
    for _ in range(MOST_TABS):
        visitor.page.keyboard.press("Tab")
        if what.evaluate("one => one === document.activeElement"):
            break
    expect(what).to_be_focused()
    assert what.evaluate("one => getComputedStyle(one).outlineStyle") != "none"


def posts_of(visitor):
    """What the browser sends from now on, but for drafts."""
    sent = []

    def note(request):
        if request.method == "POST" and not request.url.endswith("/draft/"):
            sent.append(request.url)

    visitor.page.on("request", note)
    return sent


# Deciding ------------------------------------------------------------------------------------------------------------


def test_a_decision_is_made_by_keyboard_alone(reviewer, validator):
    request = waiting_for_a_person(validator)
    reviewer.open(address_of(request))

    tabbed_to(reviewer, reviewer.page.get_by_role("radio", name="Approve"))
    reviewer.page.keyboard.press("Space")
    expect(reviewer.page.get_by_role("radio", name="Approve")).to_be_checked()
    reviewer.page.keyboard.press("ArrowDown")
    expect(reviewer.page.get_by_role("radio", name="Reject")).to_be_checked()
    tabbed_to(reviewer, reviewer.page.get_by_label("Reason"))
    reviewer.page.keyboard.type("The park is closed.")
    record = reviewer.page.get_by_role("button", name="Record my decision")
    tabbed_to(reviewer, record)
    reviewer.enter(record)

    expect(reviewer.page.get_by_text("Rejected: Human Approve: protest_permit.")).to_be_visible()
    assert reloaded(request).rejection_reason == "The park is closed."


def test_enter_in_a_line_of_text_records_and_does_nothing_else(reviewer, validator):
    request = waiting_for_a_person(validator, human_step(severity="critical"))
    reviewer.open(address_of(request))
    reviewer.press("Review this")
    reviewer.page.get_by_role("radio", name="Approve").check()
    reviewer.fill({"Type": "Human-Approve"})

    reviewer.enter(reviewer.page.get_by_label("Type"))

    assert reloaded(request).state == "fulfilled"


def test_what_is_missing_is_named_and_what_was_typed_is_still_there(reviewer, validator):
    request = waiting_for_a_person(validator, human_step(form=OFFICERS))
    reviewer.open(address_of(request))
    reviewer.page.get_by_role("radio", name="Reject").check()
    reviewer.fill({"Officers on site": "4"})
    reviewer.page.get_by_label("north").check()

    reviewer.press("Record my decision", status=422)

    expect(reviewer.page.get_by_role("alert")).to_be_focused()
    expect(reviewer.page.get_by_label("Officers on site")).to_have_value("4")
    expect(reviewer.page.get_by_label("north")).to_be_checked()
    expect(reviewer.page.get_by_role("radio", name="Reject")).to_be_checked()
    reviewer.page.get_by_role("alert").get_by_role("link").click()
    expect(reviewer.page.get_by_label("Reason")).to_be_focused()
    reviewer.page.keyboard.type("Too few officers.")
    reviewer.press("Record my decision")
    assert reloaded(request).state == "rejected"


def test_a_double_click_sends_one_decision(reviewer, validator):
    request = waiting_for_a_person(validator)
    reviewer.open(address_of(request))
    reviewer.page.get_by_role("radio", name="Approve").check()
    sent = posts_of(reviewer)

    with reviewer.page.expect_navigation():
        reviewer.page.get_by_role("button", name="Record my decision").dblclick()
    reviewer.look()

    expect(reviewer.page.get_by_text("Approved: Human Approve: protest_permit.")).to_be_visible()
    assert len(sent) == 1
    assert Vote.objects.count() == 1


def test_what_records_the_decision_is_in_sight_however_long_the_form(reviewer, validator):
    form = {"type": "object", "properties": {f"remark_{number}": {"type": "string"} for number in range(20)}}
    reviewer.open(address_of(waiting_for_a_person(validator, human_step(form=form))))

    expect(reviewer.page.get_by_role("button", name="Record my decision")).to_be_in_viewport(ratio=1)


def test_of_two_reviewers_at_once_one_decides_and_the_other_is_told_by_whom(reviewer, validator, visitor_of):
    request = waiting_for_a_person(validator)
    person("amal", "staff", "human:police_liaison")
    second = visitor_of(reviewer.url)
    second.log_in("amal", PASSWORD)
    reviewer.open(address_of(request))
    reviewer.press("Review this")
    second.open(address_of(request))
    expect(second.page.get_by_text("liaison is reviewing this until")).to_be_visible()

    racing = {"liaison": (reviewer, "Approve", "The plan is sound."), "amal": (second, "Reject", "The park is closed.")}
    for who, outcome, reason in racing.values():
        who.page.get_by_role("radio", name=outcome).check()
        who.fill({"Reason": reason})
    for who, _, _ in racing.values():
        who.page.get_by_role("button", name="Record my decision").evaluate("button => setTimeout(() => button.click())")
    for who, _, _ in racing.values():
        expect(who.page.get_by_text(re.compile("Nothing was recorded|Nothing waits for your decision"))).to_be_visible()

    decided = reloaded(request)
    (winner,) = (name for name in racing if name == decided.decided_by.username)
    (loser,) = racing.keys() - {winner}
    assert (decided.state, Vote.objects.count()) == ("fulfilled" if winner == "liaison" else "rejected", 1)
    page = racing[loser][0].page
    expect(page.get_by_role("alert")).to_contain_text(racing[loser][2])
    expect(page.get_by_role("main")).to_contain_text(re.compile(rf"Decided by\s*{winner}"))
    expect(page.get_by_role("button", name="Record my decision")).to_have_count(0)


def test_a_double_click_on_the_public_form_starts_one_run(visitor):
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    published({**PERMIT, "web_form": {"public": True}, "payload_schema": schema})
    visitor.open("/forms/protest_permit")
    visitor.fill({"Name": "Ana Ruiz"})

    with visitor.page.expect_navigation():
        visitor.page.get_by_role("button", name="Send").dblclick()

    expect(visitor.page.get_by_text("Your reference is")).to_be_visible()
    visitor.look()
    assert Run.objects.count() == 1


# Claims --------------------------------------------------------------------------------------------------------------


def test_writing_renews_the_claim_every_few_minutes_and_idleness_does_not(reviewer, validator):
    request = waiting_for_a_person(validator)
    reviewer.page.clock.install()
    reviewer.open(address_of(request))
    reviewer.press("Review this")
    until = reviewer.page.locator("#claim-until")
    at_first, first = until.get_attribute("datetime"), reloaded(request).claim_expires_at
    sent = posts_of(reviewer)

    reviewer.page.get_by_label("Reason").press_sequentially("The plan")
    later(minutes=5)
    reviewer.page.clock.fast_forward("05:00")
    assert sent == [], "neither at once nor without writing"
    with reviewer.page.expect_response(lambda answer: answer.request.method == "POST") as answered:
        reviewer.page.get_by_label("Reason").press_sequentially(" is sound.")

    assert answered.value.status == 200
    expect(until).not_to_have_attribute("datetime", at_first)
    assert (reloaded(request).claim_expires_at - first).total_seconds() > 4 * 60
    assert len(sent) == 1, "every few minutes, and not with every letter"
    reviewer.assert_quiet()


def test_who_was_away_too_long_renews_with_the_text_still_there_and_decides(reviewer, validator):
    request = waiting_for_a_person(validator, human_step(form=OFFICERS))
    reviewer.open(address_of(request))
    reviewer.press("Review this")
    reviewer.page.get_by_role("radio", name="Approve").check()
    reviewer.fill({"Officers on site": "4", "Reason": "The plan is sound."})
    later(minutes=20)

    reviewer.press("Record my decision", status=409)
    expect(reviewer.page.get_by_role("alert")).to_contain_text("Your claim on this request has ended.")
    expect(reviewer.page.get_by_role("button", name="Record my decision")).to_be_disabled()
    assert reviewer.faults() == []
    reviewer.press("Renew and go on")

    expect(reviewer.page.get_by_label("Reason")).to_have_value("The plan is sound.")
    expect(reviewer.page.get_by_label("Officers on site")).to_have_value("4")
    expect(reviewer.page.get_by_role("radio", name="Approve")).to_be_checked()
    reviewer.press("Record my decision")
    assert reloaded(request).response_data == {"officers": 4}


# For everybody to read -----------------------------------------------------------------------------------------------


def test_axe_finds_nothing_serious_in_the_pages_of_a_decision(reviewer, validator, visitor_of, auditor):
    request = waiting_for_a_person(validator, human_step(form=OFFICERS, severity="high"))
    reviewer.open(address_of(request))
    found = reviewer.faults_by_day_and_night()
    reviewer.press("Review this")
    found += reviewer.faults_by_day_and_night()
    reviewer.page.get_by_role("radio", name="Approve").check()
    reviewer.press("Record my decision", status=422)
    found += reviewer.faults_by_day_and_night()

    bystander = visitor_of(reviewer.url)
    bystander.log_in(auditor.username, PASSWORD)
    bystander.open(address_of(request))
    found += bystander.faults_by_day_and_night()

    reviewer.fill({"Officers on site": "4"})
    reviewer.page.get_by_label("I have read").check()
    reviewer.press("Record my decision")
    found += reviewer.faults_by_day_and_night()
    reviewer.open(address_of(request))
    assert found + reviewer.faults_by_day_and_night() == []


def test_axe_finds_nothing_serious_in_the_public_form(visitor):
    published(json.loads(DOCUMENT.read_bytes()))
    visitor.open("/forms/protest_permit")
    found = visitor.faults_by_day_and_night()
    visitor.press("Send", status=422)
    assert found + visitor.faults_by_day_and_night() == []


def test_what_changed_while_somebody_read_is_shown_with_their_text_by_day_by_night_and_on_a_telephone(
    reviewer, validator
):
    asked = create_request(
        actor=validator, title="Publish the plan", role="human:police_liaison",
        context={"amount": 82_000, "streets": ["Rosenweg", "Am alten Zollhaus"], "note": "x" * 300},
    )  # fmt: skip
    reviewer.open(address_of(asked))
    page = reviewer.page
    page.get_by_label("Reason").fill("The plan is sound.")
    page.get_by_label("Approve").check()
    changes = {"context": {"amount": 820_000, "streets": ["Rosenweg"], "note": "y" * 300}}
    revise_request(request_id=asked.pk, actor=validator, changes=changes, reason="A digit was missing.")
    reviewer.press("Record my decision", status=409)

    note = page.locator(".drift")
    expect(note).to_contain_text("This has changed since you looked")
    expect(note).to_contain_text("82000")
    expect(page.get_by_label("Reason")).to_have_value("The plan is sound.")
    expect(page.get_by_label("Approve")).not_to_be_checked()
    assert reviewer.faults_by_day_and_night() == []
    photograph(reviewer, "drift")
    page.set_viewport_size(NARROW)
    assert page.evaluate(TOO_WIDE) == []
    page.set_viewport_size(WIDE)

    page.get_by_label("Approve").check()
    reviewer.press("Record my decision")
    assert reloaded(asked).state == "fulfilled"
