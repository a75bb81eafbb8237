# SPDX-License-Identifier: Apache-2.0
"""Approval systems outside: they are told of requests, and their people's decisions count under every rule."""

from __future__ import annotations

import json

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from standardwebhooks.webhooks import Webhook

from accounts.models import User
from approvals import external_services, message_services, services
from approvals.external_services import Terms
from approvals.models import ExternalNotice, ExternalSystem, SeenMessage, Vote
from audit import actions
from audit.models import Entry, Result
from config.errors import Forbidden, Invalid, WrongState
from config.mail import MailState
from runs import jobs
from tests.approvals.outside import (
    CANARY,
    EXTERNAL_CALL,
    SIGNING,
    TITLE,
    connected,
    decision_of,
    question,
    sent_in,
)
from tests.factories import later, reloaded, waiting_for_a_person
from tests.people import person
from tests.playbooks.loopback import listening

pytestmark = pytest.mark.django_db

OTHER_SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="


@pytest.fixture
def office():
    with listening() as service:
        yield service


@pytest.fixture
def system(administrator, settings, monkeypatch, office):
    return connected(administrator, settings, monkeypatch, office)


@pytest.fixture
def member(administrator, system, liaison):
    """The liaison, who is 4711 in the office's system."""
    link = {"outside_id": "4711", "username": "liaison"}
    external_services.link_person(actor=administrator, system_id=system.pk, **link)
    return liaison


def denied() -> list[tuple[str, str]]:
    return list(Entry.objects.filter(result=Result.DENIED).order_by("id").values_list("action", "code"))


def refused(answer, status: int, code: str) -> bool:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.json()
    return True


# Its decisions --------------------------------------------------------------------------------------------


def test_a_decision_made_outside_is_its_persons_and_is_recorded_as_what_it_is(validator, member):
    request = waiting_for_a_person(validator)
    answer = sent_in(decision_of(request, reason="The office has cleared it."))

    assert answer.json() == {"request_id": request.pk, "status": "fulfilled", "outcome": "PASS"}
    vote = Vote.objects.get()
    assert (vote.voter, vote.channel, vote.reason) == (member, "external", "The office has cleared it.")
    entry = Entry.objects.get(action=actions.REQUEST_FULFILLED)
    assert (entry.actor_name, entry.channel) == ("liaison", "external")
    assert b'"credential":"external:clearance"' in bytes(entry.body)
    assert reloaded(request.task).state == "completed"


def test_a_rejection_made_outside_says_why(validator, member):
    request = question(validator)

    assert refused(sent_in(decision_of(request, outcome="FAIL"), message_id="msg_1"), 422, "invalid")
    sent_in(decision_of(request, outcome="FAIL", reason="No clearance."), message_id="msg_2")
    assert reloaded(request).rejection_reason == "No clearance."


def test_a_forged_decision_is_refused_and_logged(validator, member):
    request = question(validator)
    body = json.dumps(decision_of(request))
    call = {"path": EXTERNAL_CALL, "data": body, "content_type": "application/json"}
    stale = {"webhook-id": "msg_1", "webhook-signature": "v1,xx"}

    assert refused(sent_in(decision_of(request), secret=OTHER_SECRET), 403, "bad_signature")
    assert refused(Client().post(**call), 403, "stale_message")
    assert refused(Client().post(**call, headers=stale), 403, "stale_message")
    assert reloaded(request).is_open
    assert [code for _, code in denied()] == ["bad_signature", "stale_message", "stale_message"]
    assert {action for action, _ in denied()} == {actions.OUTSIDE_DENIED}
    assert not SeenMessage.objects.exists()


@pytest.mark.parametrize("signature", ["", "v1", "v1,", "v1,!!!", "v2,AAAA", "v1,é", "v1,AAAA v1,BBBB", "," * 50])
def test_a_signature_that_is_none_is_refused(validator, member, signature):
    from config import clock

    request = question(validator)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(clock.now().timestamp())),
        "webhook-signature": signature,
    }
    answer = Client().post(EXTERNAL_CALL, json.dumps(decision_of(request)), "application/json", headers=headers)

    assert refused(answer, 403, "bad_signature")


def test_a_signed_body_that_was_changed_on_its_way_is_refused(validator, member):
    from config import clock

    request, at = question(validator), clock.now()
    signed = Webhook(SIGNING).sign("msg_1", at, json.dumps(decision_of(request, outcome="FAIL")))
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signed,
    }
    answer = Client().post(EXTERNAL_CALL, json.dumps(decision_of(request)), "application/json", headers=headers)

    assert refused(answer, 403, "bad_signature")


@pytest.mark.parametrize("age", [301, 86_400, -310])
def test_a_stale_decision_is_refused_and_logged(validator, member, age):
    request = question(validator)

    assert refused(sent_in(decision_of(request), age=age), 403, "stale_message")
    assert reloaded(request).is_open
    assert denied() == [(actions.OUTSIDE_DENIED, "stale_message")]


def test_a_replayed_decision_is_refused_and_logged(validator, member):
    request = question(validator, policy={"required_approvals": 2})
    assert sent_in(decision_of(request)).status_code == 200

    assert refused(sent_in(decision_of(request)), 409, "replayed")
    assert Vote.objects.count() == 1
    assert denied() == [(actions.OUTSIDE_DENIED, "replayed")]


def test_a_refused_decision_is_not_sent_in_again_under_its_id(validator, member):
    request = question(validator)
    assert refused(sent_in(decision_of(request, user_id="nobody")), 403, "not_linked")

    assert refused(sent_in(decision_of(request)), 409, "replayed")
    assert sent_in(decision_of(request), message_id="msg_2").status_code == 200


def test_somebody_whom_nobody_here_knows_is_refused_and_logged(validator, member, administrator):
    request = question(validator)

    assert refused(sent_in(decision_of(request, user_id="liaison")), 403, "not_linked")
    (link,) = member.external_users.all()
    external_services.unlink_person(actor=administrator, link_id=link.pk, reason="has left the office")
    assert refused(sent_in(decision_of(request), message_id="msg_2"), 403, "not_linked")
    assert reloaded(request).is_open
    assert denied() == [(actions.OUTSIDE_DENIED, "not_linked")] * 2


def test_who_has_no_role_here_is_refused_and_logged(validator, member):
    request = question(validator)
    member.groups.clear()

    assert refused(sent_in(decision_of(request)), 404, "not_found")
    assert denied() == [(actions.REQUEST_DECIDE_DENIED, "not_found")]


def test_who_may_see_it_and_has_no_role_is_refused_and_logged(validator, administrator, system):
    external_services.link_person(
        actor=administrator, system_id=system.pk, outside_id="4711", username=administrator.username
    )
    request = question(validator)

    assert refused(sent_in(decision_of(request)), 403, "role_required")
    assert denied() == [(actions.REQUEST_DECIDE_DENIED, "role_required")]


def test_a_maker_is_refused_and_logged(member):
    request = question(member)

    assert refused(sent_in(decision_of(request)), 403, "forbidden")
    assert reloaded(request).is_open
    assert denied() == [(actions.REQUEST_DECIDE_DENIED, "forbidden")]


def test_who_is_not_active_any_more_is_refused(validator, member):
    request = question(validator)
    User.objects.filter(pk=member.pk).update(is_active=False)

    assert refused(sent_in(decision_of(request)), 403, "forbidden")


def test_what_was_shown_outside_and_has_changed_is_not_decided(validator, member):
    request = question(validator)

    assert refused(sent_in(decision_of(request, revision=2)), 409, "stale_revision")
    assert refused(sent_in(decision_of(request, digest="0" * 64), message_id="msg_2"), 409, "stale_revision")
    services.decide(request_id=request.pk, actor=member, outcome="PASS")
    assert refused(sent_in(decision_of(request), message_id="msg_3"), 409, "already_decided")


def test_what_needs_a_password_is_not_decided_outside(validator, member):
    request = question(validator, policy={"assurance": "step_up"})

    assert refused(sent_in(decision_of(request)), 403, "step_up_required")


def test_a_system_that_is_disabled_or_unknown_decides_nothing(validator, member, system, administrator):
    request = question(validator)
    assert refused(sent_in(decision_of(request), path="/hitl/external/nobody"), 404, "not_found")
    external_services.disable_system(actor=administrator, system_id=system.pk, reason="contract has ended")

    assert refused(sent_in(decision_of(request)), 404, "not_found")
    assert reloaded(request).is_open


def test_a_secret_that_cannot_be_read_is_said_to_be_so_and_the_message_may_come_again(validator, member, monkeypatch):
    request = question(validator)
    monkeypatch.delenv("CLEARANCE_SECRET")
    assert refused(sent_in(decision_of(request)), 503, "unavailable")
    monkeypatch.setenv("CLEARANCE_SECRET", SIGNING)

    assert sent_in(decision_of(request)).status_code == 200


@pytest.mark.parametrize(
    "given",
    [{}, [], "PASS", {"request_id": "har_1"}, {"request_id": "har_0123456789ab", "user_id": "4711", "outcome": "PASS"}],
)
def test_a_signed_message_that_makes_no_sense_is_refused(member, given):
    assert sent_in(given).status_code == 422


# What it is told ------------------------------------------------------------------------------------------


def test_it_is_told_of_a_request_signed_and_without_arguments(validator, system, office):
    request = question(validator, policy={"notify": {"show": ["amount"]}})
    jobs.tick()

    (heard,) = office.heard
    Webhook(SIGNING).verify(heard.body, dict(heard.headers))
    assert heard.path == "/told"
    told = heard.json
    assert told["type"] == "hitl.request.created"
    data = told["data"]
    assert (data["request_id"], data["title"], data["revision"]) == (request.pk, TITLE, 1)
    assert data["digest"] == request.digest
    assert data["shown"] == {"amount": "40"}
    assert data["answer_url"].endswith(EXTERNAL_CALL)
    assert CANARY not in heard.body.decode()


def test_what_it_is_told_is_enough_to_answer(validator, member, office):
    question(validator)
    jobs.tick()
    data = office.heard[0].json["data"]
    told = {name: data[name] for name in ("request_id", "revision", "digest")}

    assert sent_in({**told, "user_id": "4711", "outcome": "PASS"}).status_code == 200
    jobs.tick()
    assert office.heard[-1].json["type"] == "hitl.request.fulfilled"
    assert office.heard[-1].json["data"]["outcome"] == "PASS"


def test_it_is_told_only_of_the_roles_that_it_is_for(validator, administrator, settings, monkeypatch, office):
    connected(administrator, settings, monkeypatch, office, roles=["human:clerk"])
    question(validator)
    question(validator, title="For the clerks", role="human:clerk")
    jobs.tick()

    assert [heard.json["data"]["title"] for heard in office.heard] == ["For the clerks"]


def test_what_it_does_not_take_is_tried_again_given_up_and_sent_again_by_an_operator(
    validator, system, office, administrator
):
    office.says(500)
    question(validator)
    for _ in range(10):
        jobs.tick()
        later(hours=1)
    row = ExternalNotice.objects.get()
    assert (row.state, row.attempts, row.error) == (MailState.FAILED, 6, "clearance answered 500")
    assert len({heard.headers["webhook-id"] for heard in office.heard}) == 1

    office.says(200)
    message_services.resend_to_system(actor=administrator, notification_id=row.pk)
    jobs.tick()
    assert reloaded(row).state == MailState.SENT


def test_nothing_is_sent_to_a_host_that_is_not_listed_any_more(validator, system, office, settings):
    settings.CONNECTOR_HOSTS = frozenset()
    question(validator)
    jobs.tick()

    assert office.heard == []
    row = ExternalNotice.objects.get()
    assert row.state == MailState.FAILED
    assert "HMS_ACT_CONNECTOR_HOSTS" in row.error


def test_a_question_that_is_answered_first_is_not_told(validator, liaison, system, office):
    request = question(validator)
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    jobs.tick()

    assert [heard.json["type"] for heard in office.heard] in ([], ["hitl.request.fulfilled"])
    assert ExternalNotice.objects.filter(purpose="asked").get().state == MailState.NOT_NEEDED


# Who may connect one --------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["liaison", "auditor", "staff_member"])
def test_only_administrators_connect_systems_and_say_who_is_who(who, request, system):
    somebody = request.getfixturevalue(who)
    terms = Terms("env:CLEARANCE_SECRET")

    with pytest.raises(Forbidden):
        external_services.create_system(actor=somebody, name="other", terms=terms)
    with pytest.raises(Forbidden):
        external_services.change_system(actor=somebody, system_id=system.pk, terms=terms)
    with pytest.raises(Forbidden):
        external_services.disable_system(actor=somebody, system_id=system.pk, reason="x")
    with pytest.raises(Forbidden):
        external_services.link_person(actor=somebody, system_id=system.pk, outside_id="1", username=who)
    assert denied() == [(actions.EXTERNAL_CHANGE_DENIED, "forbidden")] * 4


@pytest.mark.parametrize(
    ("terms", "path"),
    [
        ({"secret_ref": "hunter2"}, "secret_ref"),
        ({"secret_ref": "env:OTHER"}, "secret_ref"),
        ({"url": "https://elsewhere.example/"}, "url"),
        ({"url": "http://169.254.169.254/"}, "url"),
        ({"roles": ["agent:validator"]}, "roles"),
    ],
)
def test_a_system_that_cannot_be_is_refused_by_its_field(administrator, system, terms, path):
    given = {"secret_ref": "env:CLEARANCE_SECRET", **terms}

    with pytest.raises(Invalid) as refusal:
        external_services.create_system(actor=administrator, name="other", terms=Terms(**given))
    assert [problem.path for problem in refusal.value.errors] == [path]


def test_programs_and_strangers_are_nobody_there(administrator, system, validator):
    for username in ("validator", "nobody"):
        with pytest.raises(Invalid):
            external_services.link_person(actor=administrator, system_id=system.pk, outside_id="1", username=username)


def test_one_person_of_a_system_is_one_user_here(administrator, system, member):
    person("other")
    with pytest.raises(WrongState):
        external_services.link_person(actor=administrator, system_id=system.pk, outside_id="4711", username="other")


def test_what_is_done_to_a_system_is_recorded(administrator, system, member):
    changed = Terms("env:CLEARANCE_SECRET", title="The office")
    external_services.change_system(actor=administrator, system_id=system.pk, terms=changed)
    for act in (external_services.disable_system, external_services.enable_system):
        act(actor=administrator, system_id=system.pk, reason="moving")
    external_services.unlink_person(actor=administrator, link_id=member.external_users.get().pk, reason="left")

    told = Entry.objects.filter(subject_type="external").order_by("id").values_list("action", flat=True)
    assert list(told) == [
        actions.EXTERNAL_CREATED,
        actions.EXTERNAL_USER_LINKED,
        actions.EXTERNAL_CHANGED,
        actions.EXTERNAL_DISABLED,
        actions.EXTERNAL_ENABLED,
        actions.EXTERNAL_USER_UNLINKED,
    ]
    assert ExternalSystem.objects.get().history.count() == 4


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE approvals_externalsystem SET name = 'other'",
        "UPDATE approvals_externalsystem SET secret_ref = 'whsec_abc'",
        "UPDATE approvals_externalsystem SET url = 'ftp://x'",
        "DELETE FROM approvals_externalsystem",
        "UPDATE approvals_externaluser SET outside_id = '1'",
        "UPDATE approvals_externaluser SET user_id = user_id + 1",
        "DELETE FROM approvals_externaluser",
        "UPDATE approvals_seenmessage SET message_id = 'other'",
        "DELETE FROM approvals_seenmessage",
        "UPDATE approvals_externalnotice SET purpose = 'closed'",
        "DELETE FROM approvals_externalnotice",
    ],
)
def test_who_was_who_and_what_came_in_cannot_be_falsified(validator, member, change):
    request = question(validator)
    jobs.tick()
    sent_in(decision_of(request))

    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change)
