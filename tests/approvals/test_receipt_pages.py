# SPDX-License-Identifier: Apache-2.0
"""The decision page of what is proposed, the undo with the time that is left, and receipts as evidence in the admin."""

from __future__ import annotations

import pytest

from approvals import holding, services
from approvals.models import ActionRequest, Receipt, ReceiptAlert
from approvals.notify import link_to
from approvals.receipt_alerts import refused
from approvals.spending import spend
from config import clock
from config.errors import Refused
from playbooks.services import retire_version
from tests.approvals.asked import PAYMENT, approved, proposed, state_of
from tests.factories import PERMIT, founder, later, published, reloaded

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(client_for, liaison):
    return client_for(liaison)


def page(desk, request):
    answer = desk.get(link_to(request))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_the_page_says_exactly_what_an_approval_starts(desk, validator):
    published(PERMIT)
    request = proposed(validator, playbook="protest_permit", payload={"form_id": "<b>7</b>"}, policy={"hold": "10m"})
    text = page(desk, request)

    assert "A run of protest_permit version 1 starts once, in the name of validator, with exactly this payload." in text
    assert "It can be undone for 10 min; until then nothing happens." in text
    assert "&lt;b&gt;7&lt;/b&gt;" in text
    assert "Nothing else happens here" in text  # of the rejection


def test_the_page_says_of_a_call_who_makes_it(desk, validator):
    assert "tests.pay is called once" in page(desk, proposed(validator, call="tests.pay", input=PAYMENT))
    assert "validator may call treasury.pay, with exactly this input. Nothing starts here." in page(
        desk, proposed(validator)
    )


def test_the_page_says_that_an_approval_would_be_void(desk, validator):
    published(PERMIT)
    request = proposed(validator, playbook="protest_permit")
    retire_version(actor=founder(), playbook="protest_permit", number=1)
    assert "It cannot be started any more: version 1 of protest_permit is retired." in page(desk, request)


def test_a_held_approval_shows_the_time_left_and_the_button_undoes_it(desk, validator, liaison):
    receipt = approved(validator, liaison, call="tests.pay", input=PAYMENT, policy={"hold": "10m"})
    later(minutes=1)
    text = page(desk, receipt.request)
    assert "8 min left to undo it" in text or "9 min left to undo it" in text
    address = f"/admin/approvals/actionrequest/{receipt.request_id}/undo/"
    assert f'action="{address}"' in text

    assert desk.get(address).status_code == 405
    assert state_of(receipt) == "held"
    answer = desk.post(address, {"reason": "the other invoice"}, follow=True)
    again = ActionRequest.objects.get(supersedes=receipt.request_id)
    assert answer.redirect_chain == [(link_to(again), 303)]
    assert "Nothing was done; the same is asked again." in answer.content.decode()
    assert (state_of(receipt), reloaded(receipt.request).state) == ("revoked", "superseded")
    assert again.pk in page(desk, receipt.request)


def test_the_button_is_gone_and_the_way_left_is_named_once_it_took_effect(desk, validator, liaison):
    receipt = approved(validator, liaison, call="tests.pay", input=PAYMENT, policy={"hold": "10m"})
    later(minutes=10)
    holding.look_at_receipts(clock.now())
    text = page(desk, receipt.request)

    assert "left to undo" not in text
    assert "undone by their `compensate`" in text
    answer = desk.post(f"/admin/approvals/actionrequest/{receipt.request_id}/undo/", {}, follow=True)
    assert "It has taken effect." in answer.content.decode()


def test_who_may_not_see_the_request_finds_no_undo(client_for, staff_member, validator, liaison):
    receipt = approved(validator, liaison, call="tests.pay", input=PAYMENT, policy={"hold": "10m"})
    address = f"/admin/approvals/actionrequest/{receipt.request_id}/undo/"
    assert client_for(staff_member).post(address, {}).status_code in (403, 404)
    assert state_of(receipt) == "held"


def test_receipts_are_listed_for_who_sees_their_requests_and_only_read(
    desk, client_for, staff_member, validator, liaison
):
    receipt = approved(validator, liaison)
    spend(request_id=receipt.request_id, actor=validator, call="treasury.pay", input=PAYMENT)
    listed = desk.get("/admin/approvals/receipt/").content.decode()
    shown = desk.get(f"/admin/approvals/receipt/{receipt.pk}/change/", follow=True)

    assert receipt.pk in listed
    text = shown.content.decode()
    assert "Yes: signed under the key" in text
    assert receipt.digest in text
    assert "82000.00" in text
    assert desk.post(f"/admin/approvals/receipt/{receipt.pk}/change/", {"state": "ready"}).status_code == 403
    assert client_for(staff_member).get("/admin/approvals/receipt/").status_code == 403
    assert state_of(receipt) == "spent"


def test_the_alert_mail_names_what_happened_and_holds_no_case_data(validator, liaison):
    receipt = approved(validator, liaison)
    with pytest.raises(Refused):
        spend(request_id=receipt.request_id, actor=validator, call="treasury.pay", input={**PAYMENT, "to": "thief"})
    letter = refused(ReceiptAlert.objects.get())
    text = letter.text

    assert letter.subject == "Refused: Something else was tried than what you approved."
    assert link_to(receipt.request) in text
    assert "thief" not in text
    assert "82000" not in text


def test_a_hundred_refusals_of_one_kind_are_one_mail(validator, liaison):
    receipt = approved(validator, liaison)
    for _ in range(5):
        with pytest.raises(Refused):
            spend(request_id=receipt.request_id, actor=validator, call="other", input={})
    assert ReceiptAlert.objects.count() == 1


def test_a_page_of_a_decided_question_shows_its_receipt(desk, validator, liaison):
    request = proposed(validator, context={"a": 1})
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    assert Receipt.objects.get().pk in page(desk, request)


# Conditions -------------------------------------------------------------------------------------------------

ALL = {"constraints": ["ceiling", "allowed", "not_after", "uses"]}


def decision(request, **typed):
    return {"outcome": "PASS", "revision": "1", "digest": request.digest, "reason": "fine", **typed}


def test_an_approver_sets_conditions_where_the_policy_allows_them(desk, validator):
    request = proposed(validator, call="treasury.pay", input=PAYMENT, executor="caller", policy=ALL)
    text = page(desk, request)
    assert "amount at most" in text
    assert "How often" in text
    typed = {
        "condition:ceiling:amount": "500",
        "condition:allowed:currency": "USD, EUR",
        "condition:not_after": "2099-01-01T12:00",
        "condition:uses": "2",
    }
    assert desk.post(link_to(request), decision(request, **typed)).status_code == 303

    assert Receipt.objects.get().constraints == {
        "ceiling": {"amount": "500"},
        "allowed": {"currency": ["USD", "EUR"]},
        "not_after": "2099-01-01T12:00:00Z",
        "uses": 2,
    }


NESTED = {"amount": "82000.00", "order": {"lines": 3, "ship": {"country": "DE", "weight": 1.5}}}


def test_values_within_others_and_numbers_can_be_bounded_too(desk, validator):
    request = proposed(validator, call="treasury.pay", input=NESTED, executor="caller", policy=ALL)
    text = page(desk, request)
    for place, value in (("order.lines", "3"), ("order.ship.country", "DE"), ("order.ship.weight", "1.5")):
        assert f"{place} one of (with commas between)</label>" in text
        assert f'Proposed: <span dir="auto">{value}</span>' in text
    assert "order.ship.weight at most" in text
    typed = {
        "condition:allowed:order.lines": "2, 3",
        "condition:allowed:order.ship.weight": "1.5, 2",
        "condition:allowed:order.ship.country": "DE, FR",
    }
    assert desk.post(link_to(request), decision(request, **typed)).status_code == 303

    allowed = {"order.lines": [2, 3], "order.ship.weight": [1.5, 2], "order.ship.country": ["DE", "FR"]}
    assert Receipt.objects.get().constraints == {"allowed": allowed}
    doing = {**NESTED, "order": {"lines": 2, "ship": {"country": "FR", "weight": 2}}}
    assert spend(request_id=request.pk, actor=validator, call="treasury.pay", input=doing).number == 1


def test_a_word_where_a_number_is_proposed_is_refused_on_the_page(desk, validator):
    request = proposed(validator, call="treasury.pay", input=NESTED, executor="caller", policy=ALL)
    answer = desk.post(link_to(request), decision(request, **{"condition:allowed:order.lines": "2, two"}))

    assert answer.status_code == 422
    assert 'value="2, two"' in answer.content.decode()
    assert reloaded(request).state == "pending"


def test_what_is_no_condition_comes_back_with_what_was_typed_and_nothing_is_decided(desk, validator):
    request = proposed(validator, call="treasury.pay", input=PAYMENT, executor="caller", policy=ALL)
    answer = desk.post(link_to(request), decision(request, **{"condition:ceiling:amount": "a lot"}))

    assert answer.status_code == 422
    assert 'value="a lot"' in answer.content.decode()
    assert reloaded(request).state == "pending"


def test_conditions_that_were_typed_before_a_rejection_are_of_no_account(desk, validator):
    request = proposed(validator, call="treasury.pay", input=PAYMENT, executor="caller", policy=ALL)
    typed = {"outcome": "FAIL", "reason": "no", "condition:ceiling:amount": "5"}
    assert desk.post(link_to(request), {**decision(request), **typed}).status_code == 303
    assert reloaded(request).state == "rejected"


def test_no_condition_is_offered_where_the_policy_allows_none(desk, validator):
    assert "Conditions" not in page(desk, proposed(validator))
