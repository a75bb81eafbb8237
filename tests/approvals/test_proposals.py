# SPDX-License-Identifier: Apache-2.0
"""Proposals: what an approval starts, once; checked when it is asked, and void if it has changed by then."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission

from approvals import proposals, receipts, services
from approvals.models import ActionRequest, Receipt, ReceiptAlert, Spending
from approvals.proposals import ProposalVoid
from audit import actions
from audit.models import Entry
from config.errors import AlreadyDecided, Forbidden, Invalid
from playbooks import one_call
from playbooks.connector_services import Terms, change_connector, create_connector
from playbooks.models import Version
from playbooks.parse import parse_data
from playbooks.services import add_version, create_playbook, retire_version
from runs import due, jobs
from runs.models import Effect, Run
from tests.approvals import asked
from tests.approvals.asked import PAYMENT, approved, forge, proposed, state_of
from tests.factories import PERMIT, founder, published, reloaded, steps, tasks_of
from tests.people import person

pytestmark = pytest.mark.django_db

FORM = {"type": "object", "required": ["form_id"], "properties": {"form_id": {"type": "integer"}}}


@pytest.fixture(autouse=True)
def _no_calls_yet():
    asked.calls.clear()


def decide(request, actor, outcome="PASS", **more):
    return services.decide(request_id=request.pk, actor=actor, outcome=outcome, reason="said so", **more)


def work():
    """Let our worker do what is due."""
    for source, row_id in due.look().tickets:
        if source == "task":
            jobs.perform(source, row_id)


# Checked when asked -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"playbook": "no_such"}, "playbook"),
        ({"playbook": "protest_permit", "version": 9}, "version"),
        ({"playbook": "form", "payload": {"form_id": "x"}}, "payload.form_id"),
        ({"playbook": "form", "payload": {}}, "payload"),
        ({"call": "no.such.call"}, "call"),
        ({"playbook": "protest_permit", "call": "tests.pay"}, "call"),
        ({"playbook": "protest_permit", "executor": "caller"}, "executor"),
        ({"payload": {"a": 1}}, "payload"),
        ({"input": {"a": 1}}, "input"),
        ({"executor": "caller"}, "executor"),
    ],
)
def test_what_could_not_be_started_is_refused_when_it_is_asked(validator, given, path):
    published(PERMIT)
    published({**steps({"id": "a", "role": "agent:validator"}, id="form"), "payload_schema": FORM})

    with pytest.raises(Invalid) as refused:
        proposed(validator, **given)
    assert [problem.path for problem in refused.value.errors] == [path]
    assert not ActionRequest.objects.exists()


def test_who_may_start_nothing_proposes_nothing(validator):
    published(PERMIT)
    validator.user_permissions.clear()
    validator = type(validator).objects.get(pk=validator.pk)

    with pytest.raises(Forbidden, match=r"runs\.start"):
        proposed(validator, playbook="protest_permit")
    assert proposed(validator).action == {"call": "treasury.pay", "input": PAYMENT}


def test_the_newest_version_is_frozen_when_it_is_asked(validator, liaison):
    version = published(PERMIT)
    request = proposed(validator, playbook="protest_permit", payload={"form_id": 7})
    published({**PERMIT, "title": "Another"})
    decide(request, liaison)

    assert request.action["version_sha256"] == version.digest
    assert Run.objects.get().version == version


# Started by the approval --------------------------------------------------------------------------------------


def test_an_approval_starts_the_run_once_as_who_asked_with_its_receipt(validator, liaison):
    published(PERMIT)
    request = proposed(validator, playbook="protest_permit", payload={"form_id": 7})
    assert not Run.objects.exists()
    decide(request, liaison)

    run, receipt, used = Run.objects.get(), Receipt.objects.get(), Spending.objects.get()
    assert (run.started_by, run.payload, run.labels) == (validator, {"form_id": 7}, {"receipt": receipt.pk})
    assert [task.step for task in tasks_of(run)] == ["AI-Screen"]
    assert (receipt.state, used.run, used.digest) == ("spent", run, receipt.digest)
    entry = Entry.objects.get(action=actions.RUN_STARTED)
    assert (entry.actor_name, entry.content["actor"]["acting_for"]) == ("liaison", "validator")
    with pytest.raises(AlreadyDecided):
        decide(request, liaison)
    assert Run.objects.count() == 1


def test_a_rejection_starts_nothing(validator, liaison):
    published(PERMIT)
    decide(proposed(validator, playbook="protest_permit"), liaison, "FAIL")

    assert not Run.objects.exists()
    assert not Receipt.objects.exists()


def test_an_approved_call_is_a_run_of_one_step_with_effect_and_log(validator, liaison):
    receipt = approved(validator, liaison, call="tests.pay", input=PAYMENT)
    run = Run.objects.get()
    work()

    assert run.version.playbook.slug == "call.tests.pay"
    (call,) = asked.calls
    assert call.arguments == PAYMENT
    (task,) = tasks_of(run)
    assert (task.state, task.output) == ("completed", {"paid": "82000.00"})
    assert reloaded(run).state == "completed"
    assert Effect.objects.get().action == "tests.pay"
    assert state_of(receipt) == "spent"


def test_every_approval_of_one_call_runs_on_one_version(validator, liaison):
    for amount in ("1.00", "2.00"):
        approved(validator, liaison, call="tests.pay", input={**PAYMENT, "amount": amount})
    work()

    assert Version.objects.filter(playbook__slug="call.tests.pay").count() == 1
    assert sorted(call.arguments["amount"] for call in asked.calls) == ["1.00", "2.00"]


def test_nobody_writes_a_playbook_under_the_products_own_ids(validator):
    author = founder()
    parsed = parse_data(steps({"id": "a", "role": "agent:x"}, id="call.tests.pay"), default_id="x")
    with pytest.raises(Invalid, match="Nobody writes"):
        create_playbook(actor=author, parsed=parsed)
    one_call.ensured("tests.pay", actor=validator)
    with pytest.raises(Invalid, match="Nobody writes"):
        add_version(actor=author, playbook="call.tests.pay", parsed=parsed)


def test_who_asked_does_not_approve_their_own_proposal(validator, liaison):
    published(PERMIT)
    liaison.user_permissions.add(Permission.objects.get(codename="start", content_type__app_label="runs"))
    liaison = type(liaison).objects.get(pk=liaison.pk)
    request = proposed(liaison, playbook="protest_permit")

    with pytest.raises(Forbidden):
        decide(request, liaison)
    assert not Run.objects.exists()


# Drift ------------------------------------------------------------------------------------------------------


def refused_for(request, liaison, word):
    with pytest.raises(ProposalVoid, match=word):
        decide(request, liaison)
    assert reloaded(request).state == "pending"
    assert not Run.objects.exists()
    assert not Receipt.objects.exists()
    decide(request, liaison, "FAIL")


def test_a_version_that_was_retired_since_is_not_started(validator, liaison):
    version = published(PERMIT)
    request = proposed(validator, playbook="protest_permit")
    retire_version(actor=founder(), playbook="protest_permit", number=version.number)

    refused_for(request, liaison, "is retired")


def test_a_connector_that_was_changed_since_is_not_called(validator, liaison, settings, administrator):
    settings.CONNECTOR_HOSTS = frozenset({("licences.example.gov", None)})
    terms = Terms(url="https://licences.example.gov/pay")
    connector = create_connector(actor=administrator, name="licences.pay", terms=terms)
    request = proposed(validator, call="licences.pay", input=PAYMENT)
    change_connector(
        actor=administrator, connector_id=connector.pk, terms=Terms(url="https://licences.example.gov/other")
    )

    refused_for(request, liaison, "was changed since")


def test_who_may_start_nothing_any_more_starts_nothing_by_an_approval(validator, liaison):
    published(PERMIT)
    request = proposed(validator, playbook="protest_permit")
    validator.user_permissions.clear()

    refused_for(request, liaison, "may start nothing any more")


def test_a_deactivated_agents_proposal_is_void(validator, liaison):
    published(PERMIT)
    request = proposed(validator, playbook="protest_permit")
    type(validator).objects.filter(pk=validator.pk).update(is_active=False)

    refused_for(request, liaison, "not active")


# The worker looks again ---------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_worker_makes_no_call_that_differs_from_what_was_approved(validator, liaison):
    approved(validator, liaison, call="tests.pay", input=PAYMENT)
    run = Run.objects.get()
    forge(Run.objects.all(), payload={**PAYMENT, "amount": "820000.00"})
    work()

    assert asked.calls == []
    (task,) = tasks_of(run)
    assert (task.state, task.error_type) == ("failed", "NotApproved")
    assert Entry.objects.filter(action=actions.RECEIPT_SPEND_DENIED, code="action_mismatch").count() == 1
    assert ReceiptAlert.objects.get().recipient == liaison


def test_the_worker_makes_no_call_on_a_receipt_that_started_another_run(validator, liaison):
    receipt = approved(validator, liaison, call="tests.pay", input=PAYMENT)
    from runs.services import start_run

    run = start_run(actor=founder(), playbook="call.tests.pay", payload=PAYMENT, labels={"receipt": receipt.pk})
    (task,) = tasks_of(run)
    jobs.perform("task", task.pk)

    assert asked.calls == []
    assert reloaded(task).error_type == "NotApproved"


def test_a_connector_that_was_changed_after_the_start_is_not_called(validator, liaison, settings, administrator):
    settings.CONNECTOR_HOSTS = frozenset({("licences.example.gov", None)})
    connector = create_connector(
        actor=administrator, name="licences.pay", terms=Terms(url="https://licences.example.gov/pay")
    )
    approved(validator, liaison, call="licences.pay", input=PAYMENT)
    change_connector(
        actor=administrator, connector_id=connector.pk, terms=Terms(url="https://licences.example.gov/other")
    )
    work()

    (task,) = tasks_of(Run.objects.get())
    assert task.error_type == "NotApproved"


# Edits ------------------------------------------------------------------------------------------------------


def test_proposed_approved_and_effective_are_three_records(validator, liaison):
    from approvals.revising import revise_request

    request = proposed(validator, call="tests.pay", input=PAYMENT)
    first = receipts.approved_action(request)
    revise_request(request_id=request.pk, actor=validator, changes={"input": {**PAYMENT, "amount": "41.00"}})
    decide(ActionRequest.objects.get(pk=request.pk), liaison)
    work()

    receipt, used = Receipt.objects.get(), Spending.objects.get()
    assert receipt.proposed_digest != receipt.digest == used.digest
    assert first["input"]["amount"] == "82000.00"
    assert [call.arguments["amount"] for call in asked.calls] == ["41.00"]


def test_an_edit_of_the_payload_is_checked_like_the_first_asking(validator):
    from approvals.revising import revise_request

    published({**steps({"id": "a", "role": "agent:validator"}, id="form"), "payload_schema": FORM})
    request = proposed(validator, playbook="form", payload={"form_id": 1})

    with pytest.raises(Invalid, match="does not fit"):
        revise_request(request_id=request.pk, actor=validator, changes={"payload": {"form_id": "x"}})
    assert reloaded(request).revision == 1


def test_who_edited_the_proposal_does_not_approve_it(validator, liaison):
    published(PERMIT)
    editor = person("editor", "human:police_liaison")
    from approvals.revising import revise_request

    request = proposed(validator, playbook="protest_permit", policy={"edits": {"allowed": True}})
    revise_request(request_id=request.pk, actor=editor, changes={"payload": {"form_id": 9}})
    with pytest.raises(Forbidden):
        decide(request, editor)
    decide(request, liaison)
    assert Run.objects.get().payload == {"form_id": 9}
    assert proposals.payload_of(Receipt.objects.get().action) == {"form_id": 9}
