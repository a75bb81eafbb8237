# SPDX-License-Identifier: Apache-2.0
"""Every list, in the admin and in the API, makes as many statements for many rows as for few."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest
from django.contrib import admin
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import ApiKey, User
from accounts.services import create_key
from approvals import talk
from approvals.asking import create_request
from approvals.delegating import delegate_for_a_time
from approvals.external_services import Terms as SystemTerms
from approvals.external_services import create_system
from approvals.message_services import set_preferences
from approvals.models import (
    ActionRequest,
    AgentLimit,
    Attachment,
    Calendar,
    Comment,
    Delegation,
    ExternalNotice,
    ExternalSystem,
    Notification,
    Policy,
    PolicyVersion,
    Preference,
    Receipt,
    RequestTemplate,
    StandingRule,
)
from approvals.policies import create_policy
from approvals.routing import Wishes
from approvals.services import decide
from approvals.standing import Proposal, propose_rule
from approvals.template_services import set_limit
from audit.models import Entry
from config import clock
from playbooks.connector_services import Terms, create_connector
from playbooks.models import Connector, Playbook, RuleSet, RuleSetVersion, Version
from playbooks.rule_services import About, create_rule_set
from playbooks.rules import Rule
from runs.jobs import perform_task
from runs.models import Effect, Run, Task
from tests.config.everything import PAYS
from tests.factories import PERMIT, started, user, waiting_for_a_person

pytestmark = [pytest.mark.django_db, pytest.mark.once]  # it is about pages

MORE = 4
ROLE = "human:police_liaison"
GROWING = (
    Run,
    Task,
    Effect,
    ActionRequest,
    Notification,
    Policy,
    PolicyVersion,
    StandingRule,
    Entry,
    Playbook,
    Version,
    RuleSet,
    RuleSetVersion,
    Connector,
    User,
    ApiKey,
    Delegation,
    Receipt,
    AgentLimit,
    Calendar,
    RequestTemplate,
    ExternalSystem,
    ExternalNotice,
    Preference,
    Comment,
    Attachment,
)
API_LISTS = (
    "/acts/runs",
    "/acts/tasks",
    "/hitl/requests",
    "/hitl/templates",
    "/hitl/requests/{id}/comment",
    "/hitl/requests/{id}/attachments",
    "/hitl/requests?status=fulfilled&order=created_at",
    "/acts/playbooks",
    "/acts/rulesets",
)
TALKED = "Talked about at length"  # the request with comments and attachments


@pytest.fixture
def more_of_everything(everything: None, validator: User, administrator: User) -> Callable[[], None]:
    def make() -> None:
        for number in range(MORE):
            waiting_for_a_person(validator, {**PERMIT, "id": f"permit-{number}"})
            waiting_for_a_person(validator)  # which makes another version of its playbook
            paid = started({**PAYS, "id": f"pays-{number}"})
            perform_task(Task.objects.get(run=paid).pk)
            terms = Terms(url=f"https://bank.example.org/{number}")
            create_connector(actor=administrator, name=f"tests.bank{number}", terms=terms)
            rules = [Rule("a", "payload.x", "FAIL", "No.")]
            about = About(f"Rules {number}", "ethics")
            create_rule_set(actor=administrator, slug=f"ours-{number}", about=about, rules=rules)
            create_policy(actor=administrator, slug=f"plans-{number}", title="Plans", document="{}")
            until = clock.now() + timedelta(days=9)
            terms_ = Proposal(title="Small", reason="alike", role="human:none", valid_until=until, max_uses=2)
            propose_rule(actor=administrator, proposal=terms_)
            member = user(f"agent{number}", "agent", f"agent:role{number}")
            user(f"person{number}", "human", "human:police_liaison")
            create_key(user_id=member.pk, actor=administrator, name="another")
            more_about_people(number, asker=member, administrator=administrator)

    talk_about(create_request(actor=validator, title=TALKED, role=ROLE), validator, "first")
    return make


def more_about_people(number: int, *, asker: User, administrator: User) -> None:
    at = clock.now()
    giver, delegate = user(f"giver{number}", "human", ROLE), user(f"delegate{number}", "human")
    delegate_for_a_time(
        actor=administrator, giver=giver.username, to=delegate.username, starts_at=at, ends_at=at + timedelta(days=7)
    )
    asked = create_request(actor=asker, title=f"Question {number}", role=ROLE)
    decide(request_id=asked.pk, actor=delegate, outcome="PASS", reason="fine")
    talk_about(ActionRequest.objects.get(title=TALKED), giver, f"word {number}")
    set_limit(actor=administrator, user_id=asker.pk, open_requests=number + 1, per_hour=None, reason="as it was")
    set_preferences(actor=giver, wishes=Wishes(zone="Europe/Berlin"))
    ordinary = Calendar.objects.earliest("pk")
    ordinary.pk, ordinary.slug = None, f"calendar-{number}"
    ordinary.save(force_insert=True)
    template = RequestTemplate.objects.earliest("pk")
    template.pk, template.name = None, f"template_{number}"
    template.save(force_insert=True)
    terms = SystemTerms("env:CLEARANCE_SECRET", "https://bank.example.org/t")
    system = create_system(actor=administrator, name=f"clearance{number}", terms=terms)
    ExternalNotice.objects.create(system=system, request=asked, purpose="asked", told_at=at, due_at=at)


def talk_about(request: ActionRequest, who: User, text: str) -> None:
    talk.comment(request_id=request.pk, actor=who, text=text)
    talk.attach(request_id=request.pk, actor=who, name=f"{text}.txt", content=text.encode())


def test_in_the_admin(more_of_everything, superuser, client_for):
    client = client_for(superuser)
    lists = [reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") for model in registered()]

    def opened(path: str) -> None:
        assert client.get(path).status_code == 200, path

    assert_none_grows(lists, opened, more_of_everything)


def test_in_the_api(more_of_everything, superuser, api_for):
    api, talked = api_for(superuser), ActionRequest.objects.get(title=TALKED)

    def opened(path: str) -> None:
        assert api.get(path.replace("{id}", talked.pk)).status_code == 200, path

    assert_none_grows(API_LISTS, opened, more_of_everything)


def assert_none_grows(paths: Iterable[str], opened: Callable[[str], None], make_more: Callable[[], None]) -> None:
    for path in paths:
        opened(path)  # what a process reads once
    few, rows = {path: statements(opened, path) for path in paths}, {model: model.objects.count() for model in GROWING}
    make_more()

    assert all(model.objects.count() >= rows[model] + MORE for model in GROWING)
    assert {path: statements(opened, path) for path in paths} == few


def statements(opened: Callable[[str], None], path: str) -> int:
    with CaptureQueriesContext(connection) as sent:
        opened(path)
    return len(sent)


def registered() -> list[type[models.Model]]:
    return list(admin.site._registry)
