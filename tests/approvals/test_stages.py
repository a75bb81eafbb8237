# SPDX-License-Identifier: Apache-2.0
"""Deciding under policies: stages, groups, blind votes, reasons, emergencies, what is asked back and asked anew."""

from datetime import timedelta
from uuid import uuid4

import pytest

from approvals import policies, revising
from approvals.asking import create_request
from approvals.models import ActionRequest, Asked, Notification, Receipt, Revision, Vote
from approvals.rights import StepUpRequired
from approvals.services import decide
from audit import actions
from audit.context import coming_from, refine
from audit.models import Entry
from config import clock
from config.errors import AlreadyDecided, Forbidden, Invalid, RoleRequired, StaleRevision, WrongState
from tests.factories import later
from tests.people import agent, person
from tests.races import at_once, losers

LEGAL, BOARD = "human:legal", "human:board"
CHAIN = {"stages": [{"rules": [{"role": LEGAL}]}, {"rules": [{"role": BOARD, "approvals": 2}]}]}
EACH = {"stages": [{"rules": [{"role": LEGAL}, {"role": BOARD}]}]}


@pytest.fixture
def people(db):
    return {
        "lea": person("lea", LEGAL),
        "leo": person("leo", LEGAL),
        "bea": person("bea", BOARD),
        "bo": person("bo", BOARD),
        "both": person("both", LEGAL, BOARD),
        "eve": person("eve", "human:elsewhere"),
    }


@pytest.fixture
def asker(db):
    return agent("asker", "agent:asker")


def asked(asker, policy=None, **more):
    told = {"workflow_id": uuid4().hex, **more}  # so that each is a question of its own
    return create_request(actor=asker, role=LEGAL, title="Publish the plan", policy=policy, **told)


def vote(request, who, outcome="PASS", **more):
    return decide(request_id=request.pk, actor=who, outcome=outcome, **{"reason": "as I see it", **more})


def now(request):
    return ActionRequest.objects.get(pk=request.pk)


def entries(request, action):
    return list(Entry.objects.filter(request_id=request.pk, action=action).order_by("id"))


# Stages and groups ----------------------------------------------------------------------------------------


def test_a_chain_asks_the_second_stage_once_the_first_is_done(people, asker):
    request = asked(asker, CHAIN)

    with pytest.raises(Forbidden, match="human:legal must vote first"):
        vote(request, people["bea"])
    vote(request, people["lea"])
    assert (now(request).state, now(request).stage) == ("pending", 1)
    with pytest.raises(Forbidden, match="human:board must vote first"):
        vote(request, people["leo"])
    vote(request, people["bea"])
    assert now(request).state == "pending"
    vote(request, people["bo"])

    assert (now(request).state, now(request).outcome, now(request).decided_by) == ("fulfilled", "PASS", people["bo"])
    told = [entry.data for entry in entries(request, actions.REQUEST_VOTED)]
    assert [(each["stage"], each["next_stage"], each["missing"]) for each in told] == [
        (0, 1, {"2.1": 2}),
        (1, 1, {"2.1": 1}),
    ]


def test_nobody_votes_in_two_stages(people, asker):
    request = asked(asker, CHAIN)
    vote(request, people["both"])

    with pytest.raises(Forbidden, match="approved this already"):
        vote(request, people["both"])


def test_t04_one_of_each_is_not_two_of_one(people, asker):
    request = asked(asker, EACH)

    vote(request, people["lea"])
    vote(request, people["leo"])
    assert now(request).state == "pending"
    vote(request, people["bea"])
    assert now(request).state == "fulfilled"


def test_whoever_is_named_by_a_rule_is_asked_sees_it_and_is_kept_with_it(people, asker):
    request = asked(asker, {"stages": [{"rules": [{"users": ["eve", "lea"]}]}]})

    assert {each["name"]: each["rules"] for each in request.eligible} == {"lea": ["1.1"], "eve": ["1.1"]}
    assert list(Asked.objects.values_list("user__username", "why")) == [("eve", "rule")]
    assert set(Notification.objects.values_list("recipient__username", flat=True)) == {"eve", "lea"}
    assert ActionRequest.objects.visible_to(people["eve"]).decidable_by(people["eve"]).count() == 1
    with pytest.raises(RoleRequired):
        vote(request, people["leo"])
    vote(request, people["eve"])
    assert now(request).state == "fulfilled"


def test_a_share_is_counted_when_it_is_asked(people, asker):
    request = asked(asker, {"stages": [{"rules": [{"role": LEGAL, "percent": 60}]}]})
    person("newcomer", LEGAL)

    assert request.policy["stages"][0]["rules"][0]["approvals"] == 2  # of three


def test_what_nobody_can_satisfy_is_told_at_once(people, asker):
    operator = person("operator", "administrator")
    request = asked(asker, {"required_approvals": 4})

    (alert,) = entries(request, actions.REQUEST_UNSATISFIABLE)
    assert alert.note == "4 of human:legal must approve, and 3 can."
    assert Notification.objects.filter(request=request, purpose="unsatisfiable", recipient=operator).count() == 1


def test_a_policy_that_is_none_is_refused_with_its_place(people, asker):
    with pytest.raises(Invalid) as refused:
        asked(asker, {"stages": [{"rules": [{"approvals": 0}]}]})

    assert refused.value.errors[0].path == "policy.stages.0.rules.0.approvals"
    assert ActionRequest.objects.count() == 0


# The policy stays -----------------------------------------------------------------------------------------


def test_a_policy_published_later_is_for_later_requests(people, asker):
    administrator = person("administrator", "administrator")
    policies.create_policy(actor=administrator, slug="plans", title="Plans", document="required_approvals: 2")
    policies.publish_version(actor=administrator, slug="plans", number=1)
    before = asked(asker, {"use": "plans"})
    policies.add_version(actor=administrator, slug="plans", document="required_approvals: 1")
    policies.publish_version(actor=administrator, slug="plans", number=2)

    vote(before, people["lea"])
    assert now(before).state == "pending"
    assert (now(before).policy["use"], now(before).policy["version"]) == ("plans", 1)
    after = asked(asker, {"use": "plans"})
    vote(after, people["lea"])
    assert now(after).state == "fulfilled"


def test_a_role_lost_since_is_no_right_any_more(people, asker):
    request = asked(asker)
    assert LEGAL in people["lea"].roles  # as a session remembers
    people["lea"].groups.clear()

    with pytest.raises(RoleRequired):
        vote(request, people["lea"])


# Blind ----------------------------------------------------------------------------------------------------


def test_blind_votes_that_differ_are_opened_and_everybody_votes_again(people, asker, client_for):
    request = asked(asker, {"required_approvals": 2, "blind": True})
    vote(request, people["lea"], "FAIL", reason="no budget")
    page = client_for(people["leo"]).get(f"/admin/approvals/actionrequest/{request.pk}/decide/").content.decode()
    assert "no budget" not in page
    assert now(request).state == "pending"  # one rejection is no veto before all are in

    vote(request, people["leo"])
    opened = now(request)
    assert (opened.state, opened.revision, "blind" in opened.policy) == ("pending", 2, False)
    assert len(entries(request, actions.REQUEST_DIVERGED)) == 1
    page = client_for(people["both"]).get(f"/admin/approvals/actionrequest/{request.pk}/decide/").content.decode()
    assert "no budget" in page

    vote(request, people["lea"])
    vote(request, people["leo"])
    assert now(request).state == "fulfilled"


# Reasons and assurance ------------------------------------------------------------------------------------


def test_a_rejection_names_a_code_and_a_high_approval_says_why(people, asker):
    policy = {"reasons": {"on_approve_from": "high", "codes": {"late": "Too late"}}}
    request = asked(asker, policy, severity="high")

    for outcome, given, path in [
        ("FAIL", {"reason": "no"}, "reason_code"),
        ("FAIL", {"reason": "no", "reason_code": "early"}, "reason_code"),
        ("FAIL", {"reason": "", "reason_code": "late"}, "reason"),
        ("PASS", {"reason": " "}, "reason"),
    ]:
        with pytest.raises(Invalid) as refused:
            vote(request, people["lea"], outcome, **given)
        assert refused.value.errors[0].path == path
    vote(request, people["lea"], "FAIL", reason="The date has passed.", reason_code="late")

    assert (now(request).state, now(request).reason_code) == ("rejected", "late")
    assert Vote.objects.get().reason_code == "late"


def test_a_decision_of_great_harm_needs_the_password_within_five_minutes(people, asker):
    request = asked(asker, {"assurance": {"high": "step_up"}}, severity="high")

    with coming_from("api"), pytest.raises(StepUpRequired):
        vote(request, people["lea"])
    with coming_from("api"):
        refine(authenticated_at=clock.now() - timedelta(minutes=6))
        with pytest.raises(StepUpRequired):
            vote(request, people["lea"])
    with coming_from("api"):
        refine(authenticated_at=clock.now() - timedelta(minutes=4))
        vote(request, people["lea"])

    assert (now(request).state, Vote.objects.get().assurance) == ("fulfilled", "step_up")


def test_a_link_alone_decides_nothing_unless_the_policy_says_so(people, asker):
    strict, easy = asked(asker), asked(asker, {"assurance": {"medium": "link"}})

    with coming_from("mail"):
        refine(assurance="link")
        with pytest.raises(Forbidden, match="Log in"):
            vote(strict, people["lea"])
        vote(easy, people["lea"])
    assert Vote.objects.get().assurance == "link"


# Emergencies ----------------------------------------------------------------------------------------------

GLASS = {"required_approvals": 2, "break_glass": {"role": "human:duty", "review_role": "human:audit"}}


def test_breaking_the_glass_decides_alone_is_told_and_is_reviewed(people, asker):
    duty = person("duty", "human:duty")
    auditor = person("reviewer", "human:audit")
    request = asked(asker, GLASS)
    assert ActionRequest.objects.visible_to(duty).get() == request  # to see it, and not among what to decide
    assert not ActionRequest.objects.decidable_by(duty).exists()

    with pytest.raises(Invalid, match="Say why"):
        vote(request, duty, reason="", emergency=True)
    vote(request, duty, reason="The dam is breaking.", emergency=True)

    assert (now(request).state, now(request).decided_how) == ("fulfilled", "break_glass")
    (loud,) = entries(request, actions.REQUEST_GLASS_BROKEN)
    told = Notification.objects.filter(request=request, purpose="glass_broken")
    assert set(told.values_list("recipient__username", flat=True)) == {"lea", "leo", "both"}
    review = ActionRequest.objects.get(pk=loud.data["review"])
    assert (review.role, review.requester, review.asked["context"]["request"]) == ("human:audit", duty, request.pk)
    assert review.due_at - review.created_at == timedelta(days=1)
    vote(review, auditor)
    assert now(review).state == "fulfilled"


def test_the_glass_is_for_whom_the_policy_names_and_never_for_makers(people, asker):
    request = asked(asker, GLASS)
    with pytest.raises(RoleRequired, match="human:duty"):
        vote(request, people["lea"], emergency=True)
    with pytest.raises(Forbidden, match="knows no emergency"):
        vote(asked(asker), people["lea"], emergency=True)
    maker = person("maker", LEGAL, "human:duty")
    own = asked(maker, GLASS)
    with pytest.raises(Forbidden, match="You asked for this"):
        vote(own, maker, emergency=True)


# Revisions ------------------------------------------------------------------------------------------------

TWO = {"required_approvals": 2}


def revise(request, who, **changes):
    return revising.revise_request(request_id=request.pk, actor=who, changes=changes, reason="corrected")


def test_t06_a_change_voids_the_votes_in_the_same_transaction(people, asker):
    request = asked(asker, TWO, context={"amount": 82_000})
    vote(request, people["lea"])
    revise(request, asker, context={"amount": 820_000})

    vote(request, people["leo"])
    assert (now(request).state, now(request).revision) == ("pending", 2)  # the first vote was on something else
    vote(request, people["lea"])
    assert now(request).state == "fulfilled"


@pytest.mark.django_db(transaction=True)
def test_t06_no_vote_on_what_was_asked_before_slips_in_beside_the_change(people, asker):
    request = asked(asker, TWO, context={"amount": 82_000})
    vote(request, people["lea"])

    results = at_once(
        lambda: vote(request, people["leo"], revision=1), lambda: revise(request, asker, context={"amount": 820_000})
    )

    after = now(request)
    if after.state == "fulfilled":
        assert (after.revision, after.asked) == (1, {"context": {"amount": 82_000}})
        assert isinstance(losers(results)[0], AlreadyDecided)
    else:
        assert (after.state, after.revision) == ("pending", 2)
        assert isinstance(losers(results)[0], StaleRevision)


def test_each_revision_is_kept_with_its_digest_and_what_changed(people, asker):
    request = asked(asker, context={"amount": 82_000})
    first = request.digest
    revise(request, asker, context={"amount": 80_000}, title="Publish the smaller plan")

    one, two = Revision.objects.filter(request=request)
    assert (one.digest, two.digest) == (first, now(request).digest)
    assert [change["path"] for change in two.changes] == ["title", "asked.context.amount"]
    assert two.content["asked"]["context"] == {"amount": 80_000}
    assert (one.made_by, two.made_by, two.reason) == (asker, asker, "corrected")


def test_a_decider_who_may_edit_becomes_a_maker(people, asker):
    request = asked(asker, {**TWO, "edits": {"allowed": True}}, context={"amount": 82_000})
    revise(request, people["lea"], context={"amount": 80_000})

    with pytest.raises(Forbidden, match="You changed what is asked"):
        vote(request, people["lea"])
    vote(request, people["leo"])
    vote(request, people["both"])
    assert now(request).state == "fulfilled"


def test_a_change_that_only_narrows_keeps_votes_and_makes_nobody_a_maker(people, asker):
    edits = {"allowed": True, "narrowing": {"context.amount": "down"}}
    request = asked(asker, {**TWO, "edits": edits}, context={"amount": 82_000})
    vote(request, people["lea"])
    revise(request, people["leo"], context={"amount": 80_000})
    vote(request, people["leo"])

    assert (now(request).state, now(request).revision) == ("fulfilled", 2)
    assert [each["name"] for each in Receipt.objects.get().voters] == ["lea", "leo"]


@pytest.mark.parametrize(
    ("who", "changes", "refusal"),
    [
        ("lea", {"title": "Other"}, Forbidden),
        ("asker", {}, Invalid),
        ("asker", {"title": "Publish the plan"}, Invalid),
        ("asker", {"input": {"a": 1}}, Invalid),
        ("asker", {"policy": {}}, Invalid),
    ],
)
def test_what_cannot_be_changed_is_refused_and_stays(people, asker, who, changes, refusal):
    request = asked(asker)
    digest = request.digest

    with pytest.raises(refusal):
        revise(request, {**people, "asker": asker}[who], **changes)
    assert (now(request).revision, now(request).digest) == (1, digest)


def test_what_is_decided_is_not_changed_any_more(people, asker):
    request = asked(asker)
    vote(request, people["lea"])

    with pytest.raises(AlreadyDecided):
        revise(request, asker, title="Other")


# Asking back ----------------------------------------------------------------------------------------------


def test_a_question_stops_the_clock_and_the_answer_moves_the_deadlines(people, asker):
    request = asked(asker)
    due = clock.now() + timedelta(hours=4)
    ActionRequest.objects.filter(pk=request.pk).update(due_at=due)

    revising.request_info(request_id=request.pk, actor=people["lea"], question="Which plan?")
    assert now(request).state == "info_requested"
    assert Notification.objects.filter(recipient=asker, purpose="info_requested").count() == 1
    with pytest.raises(WrongState):
        vote(request, people["leo"])
    later(hours=2)
    revising.answer_info(request_id=request.pk, actor=asker, answer="The northern one.")

    after = now(request)
    assert (after.state, after.paused_at) == ("pending", None)
    assert abs(after.due_at - (due + timedelta(hours=2))) < timedelta(seconds=5)
    assert abs(after.paused_seconds - 7200) < 5
    assert [(said["kind"], said["by"], said["text"]) for said in after.exchange] == [
        ("question", "lea", "Which plan?"),
        ("answer", "asker", "The northern one."),
    ]


def test_changes_are_wanted_and_the_new_revision_is_decided(people, asker):
    request = asked(asker)
    revising.request_changes(request_id=request.pk, actor=people["lea"], feedback="One plan at a time.")
    assert now(request).state == "changes_requested"
    with pytest.raises(WrongState):
        vote(request, people["lea"])
    revise(request, asker, title="Publish the northern plan")
    vote(request, people["lea"])

    assert now(request).state == "fulfilled"


def test_asking_back_is_for_deciders_and_answering_for_who_asked(people, asker):
    request = asked(asker)
    with pytest.raises(Forbidden):
        revising.request_info(request_id=request.pk, actor=asker, question="Why?")
    with pytest.raises(Invalid):
        revising.request_info(request_id=request.pk, actor=people["lea"], question="  ")
    revising.request_info(request_id=request.pk, actor=people["lea"], question="Why?")
    with pytest.raises(Forbidden):
        revising.answer_info(request_id=request.pk, actor=people["leo"], answer="Because.")
    revising.answer_info(request_id=request.pk, actor=asker, answer="Because.")
    with pytest.raises(WrongState):
        revising.answer_info(request_id=request.pk, actor=asker, answer="Because.")
