# SPDX-License-Identifier: Apache-2.0
"""The pages of rule sets in the admin: what they show, what they change on POST, and what they refuse."""

import json
import re

import pytest

from playbooks import rule_services as services
from playbooks.models import RuleSet, RuleSetVersion
from playbooks.rule_services import About
from playbooks.rules import Rule

pytestmark = pytest.mark.django_db

LIST = "/admin/playbooks/ruleset/"
TYPED = """
rules:
  - id: small
    title: No small groups
    when: data.Count.n < 10
    result: FAIL
    because: Too few.
    evidence: [data.Count.n]
"""
NEW = {"slug": "fair", "title": "Fair counting", "concern": "ethics", "text": TYPED}
WHO_MAY_LOOK = ["superuser", "administrator", "auditor", "playbook_author"]


@pytest.fixture
def browser(administrator, client_for):
    return client_for(administrator)


@pytest.fixture
def draft(administrator):
    rules = [Rule("a", "payload.x", "FAIL", "No.")]
    return services.create_rule_set(actor=administrator, slug="fair", about=About("Fair", "ethics"), rules=rules)


def page(version, act="change"):
    return f"/admin/playbooks/rulesetversion/{version.pk}/{act}/"


def words_of(response):
    text = re.sub(r"(?s)<(script|style|head).*?</\1>|<[^>]*>", " ", response.content.decode())
    return " ".join(text.split())


def test_a_rule_set_is_made_as_typed(browser):
    answer = browser.post(f"{LIST}add/", NEW)

    version = RuleSetVersion.objects.get(rule_set__slug="fair")
    assert answer["Location"] == page(version)
    assert (version.state, version.number, version.rules[0]["when"]) == ("draft", 1, "data.Count.n < 10")
    assert (version.rule_set.title, version.rule_set.concern) == ("Fair counting", "ethics")


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ({"text": "rules:\n- id: a\n  when: 1 +"}, 422, ["line 3", "does not parse"]),
        ({"slug": "two words"}, 422, ["Enter a valid value"]),
        ({"slug": "privacy"}, 409, ["There is a rule set"]),
        ({"title": ""}, 422, ["This field is required"]),
    ],
)
def test_what_cannot_be_is_told_beside_what_was_typed(browser, typed, status, said):
    answer = browser.post(f"{LIST}add/", {**NEW, **typed})

    assert answer.status_code == status
    assert all(words in words_of(answer) for words in said)
    assert "data.Count.n" in words_of(answer) or "text" in typed
    assert not RuleSet.objects.filter(slug="fair").exists()


def test_a_draft_is_edited_and_published_after_its_difference_was_shown(browser, administrator, draft):
    services.publish_rules(actor=administrator, slug="fair", number=1)
    browser.post(f"{LIST}{draft.rule_set_id}/version/", {"text": json.dumps({"rules": [_rule("b")]})})
    second = RuleSetVersion.objects.get(rule_set__slug="fair", number=2)
    browser.post(page(second, "edit"), {"text": json.dumps({"rules": [_rule("c")]})})

    before = browser.get(page(second, "publish"))
    assert re.findall(r"<(ins|del)>. (.*?)</\1>", before.content.decode()) == [("del", "- id: a"), ("ins", "- id: c")]
    answer = browser.post(page(second, "publish"), {})

    assert answer["Location"] == page(second)
    assert RuleSetVersion.objects.get(pk=second.pk).state == "published"
    assert "It is published already" in words_of(browser.get(page(second, "publish")))


def _rule(id):
    return {"id": id, "when": "payload.x", "result": "FAIL", "because": "No."}


def test_published_rules_are_not_edited(browser, administrator, draft):
    services.publish_rules(actor=administrator, slug="fair", number=1)

    answer = browser.post(page(draft, "edit"), {"text": TYPED})

    assert (answer.status_code, "never change" in words_of(answer)) == (409, True)


def test_rules_are_retired_with_a_reason(browser, administrator, draft):
    services.publish_rules(actor=administrator, slug="fair", number=1)

    assert browser.post(page(draft, "retire"), {"reason": ""}).status_code == 422
    browser.post(page(draft, "retire"), {"reason": "outdated"})

    assert RuleSetVersion.objects.get(pk=draft.pk).state == "retired"


def test_a_rule_set_is_taken_out_of_the_default_layer(browser):
    privacy = RuleSet.objects.get(slug="privacy")

    browser.post(f"{LIST}{privacy.pk}/about/", {"title": "Privacy", "concern": "privacy"})

    assert RuleSet.objects.get(slug="privacy").is_default is False


@pytest.mark.parametrize("who", WHO_MAY_LOOK)
def test_who_may_look_sees_the_rules_and_only_who_may_govern_gets_the_buttons(who, request, client_for):
    somebody = request.getfixturevalue(who)
    browser, privacy = client_for(somebody), RuleSet.objects.get(slug="privacy")

    shown = browser.get(f"{LIST}{privacy.pk}/change/")

    assert "No group so small that people could be recognised" in words_of(shown)
    assert "came with HMS-ACT" in words_of(shown)
    governs = somebody.has_perm(services.GOVERN)
    assert ("The permission playbooks.govern is needed." in words_of(shown)) != governs
    assert browser.get(f"{LIST}add/").status_code == (200 if governs else 403)


@pytest.mark.parametrize("who", ["staff_member", "liaison"])
def test_others_see_nothing(who, request, client_for, draft):
    browser = client_for(request.getfixturevalue(who))

    for path in (LIST, f"{LIST}{draft.rule_set_id}/change/", page(draft), page(draft, "publish")):
        assert browser.get(path).status_code == 403
