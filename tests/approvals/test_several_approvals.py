# SPDX-License-Identifier: Apache-2.0
"""Policies that need several people, or people who did not do another step: kept on every way of deciding."""

import pytest

from approvals.claiming import claim_request
from approvals.models import ActionRequest, Vote
from approvals.services import decide
from audit import actions
from config.errors import AlreadyDecided, Forbidden
from runs.models import Task
from tests.approvals.pages import page_of
from tests.factories import user
from tests.races import at_once, losers
from tests.runs.play import LIAISON, Play, agent, human

TWO = {"required_approvals": 2}


@pytest.fixture
def people():
    return [user(name, "human", LIAISON) for name in ("anna", "ben", "carla")]


def asked(**policy):
    play = Play(human("approve", policy=policy), agent("after"))
    return play, play.question("approve")


def approve(request, person, outcome="PASS", **more):
    return decide(request_id=request.pk, actor=person, outcome=outcome, reason="fine", **more)


def now(request):
    return ActionRequest.objects.get(pk=request.pk)


@pytest.mark.django_db
def test_one_of_two_approvals_is_recorded_and_the_request_waits(people):
    play, request = asked(**TWO)

    approve(request, people[0])

    assert now(request).state == "pending"
    assert play.open == {"approve"}
    (told,) = play.entries(actions.REQUEST_VOTED)
    assert (told.data["missing"], told.note) == ({"1.1": 1}, "fine")

    approve(request, people[1])
    assert (now(request).state, now(request).decided_by, play.open) == ("fulfilled", people[1], {"after"})
    assert Vote.objects.filter(request=request).count() == 2


@pytest.mark.django_db
def test_nobody_approves_twice(people):
    _, request = asked(**TWO)
    approve(request, people[0])
    with pytest.raises(Forbidden, match="approved this already"):
        approve(request, people[0])
    assert Vote.objects.count() == 1


@pytest.mark.django_db
def test_one_rejection_is_a_veto(people):
    play, request = asked(**TWO)
    approve(request, people[0])
    approve(request, people[1], outcome="FAIL")
    assert (now(request).state, play.state) == ("rejected", "failed")
    with pytest.raises(AlreadyDecided):
        approve(request, people[2])


@pytest.mark.django_db
def test_approvals_count_for_their_outcome_alone(people):
    play = Play(human("approve", policy=TWO, options=["long-way", "short-way"]), agent("after"))
    request = play.question("approve")
    approve(request, people[0], outcome="long-way")
    approve(request, people[1], outcome="short-way")
    assert now(request).state == "pending"
    approve(request, people[2], outcome="long-way")
    assert (now(request).state, now(request).outcome) == ("fulfilled", "long-way")


@pytest.mark.django_db
def test_who_claimed_it_to_approve_gives_it_back_for_the_next(people):
    _, request = asked(**TWO)
    _, token = claim_request(request_id=request.pk, actor=people[0])
    approve(request, people[0], token=token)
    assert (now(request).state, now(request).claimed_by) == ("pending", None)
    claim_request(request_id=request.pk, actor=people[1])


@pytest.mark.django_db
def test_it_leaves_the_inbox_of_who_has_approved_and_stays_in_that_of_others(people):
    _, request = asked(**TWO)
    approve(request, people[0])
    inbox = {person: set(ActionRequest.objects.decidable_by(person)) for person in people}
    assert [bool(found) for found in inbox.values()] == [False, True, True]


@pytest.mark.django_db
def test_the_page_says_who_has_approved_and_what_is_missing(people, client_for):
    _, request = asked(**TWO)
    path = page_of(request)
    for person in people[:2]:
        type(person).objects.filter(pk=person.pk).update(is_staff=True)
    first = client_for(user("anna"))
    page = first.get(path, follow=True)
    assert "2 members of" in page.content.decode()
    assert "nothing moves until one more person has approved, of human:" in page.content.decode()
    sent = {"outcome": "PASS", "reason": "fine", "revision": request.revision, "digest": request.digest}
    answer = first.post(path, sent, follow=True)
    assert "more are needed" in answer.content.decode()
    second = client_for(user("ben")).get(path, follow=True).content.decode()
    assert "anna: <strong>Approved</strong>" in second
    assert "nothing moves until" not in second
    again = first.get(path, follow=True).content.decode()
    assert "You have approved this already" in again


@pytest.mark.django_db
def test_over_the_api_a_vote_leaves_the_request_pending(people, api_for):
    _, request = asked(**TWO)
    for person, status in zip(people[:2], ("pending", "fulfilled"), strict=True):
        answer = api_for(person).post(f"/hitl/requests/{request.pk}/fulfill", {"notes": "fine"})
        assert (answer.status_code, answer.json()["status"]) == (200, status)


@pytest.mark.django_db
def test_who_decided_another_step_may_not_decide_this_one(people):
    play = Play(human("first"), human("second", policy={"distinct_from_steps": ["first"]}))
    decide(request_id=play.question("first").pk, actor=people[0], outcome="PASS")
    request = play.question("second")
    with pytest.raises(Forbidden, match="decided on the step first"):
        approve(request, people[0])
    approve(request, people[1])
    assert play.state == "completed"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_round", range(5))
def test_two_approvals_at_the_same_instant_are_two(_round):
    people = [user(name, "human", LIAISON) for name in ("anna", "ben")]
    _, request = asked(**TWO)

    results = at_once(*[lambda person=person: approve(request, person) for person in people])

    assert losers(results) == []
    assert now(request).state == "fulfilled"
    assert set(Task.objects.values_list("step", "state")) == {("approve", "completed"), ("after", "pending")}
