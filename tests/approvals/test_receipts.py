# SPDX-License-Identifier: Apache-2.0
"""An approval permits exactly one act, once: what is done is held against what was approved, and fails closed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from approvals import holding, proof, services, spending
from approvals.models import ActionRequest, Receipt, ReceiptAlert, SigningKey, Spending
from approvals.receipts import ActionMismatch
from approvals.signing import distrust, why_untrusted
from approvals.spending import ReceiptExpired, ReceiptHeld, ReceiptRevoked, ReceiptSpent, ReceiptUntrusted
from audit import actions
from audit.models import Entry
from audit.services import SYSTEM
from config import clock
from config.errors import Forbidden, Invalid, NotFound, WrongState
from runs import asking as mid_task
from runs.models import Run
from tests.approvals.asked import PAYMENT, approved, forge, proposed, state_of
from tests.factories import claimed, later, reloaded, started, steps, tasks_of, waiting_for_a_person
from tests.people import agent, person, service

pytestmark = pytest.mark.django_db


def spend(receipt, actor, call="treasury.pay", input=PAYMENT):
    return spending.spend(request_id=receipt.request_id, actor=actor, call=call, input=input)


def denied(code):
    return Entry.objects.filter(action=actions.RECEIPT_SPEND_DENIED, code=code).count()


# Minting --------------------------------------------------------------------------------------------------


def test_an_approval_mints_a_signed_receipt_of_exactly_what_was_approved(validator, liaison):
    receipt = approved(validator, liaison)

    request = receipt.request
    assert (receipt.state, receipt.executor, receipt.uses) == ("ready", "caller", 0)
    assert receipt.action == {"call": "treasury.pay", "input": PAYMENT}
    assert receipt.digest == proof.action_digest(request.pk, 1, receipt.action)
    assert (receipt.proposed_digest, receipt.content_digest) == (receipt.digest, request.digest)
    assert [voter["name"] for voter in receipt.voters] == ["liaison"]
    assert why_untrusted(receipt) == ""
    entry = Entry.objects.get(action=actions.REQUEST_FULFILLED)
    assert (entry.data["receipt"], entry.data["action_sha256"]) == (receipt.pk, receipt.digest)


def test_a_rejection_mints_nothing(validator, liaison):
    request = proposed(validator)
    services.decide(request_id=request.pk, actor=liaison, outcome="FAIL", reason="no")

    assert not Receipt.objects.exists()
    with pytest.raises(WrongState, match="was not approved"):
        spending.spend(request_id=request.pk, actor=validator, call="treasury.pay", input=PAYMENT)


def test_every_voter_of_several_stands_in_the_receipt(validator, liaison):
    second = person("second", "human:police_liaison")
    request = proposed(
        validator, call="treasury.pay", input=PAYMENT, executor="caller", policy={"required_approvals": 2}
    )
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    assert not Receipt.objects.exists()
    services.decide(request_id=request.pk, actor=second, outcome="PASS")

    assert [voter["name"] for voter in Receipt.objects.get().voters] == ["liaison", "second"]


def test_a_human_steps_receipt_is_minted_and_spent_by_the_decision(validator, liaison):
    request = waiting_for_a_person(validator)
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS", reason="fine")

    receipt = Receipt.objects.get()
    used = Spending.objects.get()
    assert (receipt.state, receipt.executor, receipt.uses) == ("spent", "step", 1)
    assert (used.receipt, used.digest, used.task) == (receipt, receipt.digest, request.task)
    assert receipt.action["asked"] == request.asked


# Spending -------------------------------------------------------------------------------------------------


def test_who_asked_spends_it_once_and_the_effective_action_is_kept(validator, liaison):
    receipt = approved(validator, liaison)
    used = spend(receipt, validator)

    assert (used.action, used.digest, used.number) == (receipt.action, receipt.digest, 1)
    assert state_of(receipt) == "spent"
    assert Entry.objects.filter(action=actions.RECEIPT_SPENT, actor_name="validator").count() == 1


def test_t07_approved_82000_and_asked_for_820000_is_refused_with_the_nonce_unspent_and_an_alert(validator, liaison):
    receipt = approved(validator, liaison)

    with pytest.raises(ActionMismatch, match="not what was approved"):
        spend(receipt, validator, input={**PAYMENT, "amount": "820000.00"})

    assert state_of(receipt) == "ready"
    assert not Spending.objects.exists()
    assert denied("action_mismatch") == 1
    alert = ReceiptAlert.objects.get()
    assert (alert.recipient, alert.purpose, alert.state) == (liaison, "action_mismatch", "due")
    assert spend(receipt, validator).number == 1


@pytest.mark.parametrize(
    ("call", "input"),
    [
        ("treasury.refund", PAYMENT),
        ("treasury.pay", {**PAYMENT, "to": "somebody"}),
        ("treasury.pay", {**PAYMENT, "memo": "more"}),
        ("treasury.pay", {"amount": "82000.00", "currency": "USD"}),
        ("treasury.pay", {**PAYMENT, "amount": 82000}),
    ],
)
def test_t08_the_same_arguments_to_another_tool_or_other_arguments_to_the_same_are_refused(
    validator, liaison, call, input
):
    receipt = approved(validator, liaison)

    with pytest.raises(ActionMismatch):
        spend(receipt, validator, call=call, input=input)
    assert state_of(receipt) == "ready"


def test_t08_a_receipt_that_was_used_is_not_used_again(validator, liaison):
    receipt = approved(validator, liaison)
    spend(receipt, validator)

    with pytest.raises(ReceiptSpent):
        spend(receipt, validator)
    assert Spending.objects.count() == 1
    assert denied("receipt_spent") == 1
    assert ReceiptAlert.objects.filter(purpose="receipt_spent").exists()


def test_t08_a_receipt_whose_time_is_over_is_refused_though_nobody_swept_it_up(validator, liaison):
    until = (clock.now() + timedelta(hours=1)).isoformat()
    receipt = approved(
        validator, liaison, constraints={"not_after": until},
        call="treasury.pay", input=PAYMENT, executor="caller", policy={"constraints": ["not_after"]},
    )  # fmt: skip
    later(hours=1)

    with pytest.raises(ReceiptExpired):
        spend(receipt, validator)
    assert state_of(receipt) == "ready"
    holding.look_at_receipts(clock.now())
    assert state_of(receipt) == "expired"
    with pytest.raises(ReceiptExpired):
        spend(receipt, validator)


def test_a_question_without_a_proposal_is_spent_by_asking_for_nothing_else(validator, liaison):
    receipt = approved(validator, liaison, context={"invoice": 7})

    with pytest.raises(ActionMismatch):
        spend(receipt, validator)
    used = spending.spend(request_id=receipt.request_id, actor=validator)
    assert used.action == {"asked": {"context": {"invoice": 7}}}


def test_others_do_not_spend_it_unless_they_were_given_leave(validator, liaison):
    receipt = approved(validator, liaison)
    other, gateway = agent("other", "agent:other"), service("gateway", "svc:gateway")

    with pytest.raises(NotFound):
        spend(receipt, other)
    with pytest.raises(Forbidden, match="Only who asked"):
        spend(receipt, liaison)
    from django.contrib.auth.models import Permission

    for codename in ("spend", "view"):
        app = "approvals" if codename == "spend" else "runs"
        gateway.user_permissions.add(Permission.objects.get(codename=codename, content_type__app_label=app))
    assert spend(receipt, type(gateway).objects.get(pk=gateway.pk)).spent_by == gateway


# Untrusted ------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "values",
    [
        {"digest": "0" * 64},
        {"uses_allowed": 2},
        {"constraints": {"ceiling": {"amount": "9999999"}}},
        {"voters": [{"name": "mayor", "outcome": "PASS", "at": "2025-11-03T14:00:00.000000Z"}]},
        {"nonce": "0" * 32},
        {"signature": "AAAA"},
        {"signature": "not base64"},
        {"key_id": "0" * 16},
    ],
)
def test_a_receipt_that_says_anything_else_than_what_was_signed_proves_nothing(validator, liaison, values):
    receipt = approved(validator, liaison)
    forge(Receipt.objects.filter(pk=receipt.pk), **values)

    with pytest.raises(ReceiptUntrusted):
        spend(receipt, validator)
    assert denied("receipt_untrusted") == 1
    assert ReceiptAlert.objects.filter(purpose="receipt_untrusted", recipient=liaison).exists()


@pytest.mark.django_db(transaction=True)
def test_an_action_exchanged_beneath_the_signature_proves_nothing(validator, liaison):
    receipt = approved(validator, liaison)
    forge(Receipt.objects.filter(pk=receipt.pk), action={"call": "treasury.pay", "input": {**PAYMENT, "to": "thief"}})

    with pytest.raises(ReceiptUntrusted, match="not what was signed"):
        spend(receipt, validator, input={**PAYMENT, "to": "thief"})


def test_nothing_is_done_under_a_key_that_is_trusted_no_more(validator, liaison):
    receipt = approved(validator, liaison)
    distrust(key_id=receipt.key_id, reason="it was copied", actor=SYSTEM)

    with pytest.raises(ReceiptUntrusted, match="trusted no more"):
        spend(receipt, validator)
    assert Entry.objects.filter(action=actions.SIGNING_KEY_DISTRUSTED).count() == 1
    with pytest.raises(NotFound):
        distrust(key_id="0" * 16, reason="?", actor=SYSTEM)


# Revoking -------------------------------------------------------------------------------------------------


def test_an_approval_that_nobody_used_can_be_taken_back_with_a_reason(validator, liaison):
    receipt = approved(validator, liaison)

    with pytest.raises(Invalid, match="Say why"):
        holding.revoke(request_id=receipt.request_id, actor=liaison, reason=" ")
    with pytest.raises(Forbidden):
        holding.revoke(request_id=receipt.request_id, actor=person("chief", is_superuser=True), reason="I am the chief")
    holding.revoke(request_id=receipt.request_id, actor=liaison, reason="the invoice was withdrawn")

    with pytest.raises(ReceiptRevoked):
        spend(receipt, validator)
    entry = Entry.objects.get(action=actions.RECEIPT_REVOKED)
    assert (entry.actor_name, entry.note) == ("liaison", "the invoice was withdrawn")
    with pytest.raises(WrongState):
        holding.revoke(request_id=receipt.request_id, actor=liaison, reason="again")


# An agent that asked in mid-task ----------------------------------------------------------------------------


def asked_in_mid_task(validator, **step):
    run = started(steps({"id": "work", "role": "agent:validator", **step}, {"id": "b", "role": "agent:x"}))
    lease = claimed(validator)
    request_id, _ = mid_task.request_approval(
        task_id=lease.task.pk, token=lease.token, actor=validator, reason="May I?", role="human:police_liaison"
    )
    return run, lease, ActionRequest.objects.get(pk=request_id)


def test_the_approval_of_an_agent_in_mid_task_is_spent_as_it_resumes(validator, liaison):
    _, lease, request = asked_in_mid_task(validator)
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    receipt = Receipt.objects.get()
    assert (receipt.state, receipt.executor) == ("ready", "step")
    with pytest.raises(WrongState, match="resumed"):
        spending.spend(request_id=request.pk, actor=validator, call="x", input={})

    mid_task.resume_task(task_id=lease.task.pk, token=lease.token, actor=validator)

    assert state_of(receipt) == "spent"
    assert Spending.objects.get().task == lease.task


def test_an_approval_that_the_agent_does_not_take_up_is_of_no_use_to_the_next(validator, liaison):
    from runs.timers import look_at_tasks

    run, lease, request = asked_in_mid_task(validator, token_ttl="5m")
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    later(minutes=6)
    look_at_tasks(clock.now())

    assert state_of(Receipt.objects.get()) == "expired"
    assert tasks_of(run)[0].state == "pending"
    assert claimed(validator).task.pk == lease.task.pk


# By the database --------------------------------------------------------------------------------------------


def test_no_statement_changes_what_a_receipt_says_or_brings_a_spent_one_back(validator, liaison):
    receipt = approved(validator, liaison)
    for values in ({"digest": "0" * 64}, {"constraints": {"uses": 3}}, {"not_after": clock.now() + timedelta(days=9)}):
        with pytest.raises(DatabaseError), transaction.atomic():
            Receipt.objects.filter(pk=receipt.pk).update(**values)
    spend(receipt, validator)
    with pytest.raises(DatabaseError), transaction.atomic():
        Receipt.objects.filter(pk=receipt.pk).update(state="ready", uses=0, closed_at=None, next_check_at=clock.now())
    for rows in (Receipt.objects.all(), Spending.objects.all(), SigningKey.objects.all()):
        with pytest.raises(DatabaseError), transaction.atomic():
            rows._raw_delete(rows.db)
    with pytest.raises(DatabaseError), transaction.atomic():
        Spending.objects.update(digest="0" * 64)
    with pytest.raises(DatabaseError), transaction.atomic():
        SigningKey.objects.update(public_key="x")


def test_one_use_has_one_number_and_one_request_one_open_receipt(validator, liaison):
    receipt = approved(validator, liaison)
    used = spend(receipt, validator)
    with pytest.raises((IntegrityError, DatabaseError)), transaction.atomic():
        Spending.objects.create(receipt=receipt, number=1, action={}, digest="x", spent_at=used.spent_at)
    other = approved(validator, liaison)
    copy = reloaded(other)
    copy.pk, copy.nonce, copy._state.adding = "rcp_000000000000", "f" * 32, True
    with pytest.raises((IntegrityError, DatabaseError)), transaction.atomic():
        copy.save(force_insert=True)


def test_a_held_receipt_is_not_spent(validator, liaison):
    receipt = approved(
        validator, liaison, call="treasury.pay", input=PAYMENT, executor="caller", policy={"hold": "10m"}
    )

    with pytest.raises(ReceiptHeld) as refused:
        spend(receipt, validator)
    assert refused.value.extra["not_before"] == proof.moment(receipt.not_before)
    assert not ReceiptAlert.objects.exists()
    later(minutes=10)
    holding.look_at_receipts(clock.now())
    assert spend(receipt, validator).number == 1
    assert not Run.objects.exists()
