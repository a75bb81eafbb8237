# SPDX-License-Identifier: Apache-2.0
"""Who sees to a request: taking a claim over, assigning, and what of that others notice."""

import pytest

from accounts.models import User
from approvals import assigning, claiming
from approvals.models import ActionRequest, Notification
from approvals.services import decide
from audit import actions
from audit.models import Entry
from config.errors import Forbidden, Invalid, LeaseLost, WrongState
from playbooks import rule_services
from playbooks.rule_services import About
from playbooks.rules import Rule
from runs import jobs
from tests.contract.answers import json_of, problem
from tests.factories import founder, later, user
from tests.people import person
from tests.races import at_once, losers, winners
from tests.runs.play import LIAISON, Play, agent, human

pytestmark = pytest.mark.django_db


@pytest.fixture
def anna():
    return person("anna", LIAISON)


def asked() -> ActionRequest:
    return Play(human("approve"), agent("after")).question("approve")


def now(request) -> ActionRequest:
    return ActionRequest.objects.get(pk=request.pk)


# Taking over ----------------------------------------------------------------------------------------------


def test_a_colleague_takes_a_claim_over_and_says_why(liaison, anna):
    request = asked()
    _, lost = claiming.claim_request(request_id=request.pk, actor=liaison)
    taken, token = assigning.take_over(request_id=request.pk, actor=anna, reason="He was called away.")

    assert (taken.claimed_by, now(request).state) == (anna, "in_review")
    (entry,) = Entry.objects.filter(action=actions.REQUEST_TAKEN_OVER)
    assert (entry.actor_name, entry.note, entry.data["from"]) == ("anna", "He was called away.", "liaison")
    assert Notification.objects.get(purpose="taken_over").recipient == liaison
    with pytest.raises(LeaseLost):
        decide(request_id=request.pk, actor=liaison, outcome="PASS", token=lost)
    assert decide(request_id=request.pk, actor=anna, outcome="PASS", token=token).state == "fulfilled"


def test_taking_over_needs_a_reason_a_right_and_somebody_elses_claim(liaison, anna):
    request = asked()
    with pytest.raises(WrongState, match="Nobody else"):
        assigning.take_over(request_id=request.pk, actor=anna, reason="Why not.")
    claiming.claim_request(request_id=request.pk, actor=liaison)
    with pytest.raises(Invalid, match="Say why"):
        assigning.take_over(request_id=request.pk, actor=anna, reason="  ")
    with pytest.raises(WrongState, match="Nobody else"):
        assigning.take_over(request_id=request.pk, actor=liaison, reason="Again.")
    assert now(request).claimed_by == liaison


@pytest.mark.django_db(transaction=True)
def test_of_two_who_take_over_at_once_both_are_recorded_and_one_holds_it():
    request, holder = asked(), User.objects.get(username="liaison")
    claiming.claim_request(request_id=request.pk, actor=holder)
    people = [user(name, "human", LIAISON) for name in ("anna", "ben")]
    results = at_once(
        *[lambda who=who: assigning.take_over(request_id=request.pk, actor=who, reason="I can.") for who in people]
    )
    assert not losers(results)
    assert Entry.objects.filter(action=actions.REQUEST_TAKEN_OVER).count() == 2
    tokens = {taken.claimed_by.username: token for taken, token in winners(results)}
    last = now(request).claimed_by
    first = next(who for who in people if who != last)
    with pytest.raises(LeaseLost):
        decide(request_id=request.pk, actor=first, outcome="PASS", token=tokens[first.username])
    decide(request_id=request.pk, actor=last, outcome="PASS", token=tokens[last.username])


# Assigning ------------------------------------------------------------------------------------------------


def test_assigning_asks_one_person_by_name_and_bars_nobody(administrator, liaison, anna):
    request = asked()
    assigning.assign_request(request_id=request.pk, actor=administrator, to="anna")
    assert now(request).assigned_to == anna
    assert Notification.objects.get(purpose="assigned").recipient == anna
    assert Entry.objects.get(action=actions.REQUEST_ASSIGNED).data["to"] == "anna"
    assert decide(request_id=request.pk, actor=liaison, outcome="PASS").state == "fulfilled"


def test_reassigning_replaces_and_says_why(administrator, liaison, anna):
    request = asked()
    assigning.assign_request(request_id=request.pk, actor=administrator, to="anna")
    with pytest.raises(Invalid, match="Say why"):
        assigning.assign_request(request_id=request.pk, actor=administrator, to="liaison")
    assigning.assign_request(request_id=request.pk, actor=administrator, to="liaison", reason="She is ill.")
    entry = Entry.objects.get(action=actions.REQUEST_REASSIGNED)
    assert (entry.data["from"], entry.data["to"], entry.note) == ("anna", "liaison", "She is ill.")
    assigning.assign_request(request_id=request.pk, actor=administrator, to="", reason="Anybody may.")
    assert now(request).assigned_to is None


def test_assigning_takes_a_permission_and_somebody_who_may_decide(administrator, liaison, anna, auditor):
    request = asked()
    with pytest.raises(Forbidden, match=assigning.ASSIGN):
        assigning.assign_request(request_id=request.pk, actor=anna, to="anna")
    with pytest.raises(Invalid, match="could not decide"):
        assigning.assign_request(request_id=request.pk, actor=administrator, to="auditor")
    with pytest.raises(Invalid, match="There is no"):
        assigning.assign_request(request_id=request.pk, actor=administrator, to="nobody")
    assert now(request).assigned_to is None


# What a claim leaves alone --------------------------------------------------------------------------------


def test_a_colleagues_claim_does_not_void_what_was_read(api_for, liaison, anna):
    request = asked()
    api = api_for(anna)
    read = api.get(f"/hitl/requests/{request.pk}")
    claiming.claim_request(request_id=request.pk, actor=liaison)
    assert api.get(f"/hitl/requests/{request.pk}")["ETag"] == read["ETag"]
    answer = api.post(f"/hitl/requests/{request.pk}/fulfill", {}, headers={"If-Match": read["ETag"]})
    assert json_of(answer)["status"] == "fulfilled"
    again = api.post(f"/hitl/requests/{request.pk}/reject", {"reason": "no"}, headers={"If-Match": read["ETag"]})
    problem(again, 409, "stale_revision")


def test_what_a_check_asks_is_offered_to_people_as_their_own_steps_are(liaison, api_for):
    about = About("Ours", "ethics", False)
    rule_services.create_rule_set(
        actor=founder(), slug="ours", about=about, rules=(Rule("rule", "true", "ASK_HUMAN", "It is odd."),)
    )
    rule_services.publish_rules(actor=founder(), slug="ours", number=1)
    play = Play({"id": "check", "type": "governance", "role": LIAISON, "rules": ["ours"]}, agent("after"))
    play.tick()
    api = api_for(liaison)

    lease = json_of(api.post("/acts/tasks/next", {"role": LIAISON}))
    assert lease["task"]["step"] == "check"
    done = {"token": lease["token"], "outcome": "PASS", "note": "It is not."}
    for _ in range(2):  # the same again is answered the same
        assert json_of(api.post(f"/acts/tasks/{lease['task']['id']}/complete", done))["status"] == "completed"
    assert play.open == {"after"}


def test_an_expired_claim_goes_back_and_its_holder_may_renew_it(liaison, settings):
    request = asked()
    _, token = claiming.claim_request(request_id=request.pk, actor=liaison)
    later(seconds=settings.HUMAN_LEASE_SECONDS + 1)
    jobs.tick()
    assert (now(request).state, now(request).lapsed_by) == ("pending", liaison)
    claiming.renew_claim(request_id=request.pk, actor=liaison, token=token)
    assert now(request).claimed_by == liaison


# Over the API ---------------------------------------------------------------------------------------------


def test_the_calls_answer_with_what_they_changed(api_for, administrator, liaison, anna):
    request = Play(human("approve", policy={"time": {"expires": "4h"}}), agent("after")).question("approve")
    at = f"/hitl/requests/{request.pk}"
    desk, colleague, office = api_for(liaison), api_for(anna), api_for(administrator)
    json_of(desk.post(f"{at}/claim"))
    taken = json_of(colleague.post(f"{at}/takeover", {"reason": "He was called away."}))
    assert (set(taken), taken["request"]["status"]) == ({"token", "expires_at", "request"}, "in_review")
    assert json_of(office.post(f"{at}/assign", {"to": "anna"}))["assigned_to"] == "anna"
    before = now(request).expires_at
    json_of(office.post(f"{at}/extend", {"by": "2h", "reason": "The expert is ill."}))
    assert (now(request).expires_at - before).total_seconds() == 7200
    user("ben", "human")
    made = json_of(desk.post(f"{at}/delegate", {"to": "ben"}), 201)
    assert (made["giver"], made["delegate"], made["request_id"]) == ("liaison", "ben", request.pk)
    problem(office.post(f"{at}/extend", {"by": "30d"}), 409, "extension_too_long")
    problem(colleague.post(f"{at}/extend", {"by": "1h"}), 403, "forbidden")
    problem(colleague.post(f"{at}/takeover", {}), 422, "invalid")
