# SPDX-License-Identifier: Apache-2.0
"""What changed between looking and deciding is shown, place by place, and nothing that was typed is lost."""

import pytest

from approvals import asking, revising, talk
from approvals.models import Vote
from playbooks.connector_services import Terms, change_connector, create_connector
from tests.approvals.asked import PAYMENT, ROLE, approved, proposed
from tests.approvals.pages import opened, page_of, read
from tests.contract.answers import problem
from tests.factories import reloaded
from tests.people import person

pytestmark = pytest.mark.django_db

CHANGED = "This has changed since you looked"
MINUS = "\u2212"


@pytest.fixture
def request_(validator):
    return asking.create_request(
        actor=validator, title="Publish the plan", role=ROLE, context={"amount": 82_000, "town": "Ulm"}
    )


@pytest.fixture
def browser(liaison, client_for):
    return client_for(liaison)


def changed(request, **changes):
    return revising.revise_request(
        request_id=request.pk, actor=request.requester, changes=changes, reason="A digit was missing."
    )


def shown_by(page):
    return {name: page.hidden[name] for name in ("revision", "digest")}


# On the page ----------------------------------------------------------------------------------------------


def test_a_decision_on_what_has_changed_meanwhile_says_what_changed_and_keeps_the_text(request_, browser):
    shown = shown_by(opened(browser, request_))
    changed(request_, context={"amount": 820_000, "town": "Ulm"})

    answer = browser.post(page_of(request_), {**shown, "outcome": "PASS", "reason": "The plan is sound."})
    page = read(answer)

    assert answer.status_code == 409
    assert f"{CHANGED} You saw revision 1; revision 2 is asked now. validator changed it on" in page.words
    assert "A digit was missing." in page.words
    assert f"amount {MINUS} before: 82000+ now: 820000" in page.words
    assert f"town {MINUS}" not in page.words
    assert "Please look again before you decide. What you have written is still here." in page.words
    assert "The plan is sound." in page.text
    assert not page.all("input", type="radio", checked="")
    assert not Vote.objects.exists()

    again = browser.post(page_of(request_), {**shown_by(page), "outcome": "PASS", "reason": "The plan is sound."})
    assert again.status_code == 303
    assert reloaded(request_).state == "fulfilled"


def test_who_comes_back_reads_once_what_has_changed_since(request_, browser):
    opened(browser, request_)
    changed(request_, title="Publish the larger plan")
    changed(request_, context={"amount": 90_000, "town": "Ulm"})

    page = opened(browser, request_)

    assert f"{CHANGED} You saw revision 1; revision 3 is asked now." in page.words
    assert f'title {MINUS} before: "Publish the plan"+ now: "Publish the larger plan"' in page.words
    assert f"amount {MINUS} before: 82000+ now: 90000" in page.words
    assert CHANGED not in opened(browser, request_).words


def test_a_draft_written_about_what_was_asked_before_is_kept_beside_the_change(request_, browser, liaison):
    opened(browser, request_)
    talk.save_draft(request_id=request_.pk, actor=liaison, outcome="PASS", notes="So far so good.", response_data={})
    changed(request_, context={"amount": 1, "town": "Ulm"})

    page = opened(browser, request_)

    assert f"{CHANGED} You saw revision 1" in page.words
    assert "What you have written is still here." in page.words
    assert "So far so good." in page.text
    assert not page.all("input", type="radio", checked="")


def test_who_sees_it_for_the_first_time_or_at_anothers_browser_is_told_of_no_drift(request_, browser, client_for):
    opened(browser, request_)
    changed(request_, title="Publish the larger plan")
    deputy = client_for(person("deputy", ROLE))
    deputy.cookies["looked"] = browser.cookies["looked"].value

    assert CHANGED not in opened(deputy, request_).words
    assert CHANGED in opened(browser, request_).words


@pytest.mark.parametrize("forged", ["", "x", "1", "é.1", "{pk}.0", "{pk}.99", "{pk}.-1", "{pk}.1" + "0" * 5000])
def test_what_no_page_of_ours_remembered_is_passed_over(request_, browser, liaison, forged):
    changed(request_, title="Publish the larger plan")
    browser.cookies["looked"] = forged.format(pk=liaison.pk)

    assert CHANGED not in opened(browser, request_).words


def test_what_was_and_is_text_of_others_and_shown_as_such(request_, browser):
    opened(browser, request_)
    changed(request_, context={"amount": "<b>9</b>\u202e", "town": "Ulm"})

    answer = browser.get(page_of(request_))

    assert '+ now: "<b>9</b><U+202E>"' in read(answer).words
    assert b"<b>9" not in answer.content


def test_looking_is_remembered_by_the_browser_for_this_page_alone(request_, browser):
    cookie = browser.get(page_of(request_)).cookies["looked"]

    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == (page_of(request_), True, "Lax")
    assert "looked" not in browser.get(page_of(request_)).cookies


def test_a_proposal_whose_connector_was_changed_shows_how(validator, browser, settings, administrator):
    settings.CONNECTOR_HOSTS = frozenset({("licences.example.gov", None)})
    old, new = (Terms(url=f"https://licences.example.gov/{name}") for name in ("pay", "other"))
    connector = create_connector(actor=administrator, name="licences.pay", terms=old)
    request = proposed(validator, call="licences.pay", input=PAYMENT)
    assert "What has changed since this was proposed" not in opened(browser, request).words
    change_connector(actor=administrator, connector_id=connector.pk, terms=new)

    page = opened(browser, request)

    assert "the connector licences.pay was changed since this was proposed" in page.words
    was, now = (f'"https://licences.example.gov/{name}"' for name in ("pay", "other"))
    assert f"What has changed since this was proposed url {MINUS} before: {was}+ now: {now}" in page.words


# For programs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("act", "body"), [("fulfill", {}), ("reject", {"reason": "No."})])
def test_programs_are_told_what_changed_since_the_revision_they_read(request_, api_for, liaison, act, body):
    changed(request_, context={"amount": 820_000, "town": "Ulm"})

    said = problem(
        api_for(liaison).post(f"/hitl/requests/{request_.pk}/{act}", {**body, "revision": 1}), 409, "stale_revision"
    )

    now = reloaded(request_)
    assert (said["revision"], said["digest"]) == (2, now.digest)
    assert said["changes"] == [{"path": "asked.context.amount", "before": 82_000, "after": 820_000}]


def test_of_a_revision_that_never_was_no_changes_are_told(request_, api_for, liaison):
    said = problem(
        api_for(liaison).post(f"/hitl/requests/{request_.pk}/fulfill", {"revision": 7}), 409, "stale_revision"
    )

    assert (said["revision"], said["changes"]) == (1, [])


def test_the_executor_is_told_how_what_it_does_differs_from_what_was_approved(validator, liaison, api_for):
    receipt = approved(validator, liaison)
    doing = {"call": "treasury.pay", "input": {**PAYMENT, "amount": "820000.00"}}

    said = problem(api_for(validator).post(f"/hitl/requests/{receipt.request_id}/spend", doing), 409, "action_mismatch")

    assert said["changes"] == [{"path": "input.amount", "before": "82000.00", "after": "820000.00"}]


def test_who_approves_a_void_proposal_is_told_what_changed_under_it(
    validator, liaison, api_for, settings, administrator
):
    settings.CONNECTOR_HOSTS = frozenset({("licences.example.gov", None)})
    connector = create_connector(
        actor=administrator, name="licences.pay", terms=Terms(url="https://licences.example.gov/pay")
    )
    request = proposed(validator, call="licences.pay", input=PAYMENT)
    change_connector(
        actor=administrator,
        connector_id=connector.pk,
        terms=Terms(url="https://licences.example.gov/pay", verdict_statuses=[402]),
    )

    said = problem(api_for(liaison).post(f"/hitl/requests/{request.pk}/fulfill", {}), 409, "proposal_void")

    assert said["changes"] == [{"path": "verdict_statuses", "before": [], "after": [402]}]
