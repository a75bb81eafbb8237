# SPDX-License-Identifier: Apache-2.0
"""Deciding an action request: every path ends here, under these rules."""

import pytest
from django.db import IntegrityError, transaction

from approvals import services
from approvals.models import ActionRequest, RequestState, Vote
from audit import actions
from audit.models import Entry
from config.errors import AlreadyDecided, Forbidden, Invalid, NotFound, RoleRequired, StaleRevision, WrongState
from runs import services as runs
from runs import stopping
from tests.factories import actions_of, reloaded, started, steps, tasks_of, waiting_for_a_person
from tests.people import person

pytestmark = pytest.mark.django_db


def decide(request, actor, outcome="PASS", **given):
    return services.decide(request_id=request.pk, actor=actor, outcome=outcome, **given)


@pytest.fixture
def request_(validator):
    return waiting_for_a_person(validator)


def test_approving_moves_vote_request_task_and_run_together(request_, liaison):
    decide(request_, liaison, reason="crowd plan is sound")

    request = ActionRequest.objects.get(pk=request_.pk)
    screen, approve, fee = tasks_of(request.run)
    assert (request.state, request.outcome, request.decided_by) == ("fulfilled", "PASS", liaison)
    assert (approve.state, approve.outcome, approve.note) == ("completed", "PASS", "crowd plan is sound")
    assert approve.approval["by"] == "liaison"
    assert (fee.step, fee.state) == ("Collect-Fee", "pending")
    vote = Vote.objects.get()
    assert (vote.voter, vote.outcome, vote.revision, vote.digest) == (liaison, "PASS", 1, request.digest)
    assert screen.state == "completed"


def test_rejecting_ends_the_run_failed_with_the_persons_reason(request_, liaison):
    decide(request_, liaison, outcome="FAIL", reason="the bridge is closed")

    request = ActionRequest.objects.get(pk=request_.pk)
    assert (request.state, request.rejection_reason) == ("rejected", "the bridge is closed")
    assert [task.state for task in tasks_of(request.run)] == ["completed", "rejected"]
    assert (request.run.state, request.run.ended_by_step) == ("failed", "Human-Approve")


def test_the_log_tells_who_decided_why_and_having_seen_what(request_, liaison):
    before = len(actions_of(request_.run))
    decide(request_, liaison, reason="crowd plan is sound")

    assert actions_of(request_.run)[before:] == [
        actions.REQUEST_FULFILLED,
        actions.TASK_APPROVED,
        actions.TASK_COMPLETED,
    ]
    entry = Entry.objects.get(action=actions.REQUEST_FULFILLED)
    assert (entry.actor_name, entry.actor_type, entry.note) == ("liaison", "human", "crowd plan is sound")
    assert entry.data["content_hash"] == request_.digest


def test_a_rejection_needs_a_reason_and_is_lost_for_want_of_none(request_, liaison):
    with pytest.raises(Invalid, match="Say why"):
        decide(request_, liaison, outcome="FAIL", reason="  ")

    assert reloaded(request_).state == RequestState.PENDING
    assert not Vote.objects.exists()


def test_only_members_of_the_role_decide_and_being_superuser_is_no_right(request_, superuser, auditor):
    colleague = person("clerk", "human:clerk")
    for actor in (superuser, auditor):
        with pytest.raises(RoleRequired):
            decide(request_, actor)
    with pytest.raises(NotFound):
        decide(request_, colleague)
    assert reloaded(request_).state == RequestState.PENDING
    assert Entry.objects.filter(action=actions.REQUEST_DECIDE_DENIED, result="DENIED").count() == 3


def test_agents_and_services_never_decide_even_in_the_role(request_, validator, finance):
    for actor in (validator, finance):
        actor.groups.set(person(f"p{actor.pk}", "human:police_liaison").groups.all())
        with pytest.raises(Forbidden, match="Only people decide"):
            decide(request_, type(actor).objects.get(pk=actor.pk))


def test_who_started_the_run_does_not_decide_it(validator, liaison):
    starter = person("starter", "human:police_liaison", is_superuser=True)
    request = waiting_for_a_person(validator)
    run = runs.start_run(actor=starter, playbook="protest_permit", payload={})
    lease = runs.claim_tasks(role="agent:validator", actor=validator)[0]
    runs.complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")
    own = ActionRequest.objects.get(run=run)

    with pytest.raises(Forbidden, match="You started this run"):
        decide(own, starter)
    assert decide(own, liaison).state == "fulfilled"
    assert decide(request, starter).state == "fulfilled"


def test_a_role_lost_since_the_log_in_counts_at_the_moment_of_the_vote(request_, liaison):
    assert "human:police_liaison" in liaison.roles  # read, and remembered by this instance
    liaison.groups.clear()

    with pytest.raises((RoleRequired, NotFound)):
        decide(request_, liaison)
    assert reloaded(request_).state == RequestState.PENDING


def test_a_deactivated_person_does_not_decide(request_, liaison):
    type(liaison).objects.filter(pk=liaison.pk).update(is_active=False)

    with pytest.raises(Forbidden, match="not active"):
        decide(request_, liaison)


def test_what_was_shown_must_be_what_is_asked(request_, liaison):
    with pytest.raises(StaleRevision):
        decide(request_, liaison, revision=2)
    with pytest.raises(StaleRevision):
        decide(request_, liaison, shown_digest="0" * 64)
    assert decide(request_, liaison, revision=1, shown_digest=request_.digest).state == "fulfilled"


def test_the_second_decision_is_told_who_was_first(request_, liaison):
    decide(request_, liaison)

    with pytest.raises(AlreadyDecided, match=r"liaison decided this on .* PASS"):
        decide(request_, liaison, outcome="FAIL", reason="no")
    assert Vote.objects.count() == 1


def test_a_request_of_a_cancelled_run_cannot_be_decided(request_, liaison):
    stopping.cancel_run(run_id=request_.run_id, actor=request_.run.started_by)

    with pytest.raises(WrongState, match="not required"):
        decide(request_, liaison)


def test_an_undeclared_option_is_refused_and_a_declared_one_counts(validator, liaison):
    options = ["approve_reduced", {"key": "deny", "label": "Deny", "ends": "fail"}]
    story = steps({"id": "choose", "role": "human:police_liaison", "options": options}, {"id": "b", "role": "agent:x"})
    first, second = started(story), started(story)
    one, two = (ActionRequest.objects.get(run=run) for run in (first, second))

    with pytest.raises(Invalid, match="not among the options"):
        decide(one, liaison, outcome="perhaps")
    decide(one, liaison, outcome="approve_reduced")
    decide(two, liaison, outcome="deny", reason="too loud")
    assert [task.step for task in tasks_of(first)] == ["choose", "b"]
    assert reloaded(second).state == "failed"


def test_an_answer_must_fit_the_form_and_becomes_the_steps_output(liaison):
    form = {"type": "object", "required": ["officers"], "properties": {"officers": {"type": "integer", "minimum": 1}}}
    run = started(steps({"id": "plan", "role": "human:police_liaison", "form": form}, {"id": "b", "role": "agent:x"}))
    request = ActionRequest.objects.get(run=run)

    with pytest.raises(Invalid) as refused:
        decide(request, liaison, response_data={"officers": 0})
    assert refused.value.errors[0].path == "response_data.officers"
    decide(request, liaison, response_data={"officers": 12})
    assert tasks_of(run)[0].output == {"officers": 12}


def test_one_person_has_one_vote_per_revision_by_the_database(request_, liaison):
    decide(request_, liaison)
    vote = Vote.objects.get()

    with pytest.raises(IntegrityError), transaction.atomic():
        Vote.objects.create(
            request=vote.request, revision=1, voter=liaison, outcome="FAIL", digest="x", channel="x",
            voted_at=vote.voted_at,
        )  # fmt: skip
