# SPDX-License-Identifier: Apache-2.0
"""Templates fill in what is left out; limits hold back whoever asks too much; one question is asked once."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from approvals import template_services as services
from approvals.asking import create_request
from approvals.models import ActionRequest, AgentLimit, Notification, RequestTemplate, RequestType
from approvals.services import decide
from approvals.template_services import Terms
from approvals.templating import shared_context
from audit.models import Entry
from config.errors import Forbidden, Invalid, RateLimited
from runs.models import Priority
from tests.contract.answers import json_of, paths_of, problem
from tests.factories import later, reloaded, waiting_for_a_person
from tests.people import agent
from tests.races import at_once, winners

pytestmark = pytest.mark.django_db

ROLE = "human:police_liaison"
REQUESTS = "/hitl/requests"
EXPENSE = Terms(
    title="Expense",
    request_type="payment_authorization",
    title_pattern="Pay {amount} {currency} to {payee}",
    description_pattern="For {payee}.",
    required_fields={"cost_centre": "Which cost centre pays?"},
    role=ROLE,
    priority=Priority.HIGH,
    severity="low",
    reasons={"not_ours": "The invoice is not ours.", "too_dear": "It is too dear."},
    shared_fields=["amount"],
    is_reversible=True,
)
CONTEXT = {"amount": 40, "currency": "USD", "payee": "the registry"}


@pytest.fixture
def expense(administrator: Any) -> RequestTemplate:
    return services.create_template(actor=administrator, name="expense", terms=EXPENSE)


def asked(by: Any, title: str = "May I?", **more: Any) -> ActionRequest:
    return create_request(actor=by, title=title, role=ROLE, **more)


# Templates ------------------------------------------------------------------------------------------------


def test_the_seven_types_are_there_from_the_beginning():
    assert set(RequestTemplate.objects.values_list("name", flat=True)) == set(RequestType.values)


def test_a_template_fills_what_is_left_out(api_for, validator, expense):
    told = json_of(api_for(validator).post(REQUESTS, {"template": "expense", "context": CONTEXT}), 201)

    assert (told["title"], told["description"]) == ("Pay 40 USD to the registry", "For the registry.")
    assert (told["request_type"], told["role"]) == ("payment_authorization", ROLE)
    assert (told["priority"], told["severity"], told["template"]) == ("high", "low", "expense")
    assert told["required_fields"] == {"cost_centre": "Which cost centre pays?"}


def test_what_is_sent_goes_before_the_template(api_for, validator, expense):
    sent = {"template": "expense", "title": "Pay", "description": "", "priority": "low", "required_fields": {}}
    told = json_of(api_for(validator).post(REQUESTS, {**sent, "severity": "high"}), 201)

    assert (told["title"], told["description"], told["priority"], told["severity"]) == ("Pay", "", "low", "high")
    assert told["required_fields"] == {}


def test_a_pattern_that_names_what_the_context_lacks_says_so(api_for, validator, expense):
    answer = api_for(validator).post(REQUESTS, {"template": "expense", "context": {"amount": 40}})

    assert paths_of(problem(answer, 422, "invalid")) == ["context.currency"]


def test_the_template_of_a_type_is_used_for_its_requests(administrator, validator):
    terms = Terms(title="Contract", request_type="legal_document", role=ROLE, severity="high")
    services.change_template(actor=administrator, name="legal_document", terms=terms)

    request = create_request(actor=validator, title="Sign", request_type="legal_document")

    assert (request.role, request.severity) == (ROLE, "high")
    assert request.asked["template"]["revision"] == 2


def test_a_request_keeps_what_it_was_made_with(administrator, validator, expense):
    request = create_request(actor=validator, template="expense", context=CONTEXT)
    before = reloaded(request)
    services.change_template(actor=administrator, name="expense", terms=Terms(title="Other", is_active=False))

    after = reloaded(request)
    assert (after.title, after.policy, after.asked, after.digest) == (
        before.title, before.policy, before.asked, before.digest,
    )  # fmt: skip
    assert after.asked["template"] == {
        "name": "expense", "revision": 1, "reversible": True, "shared_fields": ["amount"],
    }  # fmt: skip
    with pytest.raises(Invalid):
        create_request(actor=validator, template="expense", context=CONTEXT)


def test_the_reasons_of_a_template_are_the_only_ones_to_reject_with(validator, liaison, expense):
    request = create_request(actor=validator, template="expense", context=CONTEXT)

    with pytest.raises(Invalid):
        decide(request_id=request.pk, actor=liaison, outcome="FAIL", reason="no")
    decide(request_id=request.pk, actor=liaison, outcome="FAIL", reason="no", reason_code="too_dear")

    assert reloaded(request).reason_code == "too_dear"


def test_messages_may_show_what_the_template_lists_and_nothing_else(validator, expense):
    request = create_request(actor=validator, template="expense", context=CONTEXT)

    assert shared_context(request.asked) == {"amount": 40}
    assert shared_context(asked(validator).asked) == {}


def test_agents_find_the_templates_in_use(api_for, administrator, validator, expense):
    names = {each["name"] for each in json_of(api_for(validator).get("/hitl/templates"))["results"]}
    assert names == {*RequestType.values, "expense"}
    services.change_template(actor=administrator, name="expense", terms=Terms(title="Expense", is_active=False))

    names = {each["name"] for each in json_of(api_for(validator).get("/hitl/templates"))["results"]}
    assert names == set(RequestType.values)


@pytest.mark.parametrize(
    ("terms", "path"),
    [
        ({"title": " "}, "title"),
        ({"title": "x", "role": "agent:x"}, "role"),
        ({"title": "x", "policy": "nowhere"}, "policy"),
        ({"title": "x", "title_pattern": "Pay {amount"}, "title_pattern"),
        ({"title": "x", "required_fields": {"a": " "}}, "required_fields.a"),
        ({"title": "x", "reasons": {"a b": "c"}}, "reasons.a b"),
        ({"title": "x", "shared_fields": ["a b"]}, "shared_fields"),
        ({"title": "x", "severity": "dire"}, "severity"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(administrator, terms, path):
    with pytest.raises(Invalid) as refused:
        services.create_template(actor=administrator, name="odd", terms=Terms(**terms))

    assert [each.path for each in refused.value.errors] == [path]


def test_only_administrators_change_templates_and_the_log_tells(administrator, liaison, expense):
    with pytest.raises(Forbidden):
        services.change_template(actor=liaison, name="expense", terms=EXPENSE)
    services.change_template(actor=administrator, name="expense", terms=EXPENSE)  # says the same
    services.change_template(actor=administrator, name="expense", terms=Terms(title="Expenses"))

    entries = Entry.objects.filter(subject_type="template").order_by("id")
    assert [each.action for each in entries] == ["template.created", "template.changed"]
    assert Entry.objects.filter(action="template.change_denied").count() == 1


def test_a_template_keeps_its_name_and_is_never_deleted(expense):
    with pytest.raises(IntegrityError), transaction.atomic():
        RequestTemplate.objects.filter(pk=expense.pk).update(name="other")
    with pytest.raises(IntegrityError), transaction.atomic():
        RequestTemplate.objects.filter(pk=expense.pk).delete()


def test_an_administrator_changes_a_template_by_its_page(administrator, client_for, expense):
    page = f"/admin/approvals/requesttemplate/{expense.pk}/terms/"
    browser = client_for(administrator)
    assert "Pay {amount} {currency}" in browser.get(page).content.decode()
    typed = {"title": "Expenses", "request_type": "custom", "priority": "2", "severity": "low", "is_active": "on",
             "required_fields": "cost_centre: Which one?", "shared_fields": "amount\ncurrency"}  # fmt: skip

    assert browser.post(page, {**typed, "required_fields": "no colon"}).status_code == 422
    browser.post(page, typed)

    after = reloaded(expense)
    assert (after.title, after.required_fields) == ("Expenses", {"cost_centre": "Which one?"})
    assert (after.shared_fields, after.revision) == (["amount", "currency"], 2)


# The same question again ----------------------------------------------------------------------------------


def test_the_same_question_while_it_is_open_is_the_same_request(api_for, validator, liaison):
    api, sent = api_for(validator), {"title": "May I?", "role": ROLE, "context": {"a": 1, "b": 2}}
    first = json_of(api.post(REQUESTS, sent), 201)
    again = json_of(api.post(REQUESTS, {**sent, "context": {"b": 2, "a": 1}, "priority": "critical"}))

    assert (again["id"], again["duplicate"], first["duplicate"]) == (first["id"], True, False)
    assert Notification.objects.filter(request=first["id"]).count() == 1, "nobody is disturbed twice"
    assert [*Entry.objects.filter(request_id=first["id"]).order_by("id").values_list("action", flat=True)] == [
        "hitl.request.created",
        "hitl.request.repeated",
    ]
    decide(request_id=first["id"], actor=liaison, outcome="PASS")
    assert json_of(api.post(REQUESTS, sent), 201)["id"] != first["id"], "what is answered may be asked again"


@pytest.mark.parametrize("change", [{"title": "May we?"}, {"context": {"a": 2}}, {"workflow_id": "w"},
                                    {"severity": "high"}, {"required_fields": {"x": "y"}}])  # fmt: skip
def test_any_difference_makes_it_another_question(validator, change):
    sent = {"title": "May I?", "context": {"a": 1}}

    assert asked(validator, **sent).pk != asked(validator, **{**sent, **change}).pk


def test_two_agents_that_ask_the_same_ask_two_questions(validator):
    assert asked(validator).pk != asked(agent("another")).pk


@pytest.mark.django_db(transaction=True)
def test_the_same_question_at_once_is_one_request(validator, liaison):
    results = at_once(*[lambda: asked(validator)] * 6)

    assert len(winners(results)) == 6
    assert len({each.pk for each in results}) == 1
    assert sorted(each.is_duplicate for each in results) == [False, *[True] * 5]


def test_the_database_holds_one_open_question_of_each_kind(validator):
    first, second = asked(validator, "1"), asked(validator, "2")
    copy = ActionRequest.objects.get(pk=first.pk)
    copy.pk, copy._state.adding = "har_000000000000", True

    with pytest.raises(IntegrityError), transaction.atomic():
        copy.save(force_insert=True)
    with pytest.raises(IntegrityError), transaction.atomic():
        ActionRequest.objects.filter(pk=second.pk).update(question_digest=first.question_digest)


# Limits ---------------------------------------------------------------------------------------------------


def test_beyond_so_many_open_questions_one_waits(settings, api_for, validator, liaison):
    settings.OPEN_REQUESTS_LIMIT = 2
    first = asked(validator, "1")
    asked(validator, "2")
    api = api_for(validator)

    answer = api.post(REQUESTS, {"title": "3", "role": ROLE})
    problem(answer, 429, "rate_limited")
    assert answer.headers["Retry-After"] == "60"
    assert json_of(api.post(REQUESTS, {"title": "2", "role": ROLE}))["duplicate"], "that asks nothing more"
    decide(request_id=first.pk, actor=liaison, outcome="PASS")
    json_of(api.post(REQUESTS, {"title": "3", "role": ROLE}), 201)


def test_beyond_so_many_in_an_hour_one_waits_until_the_first_is_an_hour_old(settings, validator, liaison):
    settings.REQUESTS_PER_HOUR = 2
    for number in range(2):
        decide(request_id=asked(validator, str(number)).pk, actor=liaison, outcome="PASS")
        later(minutes=20)

    with pytest.raises(RateLimited) as refused:
        asked(validator, "3")
    seconds = int(refused.value.headers["Retry-After"])
    assert 19 * 60 <= seconds <= 20 * 60
    later(seconds=seconds)
    asked(validator, "3")


def test_an_agent_may_have_limits_of_its_own(settings, administrator, validator):
    settings.OPEN_REQUESTS_LIMIT = 1
    services.set_limit(actor=administrator, user_id=validator.pk, open_requests=0, per_hour=2, reason="trusted")
    asked(validator, "1")
    asked(validator, "2")

    with pytest.raises(RateLimited):
        asked(validator, "3")
    other = agent("another")
    asked(other, "1")
    with pytest.raises(RateLimited):
        asked(other, "2")
    services.set_limit(actor=administrator, user_id=validator.pk, open_requests=None, per_hour=None, reason="as all")
    assert AgentLimit.objects.count() == 1


def test_what_playbooks_ask_does_not_count(settings, validator):
    settings.OPEN_REQUESTS_LIMIT = settings.REQUESTS_PER_HOUR = 1
    starter = waiting_for_a_person(validator).run.started_by

    own = create_request(actor=starter, title="My own", role=ROLE)

    assert reloaded(own).state == "pending"
    with pytest.raises(RateLimited):
        create_request(actor=starter, title="And another", role=ROLE)


def test_only_who_may_sets_limits_and_gives_a_reason(administrator, auditor, validator):
    with pytest.raises(Forbidden):
        services.set_limit(actor=auditor, user_id=validator.pk, open_requests=1, per_hour=1, reason="x")
    for open_requests, reason in ((-1, "x"), (1, " "), (10**7, "x")):
        with pytest.raises(Invalid):
            services.set_limit(
                actor=administrator, user_id=validator.pk, open_requests=open_requests, per_hour=None, reason=reason
            )
    services.set_limit(actor=administrator, user_id=validator.pk, open_requests=1, per_hour=None, reason="new here")

    (entry,) = Entry.objects.filter(action="limit.changed")
    assert (entry.data["open_requests"], entry.note) == (1, "new here")
