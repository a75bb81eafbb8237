# SPDX-License-Identifier: Apache-2.0
"""Asking a human, in a step or outside any, and claiming what is asked."""

from datetime import timedelta

import pytest
from django.core import mail

from approvals import asking, claiming, services
from approvals.models import ActionRequest, Notification
from audit import actions
from audit.models import Entry
from config import clock
from config.errors import AlreadyDecided, Forbidden, Invalid, LeaseLost, WrongState
from config.mail import MailState
from runs import due, jobs
from runs import services as runs
from tests.factories import actions_of, later, reloaded, started, steps, waiting_for_a_person
from tests.people import person

pytestmark = pytest.mark.django_db


def test_a_human_step_asks_its_role_with_all_that_is_to_be_decided(validator, liaison):
    request = waiting_for_a_person(validator, payload={"form_id": 123})

    assert request.role == "human:police_liaison"
    assert request.asked["input"] == {"form_id": 123, "data": {"AI-Screen": {"risk": "low"}}}
    assert len(request.digest) == 64
    assert request.policy == {"stages": [{"rules": [{"id": "1.1", "role": "human:police_liaison"}]}]}


def test_every_member_is_mailed_once_with_a_link_and_no_case_data(validator, liaison):
    colleague = person("colleague", "human:police_liaison")
    request = waiting_for_a_person(validator, payload={"applicant": "Jane Roe"})
    assert mail.outbox == [], "the mail is a row that is due, sent by the worker"

    jobs.tick()
    jobs.tick()

    assert sorted(m.to[0] for m in mail.outbox) == [colleague.email, liaison.email]
    message = mail.outbox[0]
    assert f"/{request.pk}/" in message.body
    assert "Jane Roe" not in message.body + message.subject
    assert {n.state for n in Notification.objects.all()} == {MailState.SENT}


def test_a_mail_that_cannot_be_sent_is_tried_again_later_and_given_up_in_the_end(validator, liaison, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9  # nobody listens there
    waiting_for_a_person(validator)

    jobs.tick()
    notification = Notification.objects.get()
    assert (notification.state, notification.attempts) == (MailState.DUE, 1)
    assert "ConnectionRefusedError" in notification.error
    for _ in range(10):
        later(hours=1)
        jobs.tick()
    notification = Notification.objects.get()
    assert (notification.state, notification.attempts) == (MailState.FAILED, 6)


def test_nobody_is_mailed_about_what_is_decided_already(validator, liaison):
    request = waiting_for_a_person(validator)
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")

    jobs.tick()

    assert mail.outbox == []
    assert Notification.objects.get().state == MailState.NOT_NEEDED


def test_a_line_break_in_a_title_does_not_reach_a_mails_header(validator, liaison):
    asking.create_request(actor=validator, role="human:police_liaison", title="Key\nBcc: all@example.org")
    jobs.tick()

    (message,) = mail.outbox
    assert message.subject == "[Medium] Decide: Key Bcc: all@example.org"
    assert message.recipients() == [liaison.email]


def test_an_agent_asks_outside_any_step(validator, liaison):
    made = asking.create_request(
        actor=validator,
        role="human:police_liaison",
        request_type="api_key",
        title="Stripe API Key Required",
        required_fields={"api_key": "Stripe API Key (sk_live_...)"},
        context={"service": "stripe"},
    )

    assert made.pk.startswith("har_")
    assert len(made.pk) == 16
    with pytest.raises(Invalid):
        services.decide(request_id=made.pk, actor=liaison, outcome="PASS", response_data={})
    services.decide(request_id=made.pk, actor=liaison, outcome="PASS", response_data={"api_key": "x"})
    assert ActionRequest.objects.get().state == "fulfilled"


def test_nobody_asks_in_anothers_name_or_asks_machines(validator):
    with pytest.raises(Forbidden, match="on behalf of"):
        asking.create_request(actor=validator, role="human:x", title="t", agent_id="other")
    with pytest.raises(Invalid, match="no role of people"):
        asking.create_request(actor=validator, role="agent:validator", title="t")


def test_a_person_claims_the_oldest_request_as_its_task(validator, liaison):
    first, second = waiting_for_a_person(validator), waiting_for_a_person(validator)

    (lease,) = runs.claim_tasks(role="human:police_liaison", actor=liaison)

    assert lease.task.pk == first.task_id
    request = ActionRequest.objects.get(pk=first.pk)
    assert (request.state, request.claimed_by) == ("in_review", liaison)
    assert request.claim_expires_at - clock.now() > timedelta(hours=7)
    assert reloaded(lease.task).state == "awaiting_approval"
    assert runs.claim_tasks(role="human:police_liaison", actor=liaison)[0].task.pk == second.task_id


def test_completing_the_claimed_task_is_the_decision(validator, liaison):
    request = waiting_for_a_person(validator)
    (lease,) = runs.claim_tasks(role="human:police_liaison", actor=liaison)

    for _ in range(2):  # a repetition is answered the same
        task = runs.complete_task(
            task_id=lease.task.pk, actor=liaison, token=lease.token, outcome="PASS", note="fine by me"
        )
    assert (task.state, task.outcome) == ("completed", "PASS")
    assert ActionRequest.objects.get(pk=request.pk).decided_by == liaison


def test_a_claim_is_advice_another_member_may_decide(validator, liaison):
    colleague = person("colleague", "human:police_liaison")
    request = waiting_for_a_person(validator)
    (lease,) = runs.claim_tasks(role="human:police_liaison", actor=liaison)
    services.decide(request_id=request.pk, actor=colleague, outcome="PASS")

    with pytest.raises(AlreadyDecided):
        runs.complete_task(task_id=lease.task.pk, actor=liaison, token=lease.token, outcome="FAIL", note="no")


def test_an_expired_claim_refuses_the_decision_and_goes_back_to_the_role(validator, liaison):
    request = waiting_for_a_person(validator)
    (lease,) = runs.claim_tasks(role="human:police_liaison", actor=liaison)
    later(hours=9)
    held = {"task_id": lease.task.pk, "actor": liaison, "token": lease.token, "outcome": "PASS"}

    with pytest.raises(claiming.TokenExpired):
        runs.complete_task(**held)
    due.sweep()
    assert ActionRequest.objects.get(pk=request.pk).state == "pending"
    with pytest.raises(claiming.TokenExpired):
        runs.complete_task(**held)
    assert len(runs.claim_tasks(role="human:police_liaison", actor=liaison)) == 1


def test_what_a_maker_started_is_not_offered_to_them(validator):
    starter = person("starter", "human:police_liaison", is_superuser=True)
    started(steps({"id": "a", "role": "human:police_liaison"}))
    runs.start_run(actor=starter, playbook="story", payload={})

    leases = runs.claim_tasks(role="human:police_liaison", actor=starter, limit=5)
    assert [lease.task.run.started_by.username for lease in leases] == ["founder"]


def test_a_claim_is_renewed_and_then_the_decision_counts(validator, liaison):
    request = waiting_for_a_person(validator)
    (lease,) = runs.claim_tasks(role="human:police_liaison", actor=liaison)
    later(hours=9)
    due.sweep()
    held = {"task_id": lease.task.pk, "actor": liaison, "token": lease.token}
    with pytest.raises(claiming.TokenExpired) as refused:
        runs.complete_task(**held, outcome="PASS", note="long thought over")
    assert refused.value.extra == {"renew": f"/hitl/requests/{request.pk}/claim"}

    runs.extend_lease(**held, renewal=True)

    assert runs.complete_task(**held, outcome="PASS", note="long thought over").outcome == "PASS"
    told = actions_of(request.run)
    assert actions.REQUEST_CLAIM_EXPIRED in told
    assert actions.REQUEST_CLAIM_RENEWED in told


def test_a_claim_that_another_has_taken_since_is_not_renewed(validator, liaison):
    colleague = person("colleague", "human:police_liaison")
    waiting_for_a_person(validator)
    (lease,) = runs.claim_tasks(role="human:police_liaison", actor=liaison)
    later(hours=9)
    due.sweep()
    runs.claim_tasks(role="human:police_liaison", actor=colleague)

    with pytest.raises(LeaseLost, match="another has claimed"):
        runs.extend_lease(task_id=lease.task.pk, actor=liaison, token=lease.token)


def test_renewals_end_at_their_cap(validator, liaison):
    waiting_for_a_person(validator)
    (lease,) = runs.claim_tasks(role="human:police_liaison", actor=liaison)
    held = {"task_id": lease.task.pk, "actor": liaison, "token": lease.token}
    for _ in range(10):
        later(hours=7)
        runs.extend_lease(**held)
    later(hours=3)

    with pytest.raises(claiming.TokenExpired, match="Claim the request anew"):
        runs.extend_lease(**held)


def test_one_request_is_claimed_by_one_person_at_a_time_and_given_back(validator, liaison):
    colleague = person("colleague", "human:police_liaison")
    request = waiting_for_a_person(validator)
    _, token = claiming.claim_request(request_id=request.pk, actor=liaison)

    with pytest.raises(WrongState, match="liaison is reviewing this"):
        claiming.claim_request(request_id=request.pk, actor=colleague)
    claiming.release_request(request_id=request.pk, actor=liaison)
    claiming.claim_request(request_id=request.pk, actor=colleague)
    with pytest.raises(LeaseLost):
        services.decide(request_id=request.pk, actor=liaison, outcome="PASS", token=token)


def test_secrets_of_an_answer_reach_who_asked_once_and_nobody_else(validator, liaison, auditor, api_for):
    made = asking.create_request(
        actor=validator,
        role="human:police_liaison",
        request_type="api_key",
        title="Key",
        required_fields={"api_key": "Stripe API key"},
    )
    services.decide(request_id=made.pk, actor=liaison, outcome="PASS", response_data={"api_key": "sk_live_canary"})

    url = f"/hitl/requests/{made.pk}"
    for reader in (validator, liaison, auditor):
        assert "canary" not in api_for(reader).get(url).content.decode()
    for entry in Entry.objects.select_related("disclosure"):
        assert "canary" not in str(entry.disclosed)
    assert api_for(validator).post(f"{url}/unwrap").json()["values"] == {"api_key": "sk_live_canary"}
