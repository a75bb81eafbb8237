# SPDX-License-Identifier: Apache-2.0
"""Decisions at the same moment, on both databases."""

import pytest

from accounts.models import User
from approvals import services
from approvals.models import ActionRequest, Vote
from audit import actions
from audit.models import Entry
from config.errors import AlreadyDecided, WrongState
from runs import stopping
from tests.factories import actions_of, founder, started, tasks_of, waiting_for_a_person
from tests.people import agent, person
from tests.races import at_once, losers, winners

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def request_():
    person("liaison", "human:police_liaison")
    return waiting_for_a_person(agent("validator", "agent:validator"))


def decide(request, name, outcome="PASS", reason=""):
    return lambda: services.decide(
        request_id=request.pk, actor=User.objects.get(username=name), outcome=outcome, reason=reason
    )


def test_t02_of_twenty_decisions_one_wins_and_nineteen_are_told_so(request_):
    for number in range(10):
        person(f"p{number}", "human:police_liaison")
    calls = [decide(request_, f"p{number}") for number in range(10)]
    calls += [decide(request_, f"p{number}", "FAIL", "no") for number in range(10)]

    results = at_once(*calls)

    assert len(winners(results)) == 1
    assert {type(fault) for fault in losers(results)} == {AlreadyDecided}
    assert Vote.objects.count() == 1
    decided = (actions.REQUEST_FULFILLED, actions.REQUEST_REJECTED)
    assert Entry.objects.filter(action__in=decided).count() == 1
    assert Entry.objects.filter(action=actions.REQUEST_DECIDE_DENIED).count() == 19


def test_t03_one_person_in_two_tabs_votes_once(request_):
    results = at_once(decide(request_, "liaison"), decide(request_, "liaison"))

    assert len(winners(results)) == 1
    assert Vote.objects.count() == 1
    assert len(tasks_of(request_.run)) == 3


def test_an_approval_and_a_cancelling_one_wins_and_both_are_in_the_log(request_):
    results = at_once(decide(request_, "liaison"), lambda: stopping.cancel_run(run_id=request_.run_id, actor=founder()))

    request = ActionRequest.objects.get(pk=request_.pk)
    told = actions_of(request_.run)
    if losers(results):
        assert isinstance(losers(results)[0], WrongState)
        assert request.state == "not_required"
        assert actions.REQUEST_DECIDE_DENIED in told
    else:
        assert request.state == "fulfilled"
    assert request.run.state == "cancelled"
    assert actions.RUN_CANCELLED in told


def test_t03_one_person_never_makes_a_quorum_alone_however_often_it_is_sent():
    people = [person(f"p{number}", "human:police_liaison") for number in range(2)]
    document = {
        "id": "two",
        "steps": [{"id": "ok", "role": "human:police_liaison", "policy": {"required_approvals": 2}}],
    }
    request = ActionRequest.objects.get(run=started(document))

    results = at_once(*[decide(request, people[0].username) for _ in range(6)])

    assert len(winners(results)) == 1
    assert (ActionRequest.objects.get(pk=request.pk).state, Vote.objects.count()) == ("pending", 1)


def test_two_last_votes_at_once_decide_once_and_the_run_goes_on_once():
    people = [person(f"p{number}", "human:police_liaison") for number in range(4)]
    document = {
        "id": "two",
        "steps": [{"id": "ok", "role": "human:police_liaison", "policy": {"required_approvals": 2}}],
    }
    for _ in range(5):
        request = ActionRequest.objects.get(run=started(document))
        results = at_once(*[decide(request, each.username) for each in people])

        assert len(winners(results)) == 2
        assert {type(fault) for fault in losers(results)} == {AlreadyDecided}
        assert request.votes.count() == 2
        assert ActionRequest.objects.get(pk=request.pk).run.state == "completed"
