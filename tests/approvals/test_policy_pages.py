# SPDX-License-Identifier: Apache-2.0
"""Policies and standing rules in the admin, and the pages beside the decision page, by every button."""

from uuid import uuid4

import pytest

from approvals import policies
from approvals.asking import create_request
from approvals.models import ActionRequest, Policy, PolicyVersion, StandingRule
from approvals.policies import PolicyExists, PolicyNeverChanges
from audit import actions
from audit.models import Entry
from config.errors import Forbidden, Invalid, WrongState
from tests.factories import later, reloaded
from tests.people import PASSWORD, agent, person

ROLE = "human:legal"
POLICIES, RULES = "/admin/approvals/policy/", "/admin/approvals/standingrule/"


@pytest.fixture
def administrator(db):
    return person("administrator", "administrator")


@pytest.fixture
def lea(db):
    return person("lea", ROLE, "staff")


@pytest.fixture
def asker(db):
    return agent("asker", "agent:asker")


def asked(asker, **policy):
    given = {"title": "Publish <it>", "context": {"amount": 5}, "policy": policy or None}
    return create_request(actor=asker, role=ROLE, workflow_id=uuid4().hex, **given)


def page_of(request, page="decide"):
    return f"/admin/approvals/actionrequest/{request.pk}/{page}/"


# Policies -------------------------------------------------------------------------------------------------


def test_who_publishes_a_policy_that_takes_silence_for_consent_is_told_where_that_holds(administrator, client_for):
    browser = client_for(administrator)
    text = "{required_approvals: 2, time: {expires: 2d, on_timeout: approve}}"
    browser.post(f"{POLICIES}add/", {"slug": "quiet", "title": "Quiet", "text": text})
    publish = f"/admin/approvals/policyversion/{PolicyVersion.objects.get().pk}/publish/"
    caution = "Careful: it takes silence for consent. That holds only where the harm is low"

    assert caution in browser.get(publish).content.decode()
    assert caution in browser.post(publish, follow=True).content.decode()


def test_a_policy_is_written_published_and_retired_by_its_pages(administrator, client_for):
    browser = client_for(administrator)
    assert browser.get(f"{POLICIES}add/").status_code == 200
    wrong = browser.post(f"{POLICIES}add/", {"slug": "plans", "title": "Plans", "text": "stages: []"})
    assert (wrong.status_code, Policy.objects.count()) == (422, 0)
    assert "stages: []" in wrong.content.decode()  # what was typed is kept

    made = browser.post(
        f"{POLICIES}add/", {"slug": "plans", "title": "Plans", "text": "required_approvals: 2"}, follow=True
    )
    version = PolicyVersion.objects.get()
    assert "2 members of the role that is asked decide" in made.content.decode()
    publish = f"/admin/approvals/policyversion/{version.pk}/publish/"
    assert "required_approvals" in browser.get(publish).content.decode()
    browser.post(publish)
    assert reloaded(version).state == "published"
    browser.post(f"{POLICIES}{version.policy_id}/version/", {"text": "required_approvals: 3"})
    newer = PolicyVersion.objects.get(number=2)
    browser.post(f"/admin/approvals/policyversion/{newer.pk}/edit/", {"text": "required_approvals: 4"})
    assert reloaded(newer).document == {"required_approvals": 4}
    assert (
        "+ required_approvals: 4" in browser.get(f"/admin/approvals/policyversion/{newer.pk}/publish/").content.decode()
    )
    browser.post(f"/admin/approvals/policyversion/{version.pk}/retire/", {"reason": "too lax"})
    assert reloaded(version).state == "retired"
    assert "Nothing is published" in browser.get(f"{POLICIES}{version.policy_id}/change/").content.decode()
    assert browser.get(POLICIES).status_code == 200
    assert Entry.objects.filter(action=actions.POLICY_RETIRED).get().note == "too lax"


def test_others_read_policies_and_change_nothing(lea, administrator, client_for):
    auditor = person("auditor", "auditor")
    version = policies.create_policy(actor=administrator, slug="plans", title="Plans", document="{}")
    browser = client_for(auditor)
    assert browser.get(f"{POLICIES}{version.policy_id}/change/").status_code == 200
    for page in (f"{POLICIES}add/", f"/admin/approvals/policyversion/{version.pk}/publish/"):
        assert browser.post(page, {"slug": "x", "title": "x", "text": "{}"}).status_code == 403
    assert client_for(lea).get(POLICIES).status_code == 403
    assert reloaded(version).state == "draft"


def test_the_acts_on_policies_refuse_what_cannot_be(administrator, lea):
    make = {"actor": administrator, "slug": "plans", "title": "Plans", "document": "{}"}
    policies.create_policy(**make)
    with pytest.raises(PolicyExists):
        policies.create_policy(**make)
    with pytest.raises(Forbidden):
        policies.create_policy(**{**make, "actor": lea, "slug": "other"})
    with pytest.raises(Invalid):
        policies.create_policy(**{**make, "slug": "other", "title": " "})
    with pytest.raises(Invalid, match="names no other"):
        policies.create_policy(**{**make, "slug": "other", "document": "use: plans"})
    with pytest.raises(WrongState, match="draft cannot be retired"):
        policies.retire_version(actor=administrator, slug="plans", number=1)
    policies.publish_version(actor=administrator, slug="plans", number=1)
    with pytest.raises(PolicyNeverChanges):
        policies.edit_version(actor=administrator, slug="plans", number=1, document="required_approvals: 2")
    same = policies.add_version(actor=administrator, slug="plans", document="{}")
    assert (same.number, PolicyVersion.objects.count()) == (1, 1)
    assert policies.published("plans") == ({}, 1)
    assert policies.published("nothing") is None


# Standing rules -------------------------------------------------------------------------------------------


def test_a_standing_rule_is_proposed_activated_by_another_and_revoked_by_its_pages(administrator, client_for):
    second = person("second", "administrator")
    until = "2100-01-01"
    typed = {
        "title": "Small",
        "reason": "all alike",
        "role": ROLE,
        "max_severity": "low",
        "max_uses": 2,
        "valid_until": until,
    }
    first = client_for(administrator)
    assert first.post(f"{RULES}add/", typed).status_code == 422
    from config import clock

    typed["valid_until"] = f"{clock.now():%Y-%m-%d}"
    page = first.post(f"{RULES}add/", typed, follow=True).content.decode()
    rule = StandingRule.objects.get()
    assert "You proposed this rule, so somebody else must activate it." in page
    assert first.post(f"{RULES}{rule.pk}/activate/", {}).status_code == 403
    client_for(second).post(f"{RULES}{rule.pk}/activate/", {"reason": ""})
    assert reloaded(rule).state == "active"
    client_for(second).post(f"{RULES}{rule.pk}/revoke/", {"reason": "no more"})
    assert reloaded(rule).state == "revoked"


# Beside the decision --------------------------------------------------------------------------------------


def test_a_decider_asks_back_and_wants_changes_by_the_page(lea, asker, client_for):
    request = asked(asker)
    browser = client_for(lea)
    assert "Ask whoever asked something" in browser.get(page_of(request)).content.decode()
    assert browser.get(page_of(request, "ask")).status_code == 200
    assert reloaded(request).state == "pending"
    assert browser.post(page_of(request, "ask"), {"text": " "}).status_code == 422
    after = browser.post(page_of(request, "ask"), {"text": "Which <plan>?"}, follow=True).content.decode()
    assert "Which &lt;plan&gt;?" in after
    assert reloaded(request).state == "info_requested"

    other = asked(asker)
    browser.post(page_of(other, "changes"), {"text": "Less."})
    assert reloaded(other).state == "changes_requested"


def test_whoever_asked_answers_and_changes_by_the_page(lea, client_for):
    clerk = person("clerk", ROLE)
    request = asked(clerk)
    client_for(lea).post(page_of(request, "ask"), {"text": "Which?"})
    own = client_for(clerk)
    assert "You are asked: Which?" in own.get(page_of(request, "answer")).content.decode()
    own.post(page_of(request, "answer"), {"text": "The northern one."})
    assert reloaded(request).state == "pending"

    typed = {"title": "Publish it", "description": "", "reason": "shorter", "revision": 1, "context": '{"amount": 4}'}
    assert own.get(page_of(request, "revise")).status_code == 200
    stale = own.post(page_of(request, "revise"), {**typed, "revision": 2})
    assert stale.status_code == 409
    assert "shorter" in stale.content.decode()
    own.post(page_of(request, "revise"), typed)
    assert (reloaded(request).revision, reloaded(request).asked) == (2, {"context": {"amount": 4}})
    page = client_for(lea).get(page_of(request)).content.decode()
    assert "What has changed" in page
    assert "<dt>amount</dt>" in page


def test_the_glass_is_broken_by_the_page(asker, client_for):
    duty = person("duty", "human:duty", ROLE)
    glass = {"role": "human:duty", "review_role": "human:audit"}
    request = asked(asker, required_approvals=2, break_glass=glass)
    browser = client_for(duty)
    assert "Decide alone, in an emergency" in browser.get(page_of(request)).content.decode()
    assert (
        browser.post(page_of(request, "emergency"), {"outcome": "PASS", "reason": "", "revision": 1}).status_code == 422
    )
    browser.post(page_of(request, "emergency"), {"outcome": "PASS", "reason": "Flood.", "revision": 1})

    assert reloaded(request).decided_how == "break_glass"
    assert "alone, in an emergency" in browser.get(page_of(request)).content.decode()
    assert ActionRequest.objects.filter(role="human:audit").count() == 1


def test_a_decision_of_great_harm_asks_for_the_password_once_more(lea, asker, client_for):
    request = create_request(
        actor=asker, role=ROLE, title="Publish", severity="high", policy={"assurance": {"high": "step_up"}}
    )
    browser = client_for(lea)
    assert 'name="password"' not in browser.get(page_of(request)).content.decode()  # it has just been given
    later(minutes=6)
    assert 'name="password"' in browser.get(page_of(request)).content.decode()
    typed = {"outcome": "PASS", "reason": "sound", "confirmed": "read", "revision": 1, "digest": request.digest}
    wrong = browser.post(page_of(request), {**typed, "password": "wrong"})
    assert (wrong.status_code, "This is not your password." in wrong.content.decode()) == (422, True)
    assert "sound" in wrong.content.decode()
    assert PASSWORD not in wrong.content.decode()
    browser.post(page_of(request), {**typed, "password": PASSWORD})

    assert reloaded(request).state == "fulfilled"
    assert reloaded(request).votes.get().assurance == "step_up"


def test_a_rejection_chooses_its_reason_on_the_page(lea, asker, client_for):
    request = asked(asker, reasons={"codes": {"late": "Too late", "odd": "Not ours"}})
    browser = client_for(lea)
    typed = {"outcome": "FAIL", "reason": "the date", "revision": 1, "digest": request.digest}
    assert browser.post(page_of(request), {**typed, "reason_code": ""}).status_code == 422
    browser.post(page_of(request), {**typed, "reason_code": "late"})

    assert reloaded(request).reason_code == "late"
    assert "Too late" in browser.get(page_of(request)).content.decode()


@pytest.mark.parametrize("page", ["ask", "changes", "revise", "answer", "emergency"])
def test_reading_a_page_changes_nothing_and_strangers_find_none(page, lea, asker, client_for):
    request = asked(asker)
    before = ActionRequest.objects.values().get()
    for method in ("get", "head"):
        assert getattr(client_for(lea), method)(page_of(request, page)).status_code == 200
    assert ActionRequest.objects.values().get() == before
    assert client_for(person("eve", "human:elsewhere")).post(page_of(request, page), {"text": "x"}).status_code == 404
