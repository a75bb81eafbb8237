# SPDX-License-Identifier: Apache-2.0
"""`/hitl/requests/{id}/receipt`, `spend`, `revoke`, `undo`: as an executor outside uses them, to the offline proof."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta

import pytest
import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from approvals import holding
from approvals.models import ActionRequest, Receipt, Spending
from config import clock
from hms_act.receipts import Forged
from hms_act.receipts import Receipt as ClientsReceipt
from runs.models import Run
from tests.approvals.asked import PAYMENT, ROLE
from tests.contract.answers import is_moment, json_of, paths_of, problem
from tests.factories import PERMIT, later, published

pytestmark = pytest.mark.django_db

ASKED = {"title": "Pay the registry", "role": ROLE, "call": "treasury.pay", "input": PAYMENT, "executor": "caller"}
DOING = {"call": "treasury.pay", "input": PAYMENT}


@pytest.fixture
def asker(api_for, validator):
    return api_for(validator)


@pytest.fixture
def desk(api_for, liaison):
    return api_for(liaison)


def approve(asker, desk, asked=ASKED, **more):
    """The address of a request that was made and approved."""
    made = json_of(asker.post("/hitl/requests", asked), 201)
    at = f"/hitl/requests/{made['id']}"
    json_of(desk.post(f"{at}/fulfill", more))
    return at


def test_who_asked_uses_the_approval_and_gets_the_receipt(asker, desk):
    at = approve(asker, desk)
    before = json_of(asker.get(f"{at}/receipt"))
    after = json_of(asker.post(f"{at}/spend", DOING))

    assert (before["status"], before["uses"], before["action"]) == ("ready", 0, DOING)
    assert (after["status"], after["uses"]) == ("spent", 1)
    assert (after["statement"], after["signature"]) == (before["statement"], before["signature"])
    (use,) = after["spendings"]
    assert (use["spent_by"], use["digest"]) == ("validator", before["statement"]["action_sha256"])
    assert use["run_id"] is None


def test_each_refusal_has_its_code(asker, desk):
    at = approve(asker, desk)
    more = {**DOING, "input": {**PAYMENT, "amount": "820000.00"}}
    refused = problem(asker.post(f"{at}/spend", more), 409, "action_mismatch")
    assert refused["approved"] != refused["effective"]
    json_of(asker.post(f"{at}/spend", DOING))
    problem(asker.post(f"{at}/spend", DOING), 409, "receipt_spent")

    other = approve(asker, desk)
    json_of(desk.post(f"{other}/revoke", {"reason": "the invoice was withdrawn"}))
    problem(asker.post(f"{other}/spend", DOING), 409, "receipt_revoked")
    assert Spending.objects.count() == 1


def test_a_held_approval_says_from_when_it_can_be_used_and_an_expired_one_that_it_is_over(asker, desk):
    held = approve(asker, desk, {**ASKED, "policy": {"hold": "10m", "constraints": ["not_after"]}})
    refused = problem(asker.post(f"{held}/spend", DOING), 409, "receipt_held")
    assert refused["not_before"] == json_of(asker.get(f"{held}/receipt"))["statement"]["not_before"]

    until = (clock.now() + timedelta(hours=1)).isoformat()
    lasting = approve(
        asker, desk, {**ASKED, "policy": {"constraints": ["not_after"]}}, constraints={"not_after": until}
    )
    later(hours=1)
    problem(asker.post(f"{lasting}/spend", DOING), 409, "receipt_expired")


def test_a_repetition_of_the_same_call_is_answered_the_same_and_uses_nothing_twice(asker, desk):
    at = approve(asker, desk)
    first, second = (asker.post(f"{at}/spend", DOING, headers={"Idempotency-Key": "pay-1"}) for _ in range(2))

    assert first.json() == second.json()
    assert (second.status_code, Spending.objects.count()) == (200, 1)


def test_there_is_no_receipt_of_what_was_not_approved(asker, desk):
    made = json_of(asker.post("/hitl/requests", ASKED), 201)
    at = f"/hitl/requests/{made['id']}"
    problem(asker.get(f"{at}/receipt"), 404, "not_found")
    problem(asker.post(f"{at}/spend", DOING), 409, "wrong_state")
    json_of(desk.post(f"{at}/reject", {"reason": "no"}))
    problem(asker.get(f"{at}/receipt"), 404, "not_found")


def test_what_cannot_be_proposed_is_a_422_that_names_the_field(asker):
    for wrong, path in (
        ({"executor": "me"}, "executor"),
        ({"executor": "", "call": "no.such.call"}, "call"),
        ({"input": "text"}, "input"),
        ({"call": "", "playbook": "unknown", "input": {}, "executor": ""}, "playbook"),
    ):
        assert paths_of(problem(asker.post("/hitl/requests", {**ASKED, **wrong}), 422, "invalid")) == [path]
    assert not ActionRequest.objects.exists()


def test_a_proposed_playbook_starts_with_the_approval(asker, desk):
    published(PERMIT)
    asked = {"title": "Start it", "role": ROLE, "playbook": "protest_permit", "payload": {"form_id": 5}}
    at = approve(asker, desk, asked)

    run = Run.objects.get()
    receipt = json_of(asker.get(f"{at}/receipt"))
    assert (receipt["status"], receipt["executor"]) == ("spent", "engine")
    assert receipt["spendings"][0]["run_id"] == run.pk
    problem(asker.post(f"{at}/spend", {"call": "x", "input": {}}), 409, "receipt_spent")


def test_undo_asks_the_same_again_and_says_what_is_left_once_it_is_too_late(asker, desk):
    at = approve(asker, desk, {**ASKED, "policy": {"hold": "10m"}})
    held = json_of(asker.get(at))
    assert (held["status"], is_moment(held["held_until"])) == ("fulfilled", True)
    again = json_of(desk.post(f"{at}/undo", {"reason": "the other invoice"}))

    assert (again["status"], again["supersedes"]) == ("pending", at.rpartition("/")[2])
    assert json_of(asker.get(at))["status"] == "superseded"
    problem(asker.post(f"{at}/spend", DOING), 409, "receipt_revoked")
    anew = f"/hitl/requests/{again['id']}"
    json_of(desk.post(f"{anew}/fulfill", {}))
    later(minutes=10)
    holding.look_at_receipts(clock.now())
    assert "/revoke" in problem(desk.post(f"{anew}/undo", {}), 409, "too_late_to_undo")["detail"]


def test_conditions_are_checked_kept_in_the_receipt_and_enforced(asker, desk):
    asked = {**ASKED, "policy": {"constraints": ["ceiling", "uses"]}}
    made = json_of(asker.post("/hitl/requests", asked), 201)
    at = f"/hitl/requests/{made['id']}"
    wrong = {"constraints": {"ceiling": {"tip": 5}}}
    assert paths_of(problem(desk.post(f"{at}/fulfill", wrong), 422, "invalid")) == ["constraints.ceiling.tip"]
    assert json_of(asker.get(at))["status"] == "pending"
    json_of(desk.post(f"{at}/fulfill", {"constraints": {"ceiling": {"amount": "500"}, "uses": 2}}))

    kept = json_of(asker.get(f"{at}/receipt"))["statement"]
    assert (kept["constraints"], kept["uses"]) == ({"ceiling": {"amount": "500"}, "uses": 2}, 2)
    problem(asker.post(f"{at}/spend", DOING), 409, "action_mismatch")
    for amount in ("500.00", "12.50"):
        json_of(asker.post(f"{at}/spend", {**DOING, "input": {**PAYMENT, "amount": amount}}))
    problem(asker.post(f"{at}/spend", {**DOING, "input": {**PAYMENT, "amount": "1"}}), 409, "receipt_spent")
    assert [spent.action["input"]["amount"] for spent in Spending.objects.order_by("number")] == ["500.00", "12.50"]


# Without us -------------------------------------------------------------------------------------------------


def proof(asker, desk):
    at = approve(asker, desk)
    (key,) = json_of(asker.get("/hitl/receipt-keys"))["keys"]
    return json_of(asker.get(f"{at}/receipt")), key


def test_anybody_verifies_a_receipt_from_what_the_two_calls_answer(asker, desk):
    receipt, key = proof(asker, desk)
    statement = receipt["statement"]
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key["public_key"]))

    assert statement["key"] == key["id"]
    public.verify(base64.b64decode(receipt["signature"]), rfc8785.dumps(statement))
    bound = {"action": receipt["action"], "request": receipt["request_id"], "revision": statement["revision"]}
    assert hashlib.sha256(rfc8785.dumps(bound)).hexdigest() == statement["action_sha256"]
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(receipt["signature"]), rfc8785.dumps({**statement, "uses": 2}))


def test_the_python_client_verifies_it_and_takes_no_other(asker, desk):
    answer, key = proof(asker, desk)
    receipt, keys = ClientsReceipt.from_answer(answer), {key["id"]: key["public_key"]}
    receipt.verify(keys, **DOING)
    receipt.verify(keys)

    def forged(**changed):
        return ClientsReceipt.from_answer({**answer, **changed})

    statement = answer["statement"]
    for bad, ring, wanted in (
        (receipt, keys, {**DOING, "call": "treasury.refund"}),
        (receipt, keys, {**DOING, "input": {**PAYMENT, "amount": "820000.00"}}),
        (receipt, {}, DOING),
        (receipt, {key["id"]: base64.b64encode(b"\x01" * 32).decode()}, DOING),
        (forged(statement={**statement, "uses": 9}), keys, DOING),
        (forged(action={**DOING, "input": {}}), keys, {}),
        (forged(id="rcp_000000000000"), keys, DOING),
        (forged(signature="AAAA"), keys, DOING),
    ):
        with pytest.raises(Forged):
            bad.verify(ring, **wanted)


def test_a_use_within_the_conditions_is_verified_by_what_the_server_recorded(asker, desk):
    at = approve(
        asker, desk, {**ASKED, "policy": {"constraints": ["ceiling"]}}, constraints={"ceiling": {"amount": "500"}}
    )
    doing = {**DOING, "input": {**PAYMENT, "amount": "400"}}
    answer = json_of(asker.post(f"{at}/spend", doing))
    (key,) = json_of(asker.get("/hitl/receipt-keys"))["keys"]
    keys, receipt = {key["id"]: key["public_key"]}, ClientsReceipt.from_answer(answer)
    receipt.verify(keys, **doing)
    with pytest.raises(Forged):
        receipt.verify(keys, call="treasury.pay", input={**PAYMENT, "amount": "450"})
    assert Receipt.objects.get().uses == 1
