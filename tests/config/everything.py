# SPDX-License-Identifier: Apache-2.0
"""A house in which something of every kind has happened."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings

from accounts.models import User
from accounts.services import create_key
from approvals import policies
from approvals.asking import create_request
from approvals.cancelling import cancel_request
from approvals.channel_services import set_channel
from approvals.delegating import delegate_for_a_time
from approvals.external_services import Terms as SystemTerms
from approvals.external_services import create_system, link_person
from approvals.message_services import set_preferences
from approvals.models import ActionRequest, ChannelPost, ExternalNotice, Notification
from approvals.routing import Wishes
from approvals.services import decide
from approvals.standing import Proposal, propose_rule
from approvals.tallying import tally_closed
from approvals.template_services import set_limit
from config import clock
from playbooks import services as playbooks
from playbooks.connector_services import Terms, create_connector
from playbooks.parse import parse_data
from runs import services as runs
from runs.jobs import perform_task
from runs.management.commands.worker import _seed_housekeeping
from runs.models import Task, WorkerHost
from tests.factories import claimed, founder, reloaded, started, steps, user, waiting_for_a_person

EVERYBODY = ("superuser", "administrator", "auditor", "playbook_author", "staff_member", "liaison")  # fixtures
PAYS = steps({"id": "pay", "type": "service", "role": "svc:finance", "call": "tests.charge"}, id="pays")


@pytest.fixture
def everything(
    validator: User,
    administrator: User,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    let_everything_happen(validator, administrator, monkeypatch, tmp_path_factory.mktemp("marks"))


def let_everything_happen(validator: User, administrator: User, patch: pytest.MonkeyPatch, marks: Path) -> None:
    """At least one row of every kind that has a page."""
    patch.setattr(settings, "CONNECTOR_HOSTS", frozenset({("bank.example.org", None)}))
    patch.setattr(settings, "CONNECTOR_SECRETS", frozenset({"env:CLEARANCE_SECRET"}))
    patch.setenv("HMS_ACT_TEST_MARKS", str(marks))
    request = waiting_for_a_person(validator, payload={"form_id": 123, "a_long_word": "x" * 400})
    paid = started(PAYS)
    perform_task(Task.objects.get(run=paid).pk)
    failed = started(steps({"id": "check", "role": "agent:validator", "retries": 2}, id="checks"))
    lease = claimed(validator)
    runs.fail_task(task_id=lease.task.pk, actor=validator, token=lease.token, error_type="Busy", message="later")
    stuck = started(steps({"id": "weigh", "role": "agent:validator", "on_exhausted": "INCIDENT"}, id="weighs"))
    lease = next(each for each in runs.claim_tasks(role="agent:validator", actor=validator, limit=5)
                 if each.task.run_id == stuck.pk)  # fmt: skip
    runs.fail_task(
        task_id=lease.task.pk, actor=validator, token=lease.token, error_type="Broken", message="x" * 400,
        retryable=False,
    )  # fmt: skip
    draft, _ = playbooks.add_version(
        actor=founder(),
        playbook="protest_permit",
        parsed=parse_data({"id": "protest_permit", "steps": [{"id": "look", "role": "agent:validator"}]}),
    )
    create_connector(actor=administrator, name="tests.bank", terms=Terms(url="https://bank.example.org/pay"))
    set_limit(actor=founder(), user_id=validator.pk, open_requests=5, per_hour=None, reason="x" * 300)
    cancelled = create_request(actor=validator, title="x" * 200, role="human:police_liaison")
    cancel_request(request_id=cancelled.pk, actor=validator)
    tally_closed(clock.now())
    policies.create_policy(actor=administrator, slug="plans", title="Plans", document="required_approvals: 2")
    until = clock.now() + timedelta(days=9)
    terms = Proposal(title="Small", reason="all alike", role="human:none", valid_until=until, max_uses=2)
    propose_rule(actor=administrator, proposal=terms)
    _told(administrator)
    _lent_and_permitted(administrator, validator)
    _seed_housekeeping()
    WorkerHost.objects.create(name="host:1", started_at=clock.now(), beat_at=clock.now())
    create_key(user_id=validator.pk, actor=administrator, name="the validator's")
    assert reloaded(request).is_open
    assert failed.pk
    assert draft.number == 2


def _lent_and_permitted(administrator: User, asker: User) -> None:
    """A right that is lent for a week, and the receipt of an approval."""
    clerk, substitute = user("clerk", "human", "human:clerk"), user("substitute", "human", "human:clerk")
    at = clock.now()
    delegate_for_a_time(
        actor=administrator, giver=clerk.username, to=substitute.username, starts_at=at, ends_at=at + timedelta(days=7)
    )
    permitted = create_request(actor=asker, title="May I?", role="human:clerk", workflow_id="permitted")
    decide(request_id=permitted.pk, actor=clerk, outcome="PASS")


def _told(administrator: User) -> None:
    """A person's wishes, an approval system with somebody in it, and a message of each kind."""
    set_preferences(actor=administrator, wishes=Wishes(zone="Europe/Berlin"))
    system = create_system(
        actor=administrator, name="clearance", terms=SystemTerms("env:CLEARANCE_SECRET", "https://bank.example.org/t")
    )
    link_person(actor=administrator, system_id=system.pk, outside_id="4711", username=administrator.username)
    request, at = ActionRequest.objects.earliest("created_at"), clock.now()
    Notification.objects.get_or_create(
        request=request, recipient=administrator, purpose="asked", defaults={"due_at": at, "told_at": at}
    )
    ExternalNotice.objects.create(system=system, request=request, purpose="asked", told_at=at, due_at=at)
    channel = set_channel(actor=administrator, role="human:clerk", channel="C024BE7LR")
    ChannelPost.objects.create(channel=channel, request=request, purpose="asked", told_at=at, due_at=at)
