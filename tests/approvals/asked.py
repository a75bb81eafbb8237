# SPDX-License-Identifier: Apache-2.0
"""Requests outside any run, as the tests of receipts need them."""

from __future__ import annotations

from typing import Any

from approvals import asking, services
from approvals.models import ActionRequest, Receipt
from audit import triggers
from playbooks.catalogue import ActionCall, action
from tests.factories import reloaded

ROLE = "human:police_liaison"
PAYMENT = {"amount": "82000.00", "currency": "USD", "to": "registry"}

calls: list[ActionCall] = []  # that were made


@action("tests.pay", title="Pay")
def pay(call: ActionCall) -> dict[str, Any]:
    calls.append(call)
    return {"paid": call.arguments["amount"]}


def proposed(asker: Any, **given: Any) -> ActionRequest:
    """A request by `asker`: by default, to pay by a call that the asker makes."""
    what = given or {"call": "treasury.pay", "input": PAYMENT, "executor": "caller"}
    policy = what.pop("policy", None)
    proposal = {
        name: what.pop(name)
        for name in [*what]
        if name in {"playbook", "version", "payload", "call", "input", "executor"}
    }
    return asking.create_request(
        actor=asker, title="Pay the registry", role=ROLE, policy=policy, proposal=proposal, **what
    )


def approved(asker: Any, by: Any, *, constraints: Any = None, **given: Any) -> Receipt:
    request = proposed(asker, **given)
    services.decide(request_id=request.pk, actor=by, outcome="PASS", reason="fine", constraints=constraints)
    return Receipt.objects.get(request=request)


def state_of(receipt: Receipt) -> str:
    return str(reloaded(receipt).state)


def forge(rows: Any, **values: Any) -> None:
    """As somebody might who writes to the database past the triggers. For tests that commit."""
    with triggers.disabled():
        rows.update(**values)
