# SPDX-License-Identifier: Apache-2.0
"""Rule sets: who writes and publishes them, what is frozen, and which version is in force."""

import pytest
from django.core.management.sql import emit_post_migrate_signal
from django.db import IntegrityError

from audit import actions
from audit.models import Entry
from config.errors import Forbidden, Invalid, NotFound, WrongState
from playbooks import rule_services as services
from playbooks.facts import findings
from playbooks.models import RuleSet, RuleSetVersion
from playbooks.parse import parse_data
from playbooks.rule_services import About, RuleSetExists, RulesNeverChange
from playbooks.rules import Rule, digest
from tests.audit.lines import assert_refused_by, execute

pytestmark = pytest.mark.django_db

ABOUT = About("Fair counting", "ethics")
ONE = (Rule("a", "payload.x", "FAIL", "No."),)
TWO = (*ONE, Rule("b", "payload.y", "ASK_HUMAN", "Perhaps."))


@pytest.fixture
def draft(administrator):
    return services.create_rule_set(actor=administrator, slug="fair", about=ABOUT, rules=ONE)


@pytest.fixture
def published(administrator, draft):
    return services.publish_rules(actor=administrator, slug="fair", number=1)


def recorded(*acts):
    return list(Entry.objects.filter(action__in=acts).order_by("id").values_list("action", "subject_id"))


def in_force(*named):
    found, missing = services.in_force(named)
    return [each.name for each in found], missing


def test_a_rule_set_begins_with_a_draft(draft):
    assert (draft.number, draft.state, draft.digest) == (1, "draft", digest(ONE))
    assert recorded(actions.RULE_SET_CREATED, actions.RULES_CREATED) == [
        ("ruleset.created", "fair"),
        ("rules.created", str(draft.pk)),
    ]


def test_no_two_have_one_id(administrator, draft):
    with pytest.raises(RuleSetExists):
        services.create_rule_set(actor=administrator, slug="fair", about=ABOUT, rules=ONE)


@pytest.mark.parametrize("about", [About(" ", "ethics"), About("Fair", "beauty")])
def test_it_has_a_title_and_a_concern(administrator, about):
    with pytest.raises(Invalid):
        services.create_rule_set(actor=administrator, slug="fair", about=about, rules=ONE)


def test_a_draft_is_edited_and_what_is_published_is_not(administrator, draft):
    services.edit_rules(actor=administrator, slug="fair", number=1, rules=TWO)
    services.publish_rules(actor=administrator, slug="fair", number=1)

    with pytest.raises(RulesNeverChange):
        services.edit_rules(actor=administrator, slug="fair", number=1, rules=ONE)
    assert RuleSetVersion.objects.get(pk=draft.pk).digest == digest(TWO)
    assert recorded(actions.RULES_EDITED, actions.RULES_PUBLISHED) == [
        ("rules.edited", str(draft.pk)),
        ("rules.published", str(draft.pk)),
    ]


def test_publishing_twice_is_publishing_once(administrator, published):
    services.publish_rules(actor=administrator, slug="fair", number=1)

    assert len(recorded(actions.RULES_PUBLISHED)) == 1


def test_equal_rules_make_no_new_version(administrator, draft):
    assert services.add_rules(actor=administrator, slug="fair", rules=ONE) == (draft, False)
    assert services.add_rules(actor=administrator, slug="fair", rules=TWO)[0].number == 2


def test_a_draft_is_not_retired_and_what_is_retired_does_not_come_back(administrator, draft):
    with pytest.raises(WrongState):
        services.retire_rules(actor=administrator, slug="fair", number=1)
    services.publish_rules(actor=administrator, slug="fair", number=1)
    services.retire_rules(actor=administrator, slug="fair", number=1, reason="outdated")

    with pytest.raises(WrongState):
        services.publish_rules(actor=administrator, slug="fair", number=1)
    assert recorded(actions.RULES_RETIRED) == [("rules.retired", str(draft.pk))]


@pytest.mark.parametrize("who", ["playbook_author", "auditor", "staff_member", "validator"])
def test_only_administrators_touch_rules(who, request, draft):
    somebody = request.getfixturevalue(who)
    acts = [
        lambda: services.create_rule_set(actor=somebody, slug="other", about=ABOUT, rules=ONE),
        lambda: services.change_rule_set(actor=somebody, slug="fair", about=ABOUT),
        lambda: services.add_rules(actor=somebody, slug="fair", rules=TWO),
        lambda: services.edit_rules(actor=somebody, slug="fair", number=1, rules=TWO),
        lambda: services.publish_rules(actor=somebody, slug="fair", number=1),
        lambda: services.retire_rules(actor=somebody, slug="fair", number=1),
    ]
    for refused in acts:
        with pytest.raises(Forbidden):
            refused()

    assert len(recorded(actions.RULE_SET_CHANGE_DENIED)) == len(acts)
    assert RuleSetVersion.objects.get(pk=draft.pk).state == "draft"


def test_what_is_not_there_is_not_found(administrator, draft):
    with pytest.raises(NotFound):
        services.publish_rules(actor=administrator, slug="nothing", number=1)
    with pytest.raises(NotFound):
        services.publish_rules(actor=administrator, slug="fair", number=2)


def test_taking_a_set_into_the_default_layer_is_recorded(administrator, published):
    assert "fair@1" not in in_force()[0]
    services.change_rule_set(actor=administrator, slug="fair", about=About("Fair counting", "ethics", is_default=True))

    assert "fair@1" in in_force()[0]
    assert recorded(actions.RULE_SET_CHANGED) == [("ruleset.changed", "fair")]
    services.change_rule_set(actor=administrator, slug="fair", about=About("Fair counting", "ethics", is_default=True))
    assert len(recorded(actions.RULE_SET_CHANGED)) == 1, "nothing changed"


def test_what_people_edit_has_a_history(administrator, draft):
    services.edit_rules(actor=administrator, slug="fair", number=1, rules=TWO)

    assert [each.digest for each in draft.history.order_by("history_id")] == [digest(ONE), digest(TWO)]


# In force -------------------------------------------------------------------------------------------------


def test_the_newest_published_version_is_in_force_unless_a_step_is_pinned(administrator, published):
    services.add_rules(actor=administrator, slug="fair", rules=TWO)
    assert in_force("fair") == (["fair@1"], []), "a draft is nothing"
    services.publish_rules(actor=administrator, slug="fair", number=2)

    assert in_force("fair", "fair@1") == (["fair@2", "fair@1"], [])


def test_after_a_retirement_the_one_before_is_in_force_again(administrator, published):
    services.add_rules(actor=administrator, slug="fair", rules=TWO)
    services.publish_rules(actor=administrator, slug="fair", number=2)
    services.retire_rules(actor=administrator, slug="fair", number=2)

    assert in_force("fair", "fair@2") == (["fair@1", "fair@2"], []), "pinned ones go on"


@pytest.mark.parametrize("name", ["nothing", "fair", "fair@1", "fair@7"])
def test_what_is_not_published_is_missing(draft, name):
    assert in_force(name) == ([], [name])


def test_the_default_layer_is_there_from_the_first_migration_on(db):
    assert in_force() == (["compliance@1", "ethics@1", "privacy@1", "safety@1"], [])


def test_seeding_again_leaves_what_administrators_changed(administrator):
    privacy = RuleSet.objects.get(slug="privacy")
    services.change_rule_set(actor=administrator, slug="privacy", about=About("Ours", "privacy", is_default=False))

    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")

    privacy.refresh_from_db()
    assert (privacy.title, privacy.is_default, privacy.versions.count()) == ("Ours", False, 1)


def test_the_linter_knows_which_rules_are_published_and_what_they_ask_for(administrator):
    asks = (Rule("a", "data.Nobody.x > 1", "FAIL", "No."),)
    services.create_rule_set(actor=administrator, slug="fair", about=ABOUT, rules=asks)
    step = {"id": "Review", "type": "governance", "role": "human:x", "rules": ["fair", "privacy", "privacy@1"]}
    definition = parse_data({"id": "p", "steps": [step]}).definition

    before = [(each.code, each.path) for each in findings(definition)]
    services.publish_rules(actor=administrator, slug="fair", number=1)
    after = [(each.code, each.path) for each in findings(definition)]

    assert before == [("unknown_rule_set", "steps[0].rules[0]"), ("role_missing", "steps[0].role")]
    assert after == [("rule_asks_for_more", "steps[0].rules[0]"), ("role_missing", "steps[0].role")]


def test_the_default_layer_asks_for_no_step_of_its_own(db):
    definition = parse_data({"id": "p", "steps": [{"name": "Review", "layer": "GovernanceLayer"}]}).definition

    assert [each.code for each in findings(definition)] == ["role_without_members"], "there are no reviewers"


# What the database refuses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("published", "UPDATE playbooks_rulesetversion SET digest = 'other' WHERE id = {pk}"),
        ("published", "UPDATE playbooks_rulesetversion SET rules = '[]' WHERE id = {pk}"),
        ("published", "UPDATE playbooks_rulesetversion SET published_at = '2001-01-01 00:00:00+00' WHERE id = {pk}"),
        ("identity", "UPDATE playbooks_rulesetversion SET number = 9 WHERE id = {pk}"),
        ("no_delete", "DELETE FROM playbooks_rulesetversion WHERE id = {pk}"),
    ],
)
def test_published_rules_stay_as_they_are(published, rule, change):
    assert_refused_by(f"playbooks_rulesetversion_{rule}", change.format(pk=published.pk))


def test_a_rule_set_keeps_its_id(draft):
    slug = "UPDATE playbooks_ruleset SET slug = 'other' WHERE id = {pk}"
    assert_refused_by("playbooks_ruleset_identity", slug.format(pk=draft.rule_set_id))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE playbooks_ruleset SET concern = 'beauty' WHERE slug = 'fair'",
        "UPDATE playbooks_rulesetversion SET published_at = '2001-01-01 00:00:00+00' WHERE id = {pk}",
        "UPDATE playbooks_rulesetversion SET retired_at = '2001-01-01 00:00:00+00' WHERE id = {pk}",
        "UPDATE playbooks_rulesetversion SET state = 'retired', published_at = created_at, retired_at = created_at "
        "WHERE id = {pk}",
    ],
)
def test_the_database_refuses_what_cannot_be(draft, change):
    with pytest.raises(IntegrityError):
        execute(change.format(pk=draft.pk))
