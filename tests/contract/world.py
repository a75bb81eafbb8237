# SPDX-License-Identifier: Apache-2.0
"""A small installation in which something of everything is there, and everybody who may come to it.

Made for the permission matrix: each object is in a state in which the acts on it could succeed, so that whoever is
refused is refused for who they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from accounts import seeds
from accounts.models import ApiKey, User
from accounts.services import revoke_key
from approvals import links, policies
from approvals.asking import create_request
from approvals.claiming import claim_request
from approvals.delegating import delegate_for_a_time
from approvals.external_services import disable_system, link_person
from approvals.message_services import set_preferences
from approvals.models import (
    ActionRequest,
    Attachment,
    ChannelPost,
    Delegation,
    ExternalNotice,
    ExternalSystem,
    Notification,
    PolicyVersion,
    SlackChannel,
    StandingRule,
)
from approvals.revising import request_info
from approvals.routing import Wishes
from approvals.services import decide
from approvals.standing import Proposal, propose_rule
from approvals.talk import attach
from approvals.tallying import tally_closed
from approvals.template_services import set_limit
from audit.services import SYSTEM
from config import clock, health
from playbooks import rule_services
from playbooks import services as playbooks
from playbooks.connector_services import Terms, create_connector, disable_connector
from playbooks.models import Connector, RuleSetVersion, Version
from playbooks.rules import Rule
from runs import asking
from runs import services as runs
from runs.jobs import perform_task
from runs.leases import Lease
from runs.management.commands.worker import _seed_housekeeping
from runs.models import Run, Task, WorkerHost
from tests.approvals.outside import SIGNING
from tests.factories import PERMIT, claimed, founder, published, started, steps
from tests.people import BACKEND, agent, key_of, person, service

CANARY = "canary-7d1f"  # stands in all case data; whoever may not see a run never reads it
FILE = f"notes of {CANARY}".encode()
CONNECTOR_HOST = "bank.example.org"
LIAISON_ROLE = "human:police_liaison"
PERMIT_WITH_FORM = {
    **PERMIT,
    "web_form": {"public": True, "title": "Apply"},
    "payload_schema": {"type": "object", "properties": {"name": {"type": "string"}}},
}
LOOKS = steps({"id": "look", "role": "agent:lookout"}, id="looks")
PAID = steps({"id": "payment", "type": "wait", "signal": "paid"}, {"id": "thank", "role": LIAISON_ROLE}, id="is_paid")
STUCK = steps({"id": "weigh", "role": "agent:validator", "on_exhausted": "INCIDENT"}, id="weighs")
PAYS = steps({"id": "pay", "role": "svc:finance", "call": "tests.charge"}, id="pays")

# Who comes ------------------------------------------------------------------------------------------------

PEOPLE = ("liaison", "staff", "author", "administrator", "auditor", "superuser")
PROGRAMS = ("agent", "foreign_agent", "service")
SHUT_OUT = ("anonymous", "disabled_session", "disabled_key", "expired_key", "revoked_key")
EVERYBODY = (*SHUT_OUT, *PROGRAMS, *PEOPLE)
BLIND = (*SHUT_OUT, "foreign_agent", "staff", "author")  # may see no run of this world


@dataclass(frozen=True)
class World:
    clients: Mapping[str, Client]  # of each of EVERYBODY
    users: Mapping[str, User]
    held: Lease  # a task in the agent's hands
    approved: Lease  # the agent asked in mid-task, and it is approved
    asked: ActionRequest  # of a human step, open
    claimed: ActionRequest  # of a human step, in the liaison's hands
    decided: ActionRequest  # of a human step, approved: its run waits for an API client of svc:finance
    secret: ActionRequest  # asked by the agent outside any run, answered by the liaison: its secret waits to be fetched
    attached: Attachment  # to `asked`, by the agent
    elsewhere: ActionRequest  # of a human step, in the hands of a colleague of the liaison's
    timed: ActionRequest  # of the agent, outside any run, with a deadline
    delegation: Delegation  # of the liaison's right, to the colleague
    wondered: ActionRequest  # of the agent, outside any run: the liaison has asked something back
    permitted: ActionRequest  # of the agent, for a call of its own: approved, and not used yet
    held_back: ActionRequest  # the same, approved but held
    incident: Task  # waits for an operator
    signalled: Run  # waits for a signal
    connector: Connector
    disabled_connector: Connector
    key: ApiKey  # the agent's
    system: ExternalSystem  # an approval system, in which the liaison is 4711
    disabled_system: ExternalSystem
    given_up: Notification  # a message that was not delivered
    given_up_outside: ExternalNotice
    channel: SlackChannel  # of the liaison's role
    given_up_post: ChannelPost
    answer_link: str  # a link to a question that may be answered by it

    @property
    def run(self) -> Run:
        """Under way, with a task in hand."""
        return self.held.task.run

    @property
    def published(self) -> Version:
        return self.run.version

    @property
    def draft(self) -> Version:
        return Version.objects.get(playbook=self.published.playbook_id, number=2)

    @property
    def rules(self) -> RuleSetVersion:
        """Published; the next version is a draft."""
        return RuleSetVersion.objects.get(rule_set__slug="fair", number=1)

    @property
    def draft_rules(self) -> RuleSetVersion:
        return RuleSetVersion.objects.get(rule_set__slug="fair", number=2)

    @property
    def policy(self) -> PolicyVersion:
        """Published; the next version is a draft."""
        return PolicyVersion.objects.get(policy__slug="plans", number=1)

    @property
    def draft_policy(self) -> PolicyVersion:
        return PolicyVersion.objects.get(policy__slug="plans", number=2)

    @property
    def standing_rule(self) -> StandingRule:
        return StandingRule.objects.get()

    @property
    def worker(self) -> WorkerHost:
        return WorkerHost.objects.get()

    def user(self, name: str) -> User:
        return self.users[name]


def surroundings(patch: pytest.MonkeyPatch, marks: Path) -> None:
    """What this world takes for granted: a host that may be called, what systems are signed with, that nobody minds
    what is due, for there is no worker in it, and that no lease ends while it is looked at."""
    patch.setattr(health, "PROGRESS_SECONDS", 24 * 3600)
    patch.setattr(settings, "AGENT_LEASE_SECONDS", 24 * 3600)
    patch.setenv("CLEARANCE_SECRET", SIGNING)
    patch.setenv("HMS_ACT_TEST_MARKS", str(marks))
    patch.setattr(settings, "CONNECTOR_SECRETS", frozenset({"env:CLEARANCE_SECRET"}))
    patch.setattr(settings, "CONNECTOR_HOSTS", frozenset({(CONNECTOR_HOST, None)}))


def build() -> World:
    users = _users()
    published(PERMIT_WITH_FORM)
    published(LOOKS)
    incident = _incident(users["agent"])
    approved = _approved_in_mid_task(users["agent"], users["liaison"])
    decided, asked, claimed_, elsewhere = [_asked(users["agent"]) for _ in range(4)]
    decide(request_id=decided.pk, actor=users["liaison"], outcome="PASS", reason=f"sound, {CANARY}")
    claim_request(request_id=claimed_.pk, actor=users["liaison"])
    claim_request(request_id=elsewhere.pk, actor=users["colleague"])
    timed = create_request(
        actor=users["agent"], role=LIAISON_ROLE, title="Soon?", policy={"time": {"expires": "4h", "due": "2h"}}
    )
    _paid()
    _seed_housekeeping()
    WorkerHost.objects.create(name="host:1", started_at=clock.now(), beat_at=clock.now())
    _rules()
    _policies(users)
    connectors = [_connector(name) for name in ("tests.bank", "tests.post")]
    disable_connector(actor=founder(), connector_id=connectors[1].pk, reason="moved")
    wondered = create_request(
        actor=users["agent"], role=LIAISON_ROLE, title=f"May I? {CANARY}", context={"why": CANARY}
    )
    request_info(request_id=wondered.pk, actor=users["liaison"], question=f"Why? {CANARY}")
    set_limit(actor=founder(), user_id=users["agent"].pk, open_requests=400, per_hour=None, reason="trusted")
    tally_closed(clock.now())
    permitted, held_back = (_permitted(users["agent"], users["liaison"], hold) for hold in (0, "1h"))
    key, _ = key_of(users["agent"], name="another")
    for _ in range(2):  # one to be held, one to be claimed
        started(PERMIT_WITH_FORM, payload={"name": CANARY})
    playbooks.clone_version(actor=founder(), playbook="protest_permit", number=1)
    return World(
        clients=_clients(users),
        users=users,
        held=claimed(users["agent"]),
        approved=approved,
        asked=asked,
        claimed=claimed_,
        decided=decided,
        secret=_secret(users["agent"], users["liaison"]),
        attached=attach(request_id=asked.pk, actor=users["agent"], name=f"{CANARY}.txt", content=FILE)[0],
        elsewhere=elsewhere,
        timed=timed,
        delegation=_delegation(users["liaison"], users["colleague"]),
        wondered=wondered,
        permitted=permitted,
        held_back=held_back,
        incident=incident,
        signalled=started(PAID, payload={"name": CANARY}),
        connector=connectors[0],
        disabled_connector=connectors[1],
        key=key,
        **_outside(users),
    )


# People and programs --------------------------------------------------------------------------------------


def _users() -> dict[str, User]:
    return {
        "agent": agent("agent", "agent:validator"),
        "foreign_agent": agent("foreign_agent", "agent:elsewhere"),
        "service": service("till", "svc:finance"),
        "liaison": person("liaison", seeds.STAFF, LIAISON_ROLE),
        "colleague": person("colleague", LIAISON_ROLE),
        "staff": person("staff_member", seeds.STAFF),
        "author": person("author", seeds.AUTHOR),
        "administrator": person("administrator", seeds.ADMINISTRATOR),
        "auditor": person("auditor", seeds.AUDITOR),
        "superuser": person("root", is_superuser=True),
        "disabled": person("disabled", seeds.ADMINISTRATOR, LIAISON_ROLE),
    }


def _clients(users: Mapping[str, User]) -> dict[str, Client]:
    """People come by session, programs by key; those who are shut out come with what once let them in."""
    clients = {name: _by_session(users[name]) for name in PEOPLE}
    clients |= {name: _by_key(users[name]) for name in PROGRAMS}
    clients["anonymous"] = Client(raise_request_exception=False)
    clients["expired_key"] = _by_key(users["agent"], lifetime=timedelta(seconds=-1))
    clients["revoked_key"], revoked = _with_key(users["agent"])
    revoke_key(token_key=revoked.token_key, actor=SYSTEM, reason="lost")
    clients["disabled_session"], clients["disabled_key"] = _by_session(users["disabled"]), _by_key(users["disabled"])
    User.objects.filter(pk=users["disabled"].pk).update(is_active=False)
    return clients


def _by_session(user: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(user, backend=BACKEND)
    return client


def _by_key(user: User, lifetime: timedelta = timedelta(days=1)) -> Client:
    return _with_key(user, lifetime)[0]


def _with_key(user: User, lifetime: timedelta = timedelta(days=1)) -> tuple[Client, ApiKey]:
    key, token = key_of(user, lifetime=lifetime)
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {token}"}), key


def _delegation(giver: User, to: User) -> Delegation:
    """To come, so that it changes nothing here."""
    starts_at = clock.now() + timedelta(days=30)
    return delegate_for_a_time(
        actor=giver,
        giver=giver.username,
        to=to.username,
        starts_at=starts_at,
        ends_at=starts_at + timedelta(days=1),
        reason=CANARY,
    )


# Who is told ----------------------------------------------------------------------------------------------


def _outside(users: Mapping[str, User]) -> dict[str, Any]:
    """Systems, messages that were given up, and a link: of a question that holds nothing of a run."""
    systems = [
        ExternalSystem.objects.create(
            name=name, secret_ref="env:CLEARANCE_SECRET", created_at=clock.now(), changed_at=clock.now()
        )
        for name in ("clearance", "archive")
    ]
    disable_system(actor=founder(), system_id=systems[1].pk, reason="moved")
    link_person(actor=founder(), system_id=systems[0].pk, outside_id="4711", username="liaison")
    set_preferences(actor=users["liaison"], wishes=Wishes(zone="Europe/Berlin"))
    low = create_request(
        actor=users["agent"], role=LIAISON_ROLE, title="Water the plants?", severity="low",
        policy={"assurance": {"low": "link"}},
    )  # fmt: skip
    told = Notification.objects.get(request=low, recipient=users["liaison"])
    given_up = Notification.objects.exclude(request=low).filter(recipient=users["liaison"]).earliest("id")
    Notification.objects.filter(pk=given_up.pk).update(state="failed", error="nobody listens there")
    at = clock.now()
    outside = ExternalNotice.objects.create(
        system=systems[0], request=low, purpose="asked", told_at=at, due_at=at, state="failed", error="no answer"
    )
    channel = SlackChannel.objects.create(role=LIAISON_ROLE, channel="C024BE7LR", set_at=at, set_by=founder())
    post = ChannelPost.objects.create(
        channel=channel, request=low, purpose="asked", told_at=at, due_at=at, state="failed", error="not in channel"
    )
    return {
        "channel": channel,
        "given_up_post": post,
        "system": systems[0],
        "disabled_system": ExternalSystem.objects.get(pk=systems[1].pk),
        "given_up": given_up,
        "given_up_outside": outside,
        "answer_link": links.address_for(told).removeprefix(settings.SITE_ROOT),
    }


# What has happened ----------------------------------------------------------------------------------------


def _secret(by: User, giver: User) -> ActionRequest:
    """A question outside any run whose answer is a secret."""
    asked = create_request(actor=by, role=LIAISON_ROLE, title=f"The key {CANARY}", request_type="api_key")
    return decide(request_id=asked.pk, actor=giver, outcome="PASS", response_data={"api_key": f"sk_{CANARY}"})


def _asked(by: User) -> ActionRequest:
    """The open request of a run whose first step has passed."""
    run = started(PERMIT_WITH_FORM, payload={"name": CANARY})
    lease = claimed(by)
    assert lease.task.run_id == run.pk
    output = {"risk": "low", "because": CANARY}
    runs.complete_task(task_id=lease.task.pk, actor=by, token=lease.token, outcome="PASS", output=output, note=CANARY)
    return ActionRequest.objects.get(run=run)


def _approved_in_mid_task(asker: User, deciding: User) -> Lease:
    started(PERMIT_WITH_FORM, payload={"name": CANARY})
    lease = claimed(asker)
    request_id, _ = asking.request_approval(
        task_id=lease.task.pk, token=lease.token, actor=asker, reason=f"Shall I? {CANARY}", role=LIAISON_ROLE
    )
    decide(request_id=request_id, actor=deciding, outcome="PASS")
    return lease


def _permitted(asker: User, deciding: User, hold: int | str) -> ActionRequest:
    made = create_request(
        actor=asker,
        role=LIAISON_ROLE,
        title=f"Pay {CANARY}",
        policy={"hold": hold},
        proposal={"call": "treasury.pay", "input": {"to": CANARY}, "executor": "caller"},
    )
    decide(request_id=made.pk, actor=deciding, outcome="PASS")
    return made


def _incident(by: User) -> Task:
    started(STUCK, payload={"name": CANARY})
    lease = claimed(by)
    runs.fail_task(
        task_id=lease.task.pk, actor=by, token=lease.token, error_type="Broken", message=CANARY, retryable=False
    )
    return Task.objects.get(pk=lease.task.pk)


def _paid() -> None:
    """A service step that our worker has done: there is an effect."""
    run = started(PAYS, payload={"name": CANARY})
    perform_task(Task.objects.get(run=run).pk)


def _rules() -> None:
    """A rule set with published rules and a draft."""
    by, about = founder(), rule_services.About("Fair counting", "ethics")
    rule_services.create_rule_set(actor=by, slug="fair", about=about, rules=[Rule("a", "payload.x", "FAIL", "No.")])
    rule_services.publish_rules(actor=by, slug="fair", number=1)
    rule_services.add_rules(actor=by, slug="fair", rules=[Rule("b", "payload.x", "FAIL", "No.")])


def _policies(users: Mapping[str, User]) -> None:
    """A policy with a published version and a draft; a standing rule that waits for a second person."""
    by = users["administrator"]
    policies.create_policy(actor=by, slug="plans", title="Plans", document="required_approvals: 2")
    policies.publish_version(actor=by, slug="plans", number=1)
    policies.add_version(actor=by, slug="plans", document="required_approvals: 3")
    until = clock.now() + timedelta(days=9)
    terms = Proposal(title="Small", reason="all alike", role="human:none", valid_until=until, max_uses=2)
    propose_rule(actor=founder(), proposal=terms)


def _connector(name: str) -> Connector:
    return create_connector(actor=founder(), name=name, terms=Terms(url=f"https://{CONNECTOR_HOST}/pay"))
