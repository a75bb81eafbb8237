# SPDX-License-Identifier: Apache-2.0
"""Claims on the decision page: advice to others, renewed by activity, and no word lost when one has run out."""

from datetime import timedelta

import pytest
from django.test import Client

from approvals import asking, claiming, claims, services
from approvals.models import ActionRequest, Vote
from audit import actions
from audit.models import Entry
from config import clock
from runs import due
from runs.leases import hashed
from tests.approvals.pages import opened, page_of, read, sent
from tests.factories import PERMIT, actions_of, later, reloaded, waiting_for_a_person
from tests.people import BACKEND, person

pytestmark = pytest.mark.django_db

PAGE_CLAIM = timedelta(minutes=15)
OFFICERS = {
    "type": "object",
    "required": ["officers"],
    "properties": {"officers": {"type": "integer", "title": "Officers"}, "code": {"type": "string", "writeOnly": True}},
}


def human_step(**fields):
    """The permit's playbook, its human step changed."""
    changed = [{**step, **fields} if step["id"] == "Human-Approve" else step for step in PERMIT["steps"]]
    return {**PERMIT, "steps": changed}


@pytest.fixture
def request_(validator):
    return waiting_for_a_person(validator)


@pytest.fixture
def browser(liaison, client_for):
    return client_for(liaison)


@pytest.fixture
def colleague(liaison):
    return person("colleague", "human:police_liaison", first_name="Kim", last_name="Ono")


def pressed(client, request, button, **typed):
    """Open the page, fill it in, and press another button than the one that decides."""
    hidden = opened(client, request).hidden
    shown = {name: hidden[name] for name in ("revision", "digest") if name in hidden}
    return client.post(page_of(request), {**shown, **typed, button: "1"})


def told(client, request):
    """What the page's own script gets for its renewal."""
    return client.post(page_of(request), {"renew": "1"}, headers={"accept": "application/json"})


def buttons(page):
    return [button["name"] for button in page.all("button") if "name" in button]


def may_record(page):
    (record,) = [one for one in page.all("button", type="submit") if "tabindex" not in one and "class" not in one]
    return "disabled" not in record


def claimed_until(request):
    return reloaded(request).claim_expires_at


def shown_until(request):
    """As the page writes it: a claim may end on another day than it began."""
    return claims.claim_on(reloaded(request), reader=reloaded(request).claimed_by, token="").until_shown


def decision_of(request):
    return (reloaded(request).state, Vote.objects.filter(request=request.pk).count())


# Claiming, and giving back -------------------------------------------------------------------------------------------


def test_review_this_tells_others_and_is_no_condition(request_, liaison, browser):
    assert buttons(opened(browser, request_)) == ["claim"]

    answer = pressed(browser, request_, "claim")
    page = opened(browser, request_)

    assert (answer.status_code, answer["Location"]) == (303, page_of(request_))
    claimed = reloaded(request_)
    assert (claimed.state, claimed.claimed_by) == ("in_review", liaison)
    assert timedelta(0) < claimed.claim_expires_at - clock.now() <= PAGE_CLAIM
    assert f"You are reviewing this until {shown_until(request_)}." in page.words
    assert buttons(page) == ["renew", "release"]
    assert may_record(page)


def test_the_token_stays_in_the_session(request_, browser):
    answer = pressed(browser, request_, "claim")

    token = browser.session[claims.IN_SESSION][request_.pk]
    assert token not in answer["Location"]
    assert token not in browser.get(page_of(request_)).content.decode()
    assert hashed(token) == reloaded(request_).claim_token_hash


def test_the_step_says_how_long_a_claim_holds(validator, browser):
    request = waiting_for_a_person(validator, human_step(token_ttl="5m"))
    assert "Tells others for 5 minutes" in opened(browser, request).words

    pressed(browser, request, "claim")

    assert timedelta(minutes=4) < claimed_until(request) - clock.now() <= timedelta(minutes=5)
    assert opened(browser, request).all("div", id="claim", **{"data-renew-after": "60"})


def test_others_read_who_is_reviewing_until_when_and_decide_all_the_same(request_, colleague, browser, client_for):
    pressed(client_for(colleague), request_, "claim")
    shown = shown_until(request_)

    page = opened(browser, request_)
    answer = sent(browser, request_, "PASS")

    assert f"Kim Ono is reviewing this until {shown}. You may still decide." in page.words
    assert buttons(page) == []
    assert answer.status_code == 303


def test_a_claim_of_another_is_not_taken_from_them(request_, colleague, browser, client_for):
    pressed(client_for(colleague), request_, "claim")

    answer = pressed(browser, request_, "claim", reason="I was at it too.")
    page = read(answer)

    assert answer.status_code == 409
    assert "colleague is reviewing this until" in page.words
    assert "I was at it too." in page.text
    assert reloaded(request_).claimed_by == colleague


def test_what_was_claimed_is_given_back(request_, browser):
    pressed(browser, request_, "claim")

    answer = browser.post(page_of(request_), {"release": "1"}, follow=True)

    assert reloaded(request_).state == "pending"
    assert "Released: Human Approve: protest_permit." in read(answer).words
    assert buttons(read(answer)) == ["claim"]
    assert browser.session[claims.IN_SESSION] == {}


def test_who_may_not_decide_is_offered_no_claim_and_gets_none(request_, colleague, auditor, client_for):
    pressed(client_for(colleague), request_, "claim")
    reader = client_for(auditor)

    page = opened(reader, request_)
    answers = [pressed(reader, request_, button) for button in ("claim", "renew", "release")]

    assert "Kim Ono is reviewing this until" in page.words
    assert "You may still decide" not in page.words
    assert buttons(page) == []
    assert [answer.status_code for answer in answers] == [403, 409, 409]
    assert reloaded(request_).claimed_by == colleague
    assert Entry.objects.filter(action=actions.REQUEST_CLAIM_DENIED, actor_name="auditor").count() == 3


def test_whose_role_was_taken_can_still_give_back(request_, liaison, auditor, browser):
    pressed(browser, request_, "claim")
    liaison.groups.set(auditor.groups.all())

    page = opened(browser, request_)
    answer = pressed(browser, request_, "release")

    assert buttons(page) == ["release"]
    assert answer.status_code == 303
    assert reloaded(request_).state == "pending"


def test_looking_claims_nothing(request_, browser):
    pressed(browser, request_, "claim")
    later(minutes=20)
    before = (ActionRequest.objects.values().get(pk=request_.pk), Entry.objects.count(), dict(browser.session))

    for button in ("claim", "renew", "release"):
        assert browser.get(page_of(request_), {button: "1"}).status_code == 200
        assert browser.head(page_of(request_), {button: "1"}).status_code == 200

    after = (ActionRequest.objects.values().get(pk=request_.pk), Entry.objects.count(), dict(browser.session))
    assert after == before


@pytest.mark.parametrize("button", ["claim", "renew", "release"])
def test_a_button_needs_the_token_of_a_page_of_ours(button, request_, liaison):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(liaison, backend=BACKEND)

    assert browser.post(page_of(request_), {button: "1"}).status_code == 403
    assert reloaded(request_).state == "pending"
    assert actions.REQUEST_CLAIMED not in actions_of(request_.run)


@pytest.mark.parametrize("button", ["claim", "renew", "release"])
def test_what_is_not_to_be_seen_is_not_claimed(button, validator, browser):
    foreign = asking.create_request(actor=validator, title="Pay", role="human:treasurer")

    assert browser.post(page_of(foreign), {button: "1"}).status_code == 404


# Activity renews -----------------------------------------------------------------------------------------------------


def test_the_button_renews_for_the_full_time(request_, browser):
    pressed(browser, request_, "claim")
    first = claimed_until(request_)
    later(minutes=10)

    answer = pressed(browser, request_, "renew")

    assert answer.status_code == 303
    assert timedelta(minutes=9) < claimed_until(request_) - first < timedelta(minutes=11)
    assert actions.REQUEST_CLAIM_RENEWED in actions_of(request_.run)


def test_the_pages_script_renews_and_is_told_until_when(request_, browser):
    pressed(browser, request_, "claim")
    later(minutes=10)

    answer = told(browser, request_)

    until = claimed_until(request_)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert answer.json()["shown"] == shown_until(request_)
    assert until - clock.now() > timedelta(minutes=14)


def test_the_pages_script_is_told_when_there_is_nothing_to_renew(request_, colleague, browser):
    pressed(browser, request_, "claim")
    later(minutes=20)
    claiming.claim_request(request_id=request_.pk, actor=colleague)

    answer = told(browser, request_)

    assert (answer.status_code, answer["Content-Type"]) == (409, "application/problem+json")
    assert answer.json()["code"] == "lease_lost"
    assert "another has claimed the request since" in answer.json()["detail"]


@pytest.mark.parametrize("button", ["claim", "renew", "release"])
def test_no_button_loses_what_was_typed(button, validator, liaison, browser):
    request = waiting_for_a_person(validator, human_step(severity="high", form=OFFICERS))
    if button != "claim":
        pressed(browser, request, "claim")
    typed = {"outcome": "FAIL", "reason": "Too few <stewards>.", "confirmed": "read", "answer-officers": "x4"}

    answer = pressed(browser, request, button, **typed)
    page = read(answer)

    assert answer.status_code == 200
    assert page.all("input", name="outcome", value="FAIL", checked="")
    assert not page.all("input", name="outcome", value="PASS", checked="")
    assert "Too few <stewards>." in page.text
    assert page.all("input", name="confirmed", checked="")
    assert page.all("input", name="answer-officers", value="x4")
    assert not page.all("div", role="alert"), "nothing was judged yet"


def test_a_choice_made_about_something_else_is_not_kept(request_, browser):
    pressed(browser, request_, "claim")

    answer = browser.post(
        page_of(request_),
        {"renew": "1", "outcome": "PASS", "reason": "Fine.", "revision": "1", "digest": "0" * 64},
    )
    page = read(answer)

    assert not page.all("input", name="outcome", checked="")
    assert "Fine." in page.text
    assert "It changed since you read it." in page.words


# Run out -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("swept", [False, True], ids=["not yet swept", "swept"])
def test_a_decision_after_its_end_keeps_the_text_and_counts_once_renewed(swept, request_, liaison, browser):
    pressed(browser, request_, "claim")
    later(minutes=16)
    if swept:
        due.sweep()

    refused = sent(browser, request_, "PASS", reason="The plan is sound.")
    page = read(refused)

    assert refused.status_code == 409
    assert "Nothing was recorded Your claim on this request has ended. Renew it" in page.words
    assert buttons(page) == ["renew"]
    assert "Renew and go on" in page.words
    assert not may_record(page)
    assert "The plan is sound." in page.text
    assert page.all("input", name="outcome", value="PASS", checked="")
    assert decision_of(request_) == ("pending" if swept else "in_review", 0)
    assert Entry.objects.latest("id").code == "token_expired"

    renewed = pressed(browser, request_, "renew", outcome="PASS", reason="The plan is sound.")
    page = read(renewed)

    assert renewed.status_code == 200
    assert "Renewed: Human Approve: protest_permit. Go on." in page.words
    assert "You are reviewing this until" in page.words
    assert "The plan is sound." in page.text
    assert page.all("input", name="outcome", value="PASS", checked="")
    assert may_record(page)
    assert decision_of(request_) == ("in_review", 0)

    decided = sent(browser, request_, "PASS", reason="The plan is sound.")

    assert decided.status_code == 303
    assert decision_of(request_) == ("fulfilled", 1)
    assert Vote.objects.get().voter == liaison
    assert browser.session[claims.IN_SESSION] == {}


def test_a_page_opened_after_the_end_says_so(request_, browser):
    pressed(browser, request_, "claim")
    later(minutes=16)

    page = opened(browser, request_)

    assert "Your time for reviewing this has ended. Renew it, then decide." in page.words
    assert buttons(page) == ["renew"]
    assert not may_record(page)


def test_secrets_are_not_written_into_the_page_and_it_says_so(validator, browser):
    request = waiting_for_a_person(validator, human_step(form=OFFICERS))
    pressed(browser, request, "claim")
    later(minutes=16)

    answer = sent(browser, request, "PASS", **{"answer-officers": "4", "answer-code": "sk-very-secret"})

    assert answer.status_code == 409
    assert "only secrets have to be typed again" in read(answer).words
    assert "sk-very-secret" not in answer.content.decode()


def test_who_waited_too_long_learns_that_another_took_it_and_may_still_decide(request_, colleague, browser, client_for):
    pressed(browser, request_, "claim")
    later(minutes=16)
    pressed(client_for(colleague), request_, "claim")

    refused = sent(browser, request_, "FAIL", reason="No medics.")
    page = read(refused)

    assert refused.status_code == 409
    assert "another has claimed the request since" in page.words
    assert "You may still decide: what you have written is below." in page.words
    assert "Kim Ono is reviewing this until" in page.words
    assert "No medics." in page.text
    assert may_record(page)
    assert decision_of(request_) == ("in_review", 0)

    assert sent(browser, request_, "FAIL", reason="No medics.").status_code == 303
    assert decision_of(request_) == ("rejected", 1)


def test_a_claim_that_another_took_is_not_renewed_and_no_word_is_lost(request_, colleague, browser, client_for):
    pressed(browser, request_, "claim")
    later(minutes=16)
    pressed(client_for(colleague), request_, "claim")

    answer = pressed(browser, request_, "renew", outcome="PASS", reason="The plan is sound.")
    page = read(answer)

    assert answer.status_code == 409
    assert "another has claimed the request since" in page.words
    assert "The plan is sound." in page.text
    assert reloaded(request_).claimed_by == colleague
    assert sent(browser, request_, "PASS", reason="The plan is sound.").status_code == 303


def test_who_waited_until_another_decided_reads_that_and_their_own_words(request_, colleague, browser):
    pressed(browser, request_, "claim")
    later(minutes=16)
    services.decide(request_id=request_.pk, actor=colleague, outcome="FAIL", reason="No medics.")

    answer = browser.post(page_of(request_), {"renew": "1", "outcome": "PASS", "reason": "The plan is sound."})
    page = read(answer)

    assert answer.status_code == 409
    assert "colleague decided this on" in page.words
    assert "What you had written: The plan is sound." in page.words
    assert buttons(page) == []


def test_renewals_end_at_their_cap_and_a_new_claim_goes_on_with_the_text(request_, browser, settings):
    settings.CLAIM_CAP_SECONDS = 3600
    pressed(browser, request_, "claim")
    began = clock.now()
    for _ in range(5):
        later(minutes=14)
        if clock.now() - began < timedelta(hours=1):
            assert pressed(browser, request_, "renew").status_code == 303
    assert claimed_until(request_) - began < timedelta(minutes=61)

    refused = pressed(browser, request_, "renew", outcome="PASS", reason="The plan is sound.")
    page = read(refused)

    assert refused.status_code == 409
    assert "This claim was renewed as long as claims may be." in page.words
    assert buttons(page) == ["claim"]
    assert "Claim anew and go on" in page.words
    assert "The plan is sound." in page.text
    assert Entry.objects.latest("id").code == "token_expired"

    page = read(pressed(browser, request_, "claim", outcome="PASS", reason="The plan is sound."))

    assert "You are reviewing this until" in page.words
    assert "The plan is sound." in page.text
    assert sent(browser, request_, "PASS", reason="The plan is sound.").status_code == 303


# Claims of other places ----------------------------------------------------------------------------------------------


def test_a_claim_of_ones_own_over_the_api_is_shown_and_stands_in_nobodys_way(request_, liaison, browser, api_for):
    answer = api_for(liaison).post(f"/hitl/requests/{request_.pk}/claim")
    assert answer.status_code == 200

    page = opened(browser, request_)

    assert "claimed elsewhere or before you last logged in." in page.words
    assert buttons(page) == ["claim", "release"]
    assert sent(browser, request_, "PASS").status_code == 303


def test_what_was_claimed_elsewhere_is_reviewed_here(request_, liaison, browser, client_for):
    elsewhere = client_for(liaison)
    pressed(elsewhere, request_, "claim")

    pressed(browser, request_, "claim")

    assert "You are reviewing this until" in opened(browser, request_).words
    assert buttons(opened(browser, request_)) == ["renew", "release"]
    assert pressed(elsewhere, request_, "renew").status_code == 409
    assert pressed(browser, request_, "renew").status_code == 303


def test_the_end_of_a_claim_is_shown_with_its_day_where_that_is_another(db):
    at = clock.now().replace(hour=12, minute=0)
    evening, days_later = at + timedelta(hours=8), at + timedelta(days=2)

    assert claims.Claim(claims.Standing.MINE, until=evening, at=at).until_shown == "20:00 UTC"
    assert claims.Claim(claims.Standing.MINE, until=days_later, at=at).until_shown == f"{days_later:%-d %b}, 12:00 UTC"


def test_a_session_keeps_no_more_tokens_than_are_of_use(request_, browser, monkeypatch, validator):
    monkeypatch.setattr(claims, "TOKENS_KEPT", 2)
    requests = [waiting_for_a_person(validator) for _ in range(3)]

    for request in [*requests, requests[1]]:
        pressed(browser, request, "claim")

    assert list(browser.session[claims.IN_SESSION]) == [requests[2].pk, requests[1].pk]
