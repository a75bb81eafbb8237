# SPDX-License-Identifier: Apache-2.0
"""Standing rules: proposed by one, activated by another; bounded, recorded in full, and gone when they end."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from approvals import standing
from approvals.asking import create_request
from approvals.models import ActionRequest, Notification, RuleState, StandingRule
from approvals.services import decide
from approvals.standing import Proposal
from audit import actions
from audit.models import Entry
from config import clock
from config.errors import Forbidden, Invalid, WrongState
from runs import due
from tests.factories import later, reloaded
from tests.people import agent, person
from tests.races import at_once, winners
from tests.runs.play import LIAISON, Play, human
from tests.runs.play import agent as agent_step

ROLE = "human:clerk"


@pytest.fixture
def one(db):
    return person("one", "administrator")


@pytest.fixture
def two(db):
    return person("two", "administrator")


@pytest.fixture
def clerk(db):
    return person("clerk", ROLE)


@pytest.fixture
def asker(db):
    return agent("asker", "agent:asker")


def proposed(by, **more):
    said = {"title": "Small fees", "reason": "They are all the same.", "role": ROLE, "max_uses": 3}
    said |= {"valid_until": clock.now() + timedelta(days=30), "when": "asked.context.amount <= 40"}
    return standing.propose_rule(actor=by, proposal=Proposal(**{**said, **more}))


def active(by, other, **more):
    return standing.activate_rule(actor=other, rule_id=proposed(by, **more).pk)


def asked(asker, amount=40, **more):
    given = {"title": "Charge a fee", "role": ROLE, "severity": "low", "workflow_id": uuid4().hex, **more}
    return create_request(actor=asker, context={"amount": amount}, **given)


def test_t19_what_it_answers_is_recorded_in_full_and_says_by_which_rule(one, two, clerk, asker):
    rule = active(one, two)
    request = asked(asker)
    assert (request.state, Notification.objects.count()) == ("pending", 0)  # nobody is disturbed

    due.sweep()

    after = reloaded(request)
    assert (after.state, after.outcome, after.decided_how, after.standing_rule) == (
        "fulfilled", "PASS", "standing_rule", rule,
    )  # fmt: skip
    assert after.decided_by is None
    told = {entry.action: entry for entry in Entry.objects.filter(request_id=request.pk)}
    assert set(told) >= {actions.REQUEST_CREATED, actions.REQUEST_FULFILLED}
    assert told[actions.REQUEST_FULFILLED].actor_type == "system"
    used = Entry.objects.get(action=actions.STANDING_RULE_USED)
    assert (used.data["request"], used.data["uses"], used.data["of"]) == (request.pk, 1, 3)


def test_t19_it_is_listed_as_active_and_expires(one, two, clerk, asker, client_for):
    rule = active(one, two)
    page = client_for(one).get("/admin/approvals/standingrule/").content.decode()
    assert "Small fees" in page
    assert "0 of 3" in page

    later(days=31)
    due.sweep()

    assert reloaded(rule).state == RuleState.EXPIRED
    request = asked(asker)
    due.sweep()
    assert reloaded(request).state == "pending"
    assert Notification.objects.filter(request=request, recipient=clerk).count() == 1


def test_the_last_use_expires_it_and_people_are_asked_again(one, two, clerk, asker):
    rule = active(one, two, max_uses=1)
    first, second = asked(asker), asked(asker)  # both made while it was active
    due.sweep()

    states = {reloaded(first).state, reloaded(second).state}
    assert states == {"fulfilled", "pending"}
    assert reloaded(rule).state == RuleState.EXPIRED
    left = next(request for request in (first, second) if reloaded(request).state == "pending")
    assert Notification.objects.filter(request=left, recipient=clerk).count() == 1
    decide(request_id=left.pk, actor=clerk, outcome="PASS")


@pytest.mark.parametrize(
    ("rule", "request_"),
    [
        ({}, {"amount": 41}),
        ({}, {"severity": "medium"}),
        ({"request_type": "payment_authorization"}, {}),
        ({"playbook": "fees"}, {}),
        ({"when": "asked.context.missing == 1"}, {}),
        ({}, {"required_fields": {"why": "Why?"}}),
    ],
)
def test_what_does_not_fit_is_for_people(one, two, clerk, asker, rule, request_):
    active(one, two, **rule)
    request = asked(asker, **request_)
    due.sweep()

    assert reloaded(request).state == "pending"
    assert request.standing_rule is None


def test_it_is_only_for_the_requester_it_names(one, two, clerk, asker):
    active(one, two, agent=agent("other", "agent:other"))
    assert asked(asker).standing_rule is None


def test_the_step_of_a_run_goes_on_by_it(one, two):
    person("liaison", LIAISON)
    active(one, two, role=LIAISON, when="", max_severity="medium", playbook="story", step="approve")
    play = Play(human("approve"), agent_step("after"), id="story")
    due.sweep()

    assert play.open == {"after"}


def test_two_people_are_needed(one, two, clerk):
    rule = proposed(one)
    with pytest.raises(Forbidden, match="somebody else must activate"):
        standing.activate_rule(actor=one, rule_id=rule.pk)
    with pytest.raises(Forbidden, match="administrators"):
        standing.activate_rule(actor=clerk, rule_id=rule.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        StandingRule.objects.filter(pk=rule.pk).update(state=RuleState.ACTIVE, activated_by=one)

    standing.activate_rule(actor=two, rule_id=rule.pk)
    with pytest.raises(WrongState):
        standing.activate_rule(actor=two, rule_id=rule.pk)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"title": " "}, "title"),
        ({"reason": ""}, "reason"),
        ({"max_uses": 0}, "max_uses"),
        ({"max_uses": 1001}, "max_uses"),
        ({"max_severity": "high"}, "max_severity"),
        ({"when": "asked."}, "when"),
        ({"when": "secret == 1"}, "when"),
    ],
)
def test_what_is_not_bounded_is_refused(one, wrong, path):
    with pytest.raises(Invalid) as refused:
        proposed(one, **wrong)
    assert [problem.path for problem in refused.value.errors] == [path]


@pytest.mark.parametrize("days", [-1, 91])
def test_it_ends_within_ninety_days(one, days):
    with pytest.raises(Invalid):
        proposed(one, valid_until=clock.now() + timedelta(days=days))


def test_its_terms_never_change(one):
    rule = proposed(one)
    for change in ({"max_uses": 500}, {"when": ""}, {"max_severity": "medium"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            StandingRule.objects.filter(pk=rule.pk).update(**change)


def test_a_revoked_rule_answers_nothing_not_even_what_waits_for_it(one, two, clerk, asker):
    rule = active(one, two)
    request = asked(asker)
    standing.revoke_rule(actor=one, rule_id=rule.pk, reason="misused")
    due.sweep()

    assert reloaded(request).state == "pending"
    assert Notification.objects.filter(request=request, recipient=clerk).count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_use_it_once_for_each(one, two, clerk, asker):
    rule = active(one, two)
    requests = [asked(asker) for _ in range(2)]
    results = at_once(due.sweep, due.sweep)

    assert winners(results)
    assert {reloaded(request).state for request in requests} == {"fulfilled"}
    assert reloaded(rule).uses == 2
    assert ActionRequest.objects.filter(decided_how="standing_rule").count() == 2
