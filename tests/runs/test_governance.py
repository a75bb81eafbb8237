# SPDX-License-Identifier: Apache-2.0
"""A governance step in a run: our worker holds what the run has come to against the rules, and people are asked."""

import json

import pytest
import yaml

from approvals.models import ActionRequest
from audit import actions
from audit.models import Entry
from playbooks import rule_services
from playbooks import rules as written
from playbooks.models import RuleSetVersion
from playbooks.rule_services import About
from playbooks.rules import Rule
from runs.claiming import claim_for_worker
from runs.models import Effect
from runs.services import claim_tasks, complete_task
from tests.factories import founder, started, user
from tests.house.tree import ROOT
from tests.people import person
from tests.runs.play import LIAISON, Play, agent
from tests.stories.pages import blocks

pytestmark = pytest.mark.django_db

REVIEWER = "human:reviewer"


def govern(id="Review", **fields):
    return {"id": id, "type": "governance", **fields}


def play(*, output=None, **fields):
    """A run whose agent has suggested `output`, and whose rules the worker has checked."""
    found = Play(agent("Suggest"), govern(**fields), agent("Update"))
    found.do("Suggest", output=output or {"suggestion": "Visit Delta."})
    found.tick()
    return found


def rule_set(*rules, slug="ours", is_default=False):
    about = About("Ours", "ethics", is_default)
    rule_services.create_rule_set(actor=founder(), slug=slug, about=about, rules=rules)
    rule_services.publish_rules(actor=founder(), slug=slug, number=1)


def rule(when, result="FAIL", **more):
    return Rule("rule", when, result, "It shall not be.", **more)


def asked():
    return ActionRequest.objects.get()


def decided(play, outcome, who="reviewer", role=REVIEWER):
    play.person = user(who, "human", role)
    play.answer("Review", outcome)


def test_the_ordinary_passes_and_the_run_goes_on():
    run = play()

    review = run.task("Review")
    assert (review.state, review.outcome, review.output["result"]) == ("completed", "PASS", "PASS")
    assert [each["rule_set"] for each in review.output["checked"]] == ["compliance", "ethics", "privacy", "safety"]
    assert run.open == {"Update"}
    assert not Effect.objects.exists(), "a check does nothing outside"


def test_a_broken_rule_is_a_verdict_that_ends_the_run_failed():
    run = play(output={"suggestion": "Ask 123-45-6789."}, retries=3)

    review = run.task("Review")
    assert (run.state, run.open) == ("failed", set())
    assert (review.outcome, review.output["result"], review.attempt) == ("FAIL", "FAIL", 1)
    assert [fired["rule"] for fired in review.output["fired"]] == ["personal-number"]
    assert "social security number" in review.note


def test_what_follows_a_broken_rule_is_the_steps_own_word():
    run = play(output={"may_harm": True}, on_failure="CONTINUE")

    assert run.open == {"Update"}


def test_the_entry_says_which_rules_were_checked_by_version_and_digest_and_which_fired():
    run = play(output={"may_harm": True})

    (entry,) = run.entries(actions.GOVERNANCE_CHECKED)
    sha256 = RuleSetVersion.objects.get(rule_set__slug="safety").digest
    assert entry.data["outcome"] == "FAIL"
    assert {"rule_set": "safety", "version": 1, "sha256": sha256} in entry.data["rule_sets"]
    assert entry.data["fired"] == ["safety@1/may-harm"]
    assert entry.disclosed["finding"]["fired"][0]["sha256"] == sha256
    assert entry.pk < run.entries(actions.TASK_COMPLETED)[-1].pk


def test_it_is_handed_what_every_step_is_handed():
    run = play()

    claimed = run.entries(actions.TASK_CLAIMED)[-1]
    assert claimed.step == "Review"
    assert claimed.disclosed["input"] == {"form_id": 123, "data": {"Suggest": {"suggestion": "Visit Delta."}}}


def test_the_newest_published_rules_are_used_unless_the_step_is_pinned():
    rule_set(rule("data.Suggest.n == 1"))
    version, _ = rule_services.add_rules(actor=founder(), slug="ours", rules=[rule("data.Suggest.n == 2")])

    assert play(output={"n": 1}, rules=["ours"]).state == "failed", "the draft is nothing yet"
    rule_services.publish_rules(actor=founder(), slug="ours", number=version.number)
    assert play(output={"n": 1}, rules=["ours"]).open == {"Update"}
    assert play(output={"n": 1}, rules=["ours@1"]).state == "failed"


def test_only_the_rules_a_step_names_are_checked():
    rule_set(rule("data.Suggest.n == 1"))

    assert play(output={"may_harm": True, "n": 2}, rules=["ours"]).open == {"Update"}


def test_a_rule_that_cannot_be_judged_fails_and_says_why():
    rule_set(rule("data.Other.n == 1", result="ASK_HUMAN"))
    run = play(rules=["ours"])

    (fired,) = run.task("Review").output["fired"]
    assert run.state == "failed"
    assert "`data.Other.n == 1` at ours@1/rule has no value: there is no 'Other'" in fired["fault"]


def test_rules_that_were_retired_since_are_no_pass():
    rule_set(rule("false"))
    run = Play(agent("Suggest"), govern(rules=["ours"]))
    rule_services.retire_rules(actor=founder(), slug="ours", number=1)
    run.do("Suggest", output={})
    run.tick()

    assert run.state == "failed"


def test_what_the_step_maps_is_what_is_checked():
    data = {"suggestion": "fine", "letter": "to ann@example.org"}

    assert play(output=data, input={"suggestion": "data.Suggest.suggestion"}).open == {"Update"}
    assert play(output=data).open == {"Review"}


def test_a_finding_may_be_mapped_by_the_step():
    run = play(output={"n": 1}, **{"input": {"n": "data.Suggest.n"}})
    assert run.open == {"Update"}

    mapped = Play(agent("Suggest"), govern(output={"found": "output.result"}), agent("Update"))
    mapped.do("Suggest", output={})
    mapped.tick()
    assert mapped.task("Review").output == {"found": "PASS"}


@pytest.mark.parametrize("said", [{}, {"risk": "high"}])
def test_a_mapping_that_cannot_use_the_finding_is_a_fault(said):
    run = Play(agent("Suggest"), govern(output={"found": "output.nothing.there"}))
    run.do("Suggest", output=said)
    run.tick()

    assert (run.task("Review").state, run.task("Review").error_type) == ("failed", "Invalid")
    assert run.state == "failed"
    assert not ActionRequest.objects.exists()


# The guide ------------------------------------------------------------------------------------------------


@pytest.fixture
def guide():
    """The playbook and the rule set of the guide, published."""
    playbook, rules = blocks(ROOT / "docs" / "how-to" / "govern.md")
    told = json.loads(rules.text)
    about = About(told["title"], told["concern"])
    parsed = written.parse_data({"rules": told["rules"]})
    rule_services.create_rule_set(actor=founder(), slug=told["id"], about=about, rules=parsed)
    rule_services.publish_rules(actor=founder(), slug=told["id"], number=1)
    return yaml.safe_load(playbook.text)


@pytest.mark.parametrize(
    ("said", "open_then"),
    [
        ({"skipped_regions": []}, {"Update"}),
        ({"skipped_regions": ["Delta"]}, {"Review"}),
        ({"skipped_regions": [], "smallest_group": 3}, {"Tell"}),
        ({}, {"Tell"}),
    ],
)
def test_the_playbook_of_the_guide_does_what_the_guide_says(guide, said, open_then):
    run = Play(run=started(guide))
    (lease,) = claim_tasks(role="agent:coverage_advisor", actor=user("advisor", "agent", "agent:coverage_advisor"))
    complete_task(
        task_id=lease.task.pk, actor=user("advisor"), token=lease.token, outcome="PASS", output={"n": 1, **said}
    )
    run.tick()

    assert run.open == open_then


# Asking people --------------------------------------------------------------------------------------------


def test_where_a_rule_wants_a_person_the_reviewers_are_asked_with_the_finding():
    run = play(output={"risk": "high"})

    assert (run.task("Review").state, run.open) == ("awaiting_approval", {"Review"})
    request = asked()
    assert request.role == REVIEWER
    assert request.title.startswith("May it go on? The risk is called high.")
    assert request.asked["context"]["finding"]["fired"][0]["rule"] == "high-risk"
    (entry,) = run.entries(actions.GOVERNANCE_CHECKED)
    assert entry.data["outcome"] == "ASK_HUMAN"


def test_the_role_that_the_step_names_is_asked():
    play(output={"risk": "high"}, role=LIAISON)

    assert asked().role == LIAISON


def test_approved_it_ends_with_pass_and_the_run_goes_on():
    run = play(output={"risk": "high"})
    decided(run, "PASS")

    review = run.task("Review")
    assert (review.state, review.outcome, run.open) == ("completed", "PASS", {"Update"})
    assert review.output["result"] == "ASK_HUMAN", "what was found stays what it was"
    assert review.approval["by"] == "reviewer"


def test_rejected_it_ends_the_run_failed():
    run = play(output={"risk": "high"})
    decided(run, "FAIL")

    assert (run.task("Review").state, run.state, run.open) == ("rejected", "failed", set())


def test_what_follows_a_rejection_is_the_steps_own_word():
    run = play(output={"risk": "high"}, on_reject="CONTINUE")
    decided(run, "FAIL")

    assert run.open == {"Update"}


def test_a_reviewer_sees_the_finding_on_the_page_that_decides(client_for):
    run = play(output={"risk": "high"})
    reviewer = person("reviewer", "staff", REVIEWER)

    page = client_for(reviewer).get(f"/admin/approvals/actionrequest/{asked().pk}/decide/").content.decode()

    assert "high-risk" in page
    assert "The risk is called high." in page
    assert run.open == {"Review"}


def test_whoever_may_see_the_run_reads_what_was_checked(client_for, administrator):
    run = play(output={"may_harm": True})

    page = client_for(administrator).get(f"/admin/runs/run/{run.run_id}/change/").content.decode()

    assert "held against the rules" in page
    assert "Fired: safety@1/may-harm." in page


def test_a_worker_that_dies_in_between_checks_again(worker_user):
    run = Play(agent("Suggest"), govern())
    run.do("Suggest", output={})
    claim_for_worker(task_ids=[run.task("Review").pk], actor=worker_user, holder="gone:1")
    run.tick(hours=1)

    assert run.state == "completed"
    assert Entry.objects.filter(action=actions.GOVERNANCE_CHECKED).count() == 1
