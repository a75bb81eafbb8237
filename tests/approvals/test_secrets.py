# SPDX-License-Identifier: Apache-2.0
"""Secrets as answers: sealed when given, fetched once by who asked, replaced or revoked by who gave, then destroyed."""

import threading
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from approvals import asking, holding, secret_services, services
from approvals.models import ActionRequest, RequestState, Secret
from approvals.secret_services import SecretDamaged, SecretGone, look_at_secrets
from approvals.secrets import SecretNotSupported
from audit.models import Entry
from config import clock
from config.errors import Forbidden, Invalid, LeaseLost, NotFound, Unavailable, WrongState
from runs import services as runs
from runs.models import Task
from tests.factories import claimed, later, reloaded, started, steps
from tests.people import agent, person

pytestmark = pytest.mark.django_db

ROLE = "human:police_liaison"
FIELDS = {"api_key": "Stripe API Key (sk_live_...)", "webhook_secret": "Webhook Secret (whsec_...)"}
GIVEN = {"api_key": "sk_live_one", "webhook_secret": "whsec_one"}
FORM = {
    "type": "object",
    "properties": {
        "password": {"type": "string", "format": "password", "minLength": 8},
        "host": {"type": "string"},
    },
    "required": ["password"],
}


def asked(by, **given):
    return asking.create_request(
        **{"actor": by, "title": "Key", "role": ROLE, "request_type": "api_key", "required_fields": FIELDS, **given}
    )


def answered(by, giver, answer=GIVEN, **given):
    request = asked(by, **given)
    services.decide(request_id=request.pk, actor=giver, outcome="PASS", response_data=answer)
    return reloaded(request)


def unwrapped(request, by, **held):
    return secret_services.unwrap(request_id=request.pk, actor=by, **held)


def states(request):
    return list(Secret.objects.filter(request=request.pk).order_by("id").values_list("field", "state"))


@pytest.fixture
def request_(validator, liaison):
    return answered(validator, liaison)


# Which ----------------------------------------------------------------------------------------------------


def test_all_of_an_answer_with_api_keys_is_secret(request_):
    assert request_.response_data == dict.fromkeys(GIVEN, "••••••••")
    assert states(request_) == [("api_key", "held"), ("webhook_secret", "held")]


def test_of_a_form_only_what_it_marks_is_secret(validator, liaison):
    given = {"password": "correct horse", "host": "db1"}
    request = answered(validator, liaison, given, form=FORM, required_fields=None)

    assert request.response_data == {"password": "••••••••", "host": "db1"}
    assert unwrapped(request, validator) == {"password": "correct horse"}


def test_what_a_form_for_an_api_key_does_not_declare_is_secret_too(validator, liaison):
    given = {"password": "correct horse", "host": "db1", "more": "another secret"}
    request = answered(validator, liaison, given, form=FORM, required_fields=None)

    assert request.response_data == {"password": "••••••••", "host": "db1", "more": "••••••••"}


@pytest.mark.parametrize("name", ["password", "db_password", "apiKey", "API-KEY", "client_secret", "access_token"])
def test_a_required_field_of_a_telling_name_is_secret_whatever_the_request(validator, liaison, name):
    fields = {name: "What is it?", "host": "Where?", "passage": "Which?", "tokens_per_day": "How many?"}
    given = {name: "s3cret-s3cret", "host": "db1", "passage": "north", "tokens_per_day": "7"}

    request = answered(validator, liaison, given, request_type="account_creation", required_fields=fields)

    assert request.response_data == {**given, name: "••••••••"}


def test_a_request_for_an_api_key_that_names_no_field_asks_for_one(validator, liaison):
    request = asked(validator, required_fields=None)

    assert list(request.form["properties"]) == ["api_key"]
    with pytest.raises(Invalid):
        services.decide(request_id=request.pk, actor=liaison, outcome="PASS", response_data={})


def test_a_secret_that_is_no_text_is_kept_as_it_is(validator, liaison):
    form = {"type": "object", "properties": {"login": {"type": "object", "writeOnly": True}}}
    login = {"user": "ops", "codes": [1, 2.5, None, True], "ü": "é"}
    request = answered(validator, liaison, {"login": login}, form=form, request_type="custom", required_fields=None)

    assert request.response_data == {"login": "••••••••"}
    assert unwrapped(request, validator) == {"login": login}


def test_a_note_that_repeats_the_secret_is_refused(validator, liaison):
    request = asked(validator)

    for said in ({"reason": "It is sk_live_one."}, {"claimed_decider": "sk_live_one"}):
        with pytest.raises(Invalid, match="A secret stands in the note"):
            services.decide(request_id=request.pk, actor=liaison, outcome="PASS", response_data=GIVEN, **said)
    assert reloaded(request).state == RequestState.PENDING


def test_a_rejection_keeps_no_secret(validator, liaison):
    request = asked(validator)

    services.decide(request_id=request.pk, actor=liaison, outcome="FAIL", reason="No.", response_data=GIVEN)

    assert states(request) == []
    with pytest.raises(WrongState, match="no secret"):
        unwrapped(request, validator)


def test_of_several_votes_only_the_deciding_one_gives_a_secret(validator, liaison):
    deputy = person("deputy", ROLE)
    request = asked(validator, policy={"required_approvals": 2})
    services.decide(request_id=request.pk, actor=deputy, outcome="PASS", response_data={**GIVEN, "api_key": "first"})
    assert states(request) == []

    services.decide(request_id=request.pk, actor=liaison, outcome="PASS", response_data=GIVEN)

    assert unwrapped(request, validator) == GIVEN


# Fetching -------------------------------------------------------------------------------------------------


def test_who_asked_fetches_all_secrets_of_an_answer_and_they_are_destroyed(request_, validator):
    assert unwrapped(request_, validator) == GIVEN

    assert states(request_) == [("api_key", "unwrapped"), ("webhook_secret", "unwrapped")]
    rows = Secret.objects.filter(request=request_.pk)
    assert set(rows.values_list("ciphertext", "wrapped_key", "next_check_at")) == {(None, None, None)}
    fetched = Entry.objects.filter(action="hitl.secret.unwrapped").order_by("id")
    assert [(entry.actor_name, entry.disclosed) for entry in fetched] == [
        ("validator", {"field": "api_key"}),
        ("validator", {"field": "webhook_secret"}),
    ]


def test_a_second_time_it_is_gone_and_the_attempt_is_on_record(request_, validator):
    unwrapped(request_, validator)

    with pytest.raises(SecretGone, match="It was fetched on") as refused:
        unwrapped(request_, validator)

    assert (refused.value.status, refused.value.code) == (410, "secret_gone")
    attempt = Entry.objects.get(action="hitl.secret.unwrap_denied")
    assert (attempt.actor_name, attempt.code, attempt.request_id) == ("validator", "secret_gone", request_.pk)


def test_an_attempt_on_a_fetched_secret_is_shown_to_who_gave_it(request_, validator, liaison, client_for):
    unwrapped(request_, validator)
    with pytest.raises(SecretGone):
        unwrapped(request_, validator)

    page = client_for(liaison).get(f"/admin/approvals/actionrequest/{request_.pk}/decide/").content.decode()

    assert "validator tried to fetch this" in page


def test_nobody_else_fetches_it(request_, validator, liaison, auditor, superuser):
    stranger, colleague = agent("stranger", "agent:stranger"), person("colleague", ROLE)

    with pytest.raises(NotFound):
        unwrapped(request_, stranger)
    for other in (liaison, colleague, auditor, superuser):
        with pytest.raises(Forbidden):
            unwrapped(request_, other)
    assert unwrapped(request_, validator) == GIVEN


def test_the_right_agent_needs_its_own_key_not_a_session(request_, validator, client_for):
    browser = client_for(validator)

    answer = browser.post(f"/hitl/requests/{request_.pk}/unwrap", content_type="application/json")

    assert answer.status_code == 403
    assert unwrapped(request_, validator) == GIVEN


def test_who_asked_and_gave_reads_nothing_back(liaison):
    request = answered(liaison, liaison, policy={"forbid_self_approval": False})

    with pytest.raises(Forbidden, match="You gave it yourself"):
        unwrapped(request, liaison)


def test_before_the_answer_there_is_nothing_to_fetch(validator):
    with pytest.raises(WrongState, match="Nobody has answered"):
        unwrapped(asked(validator), validator)


def test_after_its_time_it_is_gone_whether_or_not_the_clock_has_come_by(request_, validator, settings):
    later(seconds=settings.SECRET_TTL_SECONDS)

    with pytest.raises(SecretGone, match="Nobody fetched it by"):
        unwrapped(request_, validator)
    assert look_at_secrets(clock.now()) == 2
    assert {state for _, state in states(request_)} == {"expired"}
    with pytest.raises(SecretGone, match="Nobody fetched it by"):
        unwrapped(request_, validator)
    ended = Entry.objects.filter(action="hitl.secret.expired")
    assert {entry.actor_name for entry in ended} == {"system"}


def test_a_moment_before_its_end_it_is_there(request_, validator, settings):
    later(seconds=settings.SECRET_TTL_SECONDS - 60)
    look_at_secrets(clock.now())

    assert unwrapped(request_, validator) == GIVEN


def test_without_the_key_nothing_is_handed_out_and_nothing_destroyed(request_, validator, settings):
    ring, settings.SECRETS_KEYS = settings.SECRETS_KEYS, (b"\x07" * 32,)

    with pytest.raises(Unavailable):
        unwrapped(request_, validator)

    settings.SECRETS_KEYS = ring
    assert unwrapped(request_, validator) == GIVEN


def test_a_row_that_was_put_in_anothers_place_does_not_open(request_, validator, liaison):
    other = answered(validator, liaison, {"api_key": "sk_live_two", "webhook_secret": "whsec_two"})
    mine, theirs = Secret.objects.filter(request=request_.pk)[0], Secret.objects.filter(request=other.pk)[0]

    with pytest.raises(IntegrityError, match="what it says stays as it is"), transaction.atomic():
        Secret.objects.filter(pk=mine.pk).update(ciphertext=theirs.ciphertext)
    Secret.objects.filter(pk=mine.pk).update(wrapped_key=theirs.wrapped_key)

    with pytest.raises(SecretDamaged):
        unwrapped(request_, validator)


# Its giver ------------------------------------------------------------------------------------------------


def test_who_gave_it_takes_it_back(request_, validator, liaison):
    secret_services.revoke_secret(request_id=request_.pk, actor=liaison)

    assert {state for _, state in states(request_)} == {"revoked"}
    with pytest.raises(SecretGone, match="took it back"):
        unwrapped(request_, validator)
    with pytest.raises(SecretGone):
        secret_services.revoke_secret(request_id=request_.pk, actor=liaison)


def test_who_gave_it_replaces_it_and_it_has_its_full_time_anew(request_, validator, liaison, settings):
    later(seconds=settings.SECRET_TTL_SECONDS - 60)

    secret_services.replace_secret(request_id=request_.pk, actor=liaison, values={"api_key": "sk_live_two"})

    assert states(request_) == [("api_key", "replaced"), ("webhook_secret", "held"), ("api_key", "held")]
    later(seconds=120)
    assert unwrapped(request_, validator) == {"api_key": "sk_live_two"}


@pytest.mark.parametrize(
    ("values", "problem"),
    [({}, "response_data"), ({"host": "x"}, "response_data.host"), ({"api_key": ""}, "response_data.api_key")],
)
def test_a_replacement_must_fit(request_, validator, liaison, values, problem):
    with pytest.raises(Invalid) as refused:
        secret_services.replace_secret(request_id=request_.pk, actor=liaison, values=values)

    assert [one.path for one in refused.value.errors] == [problem]
    assert unwrapped(request_, validator) == GIVEN


def test_nobody_else_replaces_or_revokes_it(request_, validator):
    colleague = person("colleague", ROLE)

    for other in (validator, colleague):
        with pytest.raises(Forbidden):
            secret_services.revoke_secret(request_id=request_.pk, actor=other)
        with pytest.raises(Forbidden):
            secret_services.replace_secret(request_id=request_.pk, actor=other, values={"api_key": "sk_live_evil"})
    refused = Entry.objects.filter(action="hitl.secret.change_denied")
    assert {entry.actor_name for entry in refused} == {"validator", "colleague"}
    assert unwrapped(request_, validator) == GIVEN


def test_what_was_fetched_can_be_neither_replaced_nor_revoked(request_, validator, liaison):
    unwrapped(request_, validator)

    with pytest.raises(SecretGone):
        secret_services.revoke_secret(request_id=request_.pk, actor=liaison)
    with pytest.raises(SecretGone):
        secret_services.replace_secret(request_id=request_.pk, actor=liaison, values={"api_key": "sk_live_two"})


def test_on_the_page_its_giver_replaces_and_revokes_it_and_never_reads_it(request_, validator, liaison, client_for):
    page, act = (f"/admin/approvals/actionrequest/{request_.pk}/decide/{end}" for end in ("", "secret/"))
    browser, other = client_for(liaison), client_for(person("colleague", ROLE))

    shown = browser.get(page).content.decode()
    assert "Give another" in shown
    assert "Take back" in shown
    assert "sk_live_one" not in shown
    assert "Take back" not in other.get(page).content.decode()
    assert other.post(act, {"revoke": "1"}).status_code == 403
    assert browser.post(act, {"replace": "1", "other-api_key": ""}).status_code == 422
    assert browser.post(act, {"replace": "1", "other-api_key": "sk_live_two"}).status_code == 303
    assert "sk_live_two" not in browser.get(page).content.decode()
    assert browser.post(act, {"revoke": "1"}).status_code == 303
    assert browser.post(act, {"revoke": "1"}).status_code == 410
    assert [state for _, state in states(request_)] == ["replaced", "revoked", "revoked"]


def test_while_an_answer_is_held_back_nobody_fetches_its_secret(validator, liaison):
    request = answered(validator, liaison, policy={"hold": "60s"})

    with pytest.raises(WrongState, match="held back"):
        unwrapped(request, validator)
    later(seconds=61)
    holding.look_at_receipts(clock.now())
    assert unwrapped(request, validator) == GIVEN


def test_an_undone_answer_destroys_what_it_gave(validator, liaison):
    request = answered(validator, liaison, policy={"hold": "60s"})

    holding.undo(request_id=request.pk, actor=liaison, reason="The wrong key.")

    assert {state for _, state in states(request)} == {"withdrawn"}
    with pytest.raises(SecretGone, match="undone"):
        unwrapped(request, validator)


# In a run -------------------------------------------------------------------------------------------------

ASKING = steps(
    {"id": "Ask", "role": ROLE, "form": FORM},
    {"id": "Other", "role": "agent:validator", "input": {"host": "data.Ask.host"}},
    {"id": "Deploy", "role": "agent:validator"},
    id="deployment",
)


@pytest.fixture
def run(liaison):
    run = started(ASKING)
    request = ActionRequest.objects.get(run=run)
    answer = {"password": "correct horse", "host": "db1"}
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS", response_data=answer)
    return run


def test_the_output_of_the_step_holds_a_handle_in_place_of_the_secret(run):
    request = ActionRequest.objects.get(run=run)

    assert Task.objects.get(run=run, step="Ask").output == {
        "password": {"secret_of": request.pk, "field": "password"},
        "host": "db1",
    }


def test_only_the_holder_of_a_task_that_was_handed_the_handle_fetches_it(run, validator, liaison):
    request = ActionRequest.objects.get(run=run)
    first = claimed(validator)

    with pytest.raises(Forbidden, match="send the task and token"):
        unwrapped(request, validator)
    with pytest.raises(Forbidden, match="was not handed the secret"):
        unwrapped(request, validator, task_id=first.task.pk, token=first.token)
    runs.complete_task(task_id=first.task.pk, actor=validator, token=first.token, outcome="PASS")
    second = claimed(validator)
    with pytest.raises(LeaseLost):
        unwrapped(request, validator, task_id=second.task.pk, token="lease_wrong")
    with pytest.raises(LeaseLost):
        unwrapped(request, validator, task_id=first.task.pk, token=first.token)
    assert unwrapped(request, validator, task_id=second.task.pk, token=second.token) == {"password": "correct horse"}
    with pytest.raises(SecretGone):
        unwrapped(request, validator, task_id=second.task.pk, token=second.token)


def test_who_started_the_run_does_not_fetch_what_a_step_asked_for(run):
    request = ActionRequest.objects.get(run=run)

    with pytest.raises(Forbidden, match="A step of a run asked"):
        unwrapped(request, run.started_by)


def test_the_task_of_another_run_fetches_nothing(run, validator, liaison):
    request = ActionRequest.objects.get(run=run)
    started(steps({"id": "Alone", "role": "agent:other"}, id="other"), payload={"handle": {"secret_of": request.pk}})
    other = claimed(agent("other", "agent:other", "agent:validator"), "agent:other")

    with pytest.raises(Forbidden, match="send the task and token"):
        unwrapped(request, other.task.assignee, task_id=other.task.pk, token=other.token)


# Without a key ring ---------------------------------------------------------------------------------------


def test_without_a_key_ring_a_request_for_a_secret_is_refused(validator, api_for, settings):
    settings.SECRETS_KEYS = ()

    with pytest.raises(SecretNotSupported):
        asked(validator)
    with pytest.raises(SecretNotSupported):
        asked(validator, request_type="custom", form=FORM, required_fields=None)
    answer = api_for(validator).post("/hitl/requests", {"title": "Key", "request_type": "api_key", "role": ROLE})
    assert (answer.status_code, answer.json()["code"]) == (422, "secret_not_supported")
    assert asked(validator, request_type="custom", required_fields={"host": "Where?"}).pk


def test_without_a_key_ring_no_answer_with_a_secret_is_taken(validator, liaison, settings):
    request = asked(validator)
    settings.SECRETS_KEYS = ()

    with pytest.raises(SecretNotSupported):
        services.decide(request_id=request.pk, actor=liaison, outcome="PASS", response_data=GIVEN)

    assert reloaded(request).state == RequestState.PENDING


# Rotation -------------------------------------------------------------------------------------------------

NEW = b"\x02" * 32


def test_rotation_wraps_what_is_held_by_the_newest_key_and_says_how_many(
    request_, validator, liaison, settings, capsys
):
    settings.SECRETS_KEYS = (NEW, *settings.SECRETS_KEYS)
    before = list(Secret.objects.values_list("ciphertext", flat=True))
    answered(validator, liaison)

    call_command("rotate_secrets")

    assert "2 wrapped anew, 2 under the newest key already" in capsys.readouterr().out
    assert [bytes(one) for one in Secret.objects.values_list("ciphertext", flat=True)[:2]] == [
        bytes(one) for one in before
    ]
    settings.SECRETS_KEYS = (NEW,)
    assert unwrapped(request_, validator) == GIVEN
    assert Entry.objects.get(action="hitl.secret.rewrapped").data["rewrapped"] == 2


def test_rotation_can_be_repeated_and_leaves_what_has_ended_alone(request_, validator, settings, capsys):
    unwrapped(request_, validator)
    settings.SECRETS_KEYS = (NEW, *settings.SECRETS_KEYS)

    for _ in range(2):
        call_command("rotate_secrets")

    assert capsys.readouterr().out.count("0 wrapped anew, 0 under the newest key already") == 2


def test_rotation_fails_loudly_while_an_old_key_is_still_needed(request_, validator, settings):
    ring, settings.SECRETS_KEYS = settings.SECRETS_KEYS, (NEW,)

    with pytest.raises(CommandError, match="2 not readable"):
        call_command("rotate_secrets")

    settings.SECRETS_KEYS = ring
    assert unwrapped(request_, validator) == GIVEN


def test_rotation_without_a_key_ring_is_refused(settings):
    settings.SECRETS_KEYS = ()

    with pytest.raises(CommandError, match="no key ring"):
        call_command("rotate_secrets")


# What the database forbids --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"state": "revoked"},
        {"field": "other"},
        {"expires_at": None},
        {"ciphertext": b"x"},
        {"ciphertext": None},
        {"wrapped_key": None},
    ],
)
def test_a_held_secret_keeps_what_it_is(request_, change):
    row = Secret.objects.filter(request=request_.pk)[0]
    change = {"expires_at": row.expires_at + timedelta(days=1)} if "expires_at" in change else change

    with pytest.raises(IntegrityError), transaction.atomic():
        Secret.objects.filter(pk=row.pk).update(**change)


@pytest.mark.parametrize("change", [{"state": "held"}, {"ciphertext": b"x"}, {"wrapped_key": b"x"}])
def test_a_destroyed_secret_does_not_come_back(request_, validator, change):
    unwrapped(request_, validator)
    row = Secret.objects.filter(request=request_.pk)[0]

    with pytest.raises(IntegrityError), transaction.atomic():
        Secret.objects.filter(pk=row.pk).update(**change)


def test_a_secret_is_not_deleted(request_):
    with pytest.raises(IntegrityError), transaction.atomic():
        Secret.objects.filter(request=request_.pk).delete()


@pytest.mark.django_db(transaction=True)
def test_of_two_who_fetch_at_once_one_gets_it(validator, liaison):
    request = answered(validator, liaison)
    got, gate = [], threading.Barrier(2)

    def fetch():
        gate.wait()
        try:
            got.append(unwrapped(request, validator))
        except SecretGone:
            got.append("gone")
        finally:
            connection.close()

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(got, key=str) == sorted([GIVEN, "gone"], key=str)
