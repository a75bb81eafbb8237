# SPDX-License-Identifier: Apache-2.0
"""Deciding in somebody's place: dated, bounded, never passed on, and of the two people one voice."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from accounts.models import User
from approvals import inbox
from approvals.asking import create_request
from approvals.delegating import Scope, delegate_for_a_time, delegate_request, revoke_delegation
from approvals.lending import Grant, kin, lent_to
from approvals.models import ActionRequest, Delegation, Notification, Vote
from approvals.services import decide
from audit import actions
from audit.models import Entry
from config import clock
from config.errors import Forbidden, Invalid, NotFound, Refused, RoleRequired, WrongState
from tests.approvals.pages import page_of, read
from tests.factories import later, reloaded, user
from tests.races import at_once, losers
from tests.runs.play import LIAISON, Play, agent, human

pytestmark = pytest.mark.django_db
ALL = Scope()
TWO = {"required_approvals": 2}


@pytest.fixture
def ben():
    """Of no role of his own."""
    return user("ben", "human")


def asked(**policy) -> ActionRequest:
    return Play(human("approve", policy=policy), agent("after")).question("approve")


def lent(giver, to, *, scope=ALL, actor=None, starts=timedelta(0), lasts=timedelta(days=7), **more) -> Delegation:
    at = clock.now() + starts
    return delegate_for_a_time(
        actor=actor or giver,
        giver=giver.username,
        to=to.username,
        starts_at=at,
        ends_at=at + lasts,
        scope=scope,
        **more,
    )


def approve(request, who, **more):
    return decide(request_id=request.pk, actor=fresh(who), outcome="PASS", reason="fine", **more)


def fresh(who) -> User:
    return User.objects.get(pk=who.pk)


def waiting_for(who) -> list[str]:
    return [request.pk for request in inbox.TO_DECIDE.rows(fresh(who))]


# Deciding in somebody's place -----------------------------------------------------------------------------


def test_a_delegate_decides_and_the_record_says_for_whom(liaison, ben):
    request = asked()
    assert waiting_for(ben) == []
    lent(liaison, ben, reason="I am in court.")
    assert waiting_for(ben) == [request.pk]
    assert inbox.bar_of(request, fresh(ben)) is None

    approve(request, ben)

    vote = Vote.objects.get()
    assert (vote.voter, vote.on_behalf_of) == (ben, liaison)
    (entry,) = Entry.objects.filter(action=actions.REQUEST_FULFILLED)
    assert (entry.actor_name, entry.content["actor"]["acting_for"]) == ("ben", "liaison")
    (made,) = Entry.objects.filter(action=actions.DELEGATION_MADE)
    assert (made.actor_name, made.note, made.data["delegate"]) == ("liaison", "I am in court.", "ben")


def test_whoever_has_a_right_of_their_own_uses_it(liaison):
    anna = user("anna", "human", LIAISON)
    lent(liaison, anna)
    approve(asked(), anna)
    assert Vote.objects.get().on_behalf_of is None


def test_one_request_can_be_delegated_by_whoever_may_decide_it(liaison, ben):
    request, other = asked(), asked()
    delegate_request(request_id=request.pk, actor=liaison, to="ben", reason="You know the bridge.")
    assert waiting_for(ben) == [request.pk]
    assert Notification.objects.get(recipient=ben).purpose == "delegated"
    with pytest.raises((NotFound, RoleRequired)):
        approve(other, ben)
    assert approve(request, ben).state == "fulfilled"
    (entry,) = Entry.objects.filter(action=actions.REQUEST_DELEGATED)
    assert (entry.request_id, entry.data["delegate"]) == (request.pk, "ben")


def test_routing_tells_who_stands_in_and_keeps_it(liaison, ben):
    lent(liaison, ben, is_away=True)
    request = asked()
    told = Notification.objects.filter(request=request, purpose="asked").values_list("recipient__username", flat=True)
    assert sorted(told) == ["ben", "liaison"]
    assert {"id": ben.pk, "name": "ben", "rules": [], "for": "liaison"} in request.eligible
    (giver,) = (one for one in request.eligible if one["name"] == "liaison")
    assert (giver["away"], giver["lent_to"]) == (True, ["ben"])


def test_who_was_away_is_kept_with_who_could_decide_whatever_they_lend(liaison, ben):
    anna = user("anna", "human", LIAISON)
    lent(liaison, ben, scope=Scope(max_severity="low"), is_away=True)
    lent(anna, ben)
    request = asked()
    later(days=30)

    kept = {one["name"]: {name: one.get(name) for name in ("away", "lent_to")} for one in reloaded(request).eligible}
    assert kept["liaison"] == {"away": True, "lent_to": None}, "what they lend does not reach to this request"
    assert kept["anna"] == {"away": None, "lent_to": ["ben"]}, "who lends their right may be there all the same"


def test_the_page_says_who_could_decide_and_who_was_away(liaison, ben, client_for):
    lent(liaison, ben, is_away=True)
    user("<i>eve</i>", "human", LIAISON)
    page = read(client_for(liaison).get(page_of(asked()))).words

    assert "Who could decide when this was asked (3)" in page
    assert "liaison (out of office; ben may decide in their place)" in page
    assert "ben (in place of liaison)" in page
    assert "<i>eve</i>" in page


# Its bounds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        (Scope(role=LIAISON), True),
        (Scope(request_type="legal_document"), False),
        (Scope(request_type="custom"), True),
        (Scope(max_severity="low"), False),
        (Scope(max_severity="medium"), True),
        (Scope(max_severity="high"), True),
    ],
)
def test_a_delegation_is_bounded_by_role_type_and_severity(liaison, ben, scope, may):
    request = asked()
    lent(liaison, ben, scope=scope)
    assert waiting_for(ben) == ([request.pk] if may else [])
    if may:
        assert approve(request, ben).state == "fulfilled"
    else:
        with pytest.raises((NotFound, RoleRequired)):
            approve(request, ben)


def test_a_role_that_the_giver_does_not_have_cannot_be_lent(liaison, ben):
    with pytest.raises(Invalid, match="cannot be like this"):
        lent(liaison, ben, scope=Scope(role="human:mayor"))


def test_t17_it_is_in_force_from_its_beginning_until_just_before_its_end(liaison, ben):
    request = asked()
    lent(liaison, ben, starts=timedelta(hours=1), lasts=timedelta(hours=1))
    assert waiting_for(ben) == []
    with pytest.raises((NotFound, RoleRequired)):
        approve(request, ben)
    later(hours=1)
    assert waiting_for(ben) == [request.pk]
    later(hours=1)
    assert waiting_for(ben) == []
    with pytest.raises((NotFound, RoleRequired)):
        approve(request, ben)


def test_t17_an_expired_grant_lends_nothing_be_it_that_the_page_was_read_before(liaison, ben, client_for):
    request = asked()
    lent(liaison, ben, lasts=timedelta(hours=1))
    assert client_for(ben).get(f"/admin/approvals/actionrequest/{request.pk}/decide/").status_code in (200, 302)
    later(hours=1)
    with pytest.raises((NotFound, RoleRequired)):
        approve(request, ben)
    assert ActionRequest.objects.get().state == "pending"


def test_t17_revoked_between_view_and_decision_it_lends_nothing(liaison, ben):
    request = asked()
    given = lent(liaison, ben)
    assert inbox.bar_of(request, fresh(ben)) is None
    revoke_delegation(delegation_id=given.pk, actor=liaison, reason="I am back.")
    with pytest.raises((NotFound, RoleRequired)):
        approve(request, ben)
    assert Entry.objects.get(action=actions.DELEGATION_REVOKED).note == "I am back."


def test_t17_a_loop_lends_nobody_a_right_that_nobody_has(ben):
    user("liaison", "human", LIAISON)
    carla = user("carla", "human")
    lent(ben, carla)
    lent(carla, ben)
    request = asked()
    for who in (ben, carla):
        assert waiting_for(who) == []
        with pytest.raises((NotFound, RoleRequired)):
            approve(request, who)


def test_t17_what_is_lent_is_not_lent_on(liaison, ben):
    carla = user("carla", "human")
    request = asked()
    lent(liaison, ben)
    lent(ben, carla)
    assert waiting_for(carla) == []
    with pytest.raises((NotFound, RoleRequired)):
        approve(request, carla)
    with pytest.raises(Forbidden, match="not lent on"):
        delegate_request(request_id=request.pk, actor=fresh(ben), to="carla")


def test_t17_a_delegate_who_is_a_maker_does_not_decide(liaison):
    starter = user("starter", "human", is_superuser=True)
    request = create_request(actor=starter, title="Mine", role=LIAISON)
    lent(liaison, starter)
    with pytest.raises(RoleRequired):
        approve(request, starter)
    assert not Vote.objects.exists()


def test_t17_who_stands_in_for_a_maker_is_a_maker_and_so_is_who_is_stood_in_for(liaison):
    anna = user("anna", "human", LIAISON)
    maker = user("maker", "human", LIAISON)
    request = create_request(actor=maker, title="Mine", role=LIAISON)
    lent(maker, anna)
    given = lent(liaison, maker)
    with pytest.raises(Forbidden, match="You stand in for maker, who asked for this"):
        approve(request, anna)
    with pytest.raises(Forbidden, match="You are stood in for by maker, who asked for this"):
        approve(request, liaison)
    revoke_delegation(delegation_id=given.pk, actor=liaison)
    with pytest.raises(Forbidden, match="stood in for"):  # to end it just now makes no two people of one
        approve(request, liaison)
    with pytest.raises(Forbidden):
        approve(request, maker)


def test_t17_a_delegate_needs_a_clearance_of_their_own(liaison, ben, validator):
    request = asked()
    for nobody in ("validator", "nobody-at-all", "liaison"):
        with pytest.raises(Invalid):
            delegate_request(request_id=request.pk, actor=liaison, to=nobody)
    lent(liaison, ben)
    User.objects.filter(pk=ben.pk).update(is_active=False)
    with pytest.raises(Refused):
        approve(request, ben)


def test_a_giver_who_has_lost_the_role_has_nothing_to_lend(liaison, ben):
    request = asked()
    lent(liaison, ben)
    liaison.groups.clear()
    assert waiting_for(ben) == []
    with pytest.raises((NotFound, RoleRequired)):
        approve(request, ben)


# One voice ------------------------------------------------------------------------------------------------


def test_the_two_never_both_count_whoever_votes_first(liaison, ben):
    carla = user("carla", "human", LIAISON)
    lent(liaison, ben)
    first, second = asked(**TWO), asked(**TWO)
    approve(first, ben)
    with pytest.raises(Forbidden):
        approve(first, liaison)
    approve(second, liaison)
    with pytest.raises(Refused):
        approve(second, ben)
    for request in (first, second):
        assert ActionRequest.objects.get(pk=request.pk).state == "pending"
        assert approve(request, carla).state == "fulfilled"


def test_a_delegate_with_a_right_of_their_own_does_not_add_to_the_givers_vote(liaison):
    anna = user("anna", "human", LIAISON)
    lent(liaison, anna)
    request = asked(**TWO)
    approve(request, liaison)
    with pytest.raises(Forbidden, match="of the two of you, one counts"):
        approve(request, anna)


@pytest.mark.django_db(transaction=True)
def test_giver_and_delegate_at_the_same_moment_are_one_voice():
    liaison, ben = user("liaison", "human", LIAISON), user("ben", "human")
    user("carla", "human", LIAISON)
    lent(liaison, ben)
    request = asked(**TWO)
    results = at_once(lambda: approve(request, liaison), lambda: approve(request, ben))
    assert len(losers(results)) == 1
    assert (Vote.objects.count(), ActionRequest.objects.get().state) == (1, "pending")


# Giving and revoking --------------------------------------------------------------------------------------


def test_people_delegate_for_themselves_and_administrators_for_others(liaison, ben, administrator):
    with pytest.raises(Forbidden, match="for yourself alone"):
        lent(liaison, ben, actor=ben)
    made = lent(liaison, ben, actor=administrator, is_away=True)
    assert (made.giver, made.made_by, made.is_away) == (liaison, administrator, True)
    assert Entry.objects.get(action=actions.DELEGATION_MADE).content["actor"]["acting_for"] == "liaison"


def test_only_the_two_and_administrators_revoke(liaison, ben, administrator):
    stranger = user("stranger", "human", LIAISON)
    given = lent(liaison, ben)
    with pytest.raises(NotFound):
        revoke_delegation(delegation_id=given.pk, actor=stranger)
    assert revoke_delegation(delegation_id=given.pk, actor=ben).revoked_by == ben
    with pytest.raises(WrongState, match="over already"):
        revoke_delegation(delegation_id=given.pk, actor=administrator)


@pytest.mark.parametrize("lasts", [timedelta(0), timedelta(hours=-1), timedelta(days=367)])
def test_a_delegation_ends_after_it_starts_and_within_a_year(liaison, ben, lasts):
    with pytest.raises(Invalid, match="ends after it starts"):
        lent(liaison, ben, lasts=lasts)


def test_the_database_keeps_what_was_lent(liaison, ben):
    given = lent(liaison, ben)
    rows = Delegation.objects.filter(pk=given.pk)
    for change in (
        {"delegate": liaison},
        {"ends_at": given.starts_at},
        {"ends_at": given.ends_at + timedelta(days=1)},
        {"max_severity": "low"},
        {"revoked_at": clock.now()},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.update(**change)
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.delete()
    revoke_delegation(delegation_id=given.pk, actor=liaison)
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.update(revoked_at=None, revoked_by=None)


# Pure -----------------------------------------------------------------------------------------------------

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Asked:
    pk, role, request_type, severity, created_at = "har_000000000001", LIAISON, "custom", "high", NOON


def grant(giver=1, delegate=2, start=-1, end=1, **bounds) -> Grant:
    return Grant(7, giver, f"p{giver}", delegate, f"p{delegate}", NOON + start * HOUR, NOON + end * HOUR, **bounds)


@pytest.mark.parametrize(
    ("given", "is_lent"),
    [
        (grant(), True),
        (grant(start=0), True),
        (grant(end=0), False),
        (grant(start=1, end=2), False),
        (grant(giver=2, delegate=1), False),
        (grant(role=LIAISON), True),
        (grant(role="human:other"), False),
        (grant(request_type="custom"), True),
        (grant(request_type="api_key"), False),
        (grant(max_severity="medium"), False),
        (grant(max_severity="high"), True),
        (grant(request="har_000000000001"), True),
        (grant(request="har_000000000002"), False),
    ],
)
def test_what_is_lent(given, is_lent):
    assert bool(lent_to(2, [given], Asked(), NOON)) is is_lent


@pytest.mark.parametrize(
    ("given", "person", "why"),
    [
        (grant(1, 2), 2, "stand in for p1, who asked for this"),
        (grant(2, 1), 2, "are stood in for by p1, who asked for this"),
        (grant(1, 3), 2, ""),
        (grant(1, 2, end=0), 2, ""),  # over when the request was made
        (grant(1, 2, start=2, end=3), 2, ""),  # not yet
        (grant(1, 2, role="human:other"), 2, ""),
    ],
)
def test_kin(given, person, why):
    assert kin(person, {1: "asked for this"}, [given], Asked(), NOON + HOUR) == why
