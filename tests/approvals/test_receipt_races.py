# SPDX-License-Identifier: Apache-2.0
"""Receipts at the same moment, on several connections: as many uses as were permitted, and one start."""

from __future__ import annotations

import pytest

from accounts.models import User
from approvals import holding, services, spending
from approvals.holding import TooLateToUndo
from approvals.models import Receipt, ReceiptState, Spending
from approvals.spending import ReceiptRevoked, ReceiptSpent
from config import clock
from config.errors import AlreadyDecided, WrongState
from runs.models import Run
from tests.approvals.asked import PAYMENT, approved, proposed
from tests.factories import PERMIT, later, published, reloaded
from tests.people import agent, person
from tests.races import at_once, losers, winners

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def asker():
    return agent("asker", "agent:asker")


@pytest.fixture
def decider():
    return person("decider", "human:police_liaison")


def spend(receipt, actor):
    return lambda: spending.spend(
        request_id=receipt.request_id, actor=User.objects.get(pk=actor.pk), call="treasury.pay", input=PAYMENT
    )


def test_of_eight_uses_at_once_one_is_made(asker, decider):
    receipt = approved(asker, decider)

    results = at_once(*[spend(receipt, asker)] * 8)

    assert len(winners(results)) == 1
    assert {type(fault) for fault in losers(results)} == {ReceiptSpent}
    assert Spending.objects.count() == 1


def test_of_eight_uses_at_once_as_many_are_made_as_were_allowed(asker, decider):
    receipt = approved(
        asker, decider, constraints={"uses": 3}, call="treasury.pay", input=PAYMENT, executor="caller",
        policy={"constraints": ["uses"]},
    )  # fmt: skip
    results = at_once(*[spend(receipt, asker)] * 8)

    assert len(winners(results)) == 3
    assert sorted(Spending.objects.values_list("number", flat=True)) == [1, 2, 3]
    assert reloaded(receipt).state == ReceiptState.SPENT


def test_a_use_and_a_revocation_at_once_one_wins(asker, decider):
    receipt = approved(asker, decider)
    revoke = lambda: holding.revoke(  # noqa: E731
        request_id=receipt.request_id, actor=User.objects.get(pk=decider.pk), reason="no"
    )
    results = at_once(spend(receipt, asker), revoke)

    assert len(winners(results)) == 1
    assert type(losers(results)[0]) in (ReceiptRevoked, WrongState)
    assert (reloaded(receipt).state == "spent") == Spending.objects.exists()


def test_two_decisions_at_once_start_one_run(asker):
    published(PERMIT)
    people = [person(f"p{number}", "human:police_liaison") for number in range(4)]
    request = proposed(asker, playbook="protest_permit", payload={"form_id": 1})
    results = at_once(*[
        lambda pk=one.pk: services.decide(request_id=request.pk, actor=User.objects.get(pk=pk), outcome="PASS")
        for one in people
    ])  # fmt: skip

    assert len(winners(results)) == 1
    assert {type(fault) for fault in losers(results)} == {AlreadyDecided}
    assert (Run.objects.count(), Receipt.objects.count(), Spending.objects.count()) == (1, 1, 1)


def test_sweeps_at_once_release_what_was_held_once(asker, decider):
    published(PERMIT)
    approved(asker, decider, playbook="protest_permit", payload={"form_id": 1}, policy={"hold": "10m"})
    later(minutes=10)
    at_once(*[lambda: holding.look_at_receipts(clock.now())] * 4)

    assert (Run.objects.count(), Spending.objects.count()) == (1, 1)


def test_an_undo_and_the_release_never_both_happen(asker, decider):
    published(PERMIT)
    receipt = approved(asker, decider, playbook="protest_permit", payload={"form_id": 1}, policy={"hold": "10m"})
    undo = lambda: holding.undo(request_id=receipt.request_id, actor=User.objects.get(pk=decider.pk))  # noqa: E731
    later(minutes=10)
    results = at_once(undo, lambda: holding.look_at_receipts(clock.now()))

    assert isinstance(results[0], TooLateToUndo)
    assert Run.objects.count() == 1
