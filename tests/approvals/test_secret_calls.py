# SPDX-License-Identifier: Apache-2.0
"""A call of our own worker gets the secret that its step names, at the moment of the call, once."""

import pytest

from approvals import secret_services, services
from approvals.models import ActionRequest, Secret
from audit.models import Entry
from playbooks.catalogue import ActionCall, Verdict, action
from playbooks.connector_services import Terms, create_connector, disable_connector, enable_connector
from runs import jobs
from runs.services import complete_task
from tests.factories import claimed, later, reloaded, started, steps, tasks_of
from tests.playbooks.loopback import listening

pytestmark = pytest.mark.django_db

VALUE = "sk_live_4711"
FORM = {
    "type": "object",
    "properties": {
        "api_key": {"type": "string", "format": "password"},
        "login": {"type": "object", "properties": {"pin": {"type": "integer", "writeOnly": True}}},
        "account": {"type": "string"},
    },
    "required": ["api_key"],
}
ANSWER = {"api_key": VALUE, "login": {"pin": 90_210}, "account": "acct_1"}
ASK = {"id": "Ask-Key", "role": "human:police_liaison", "form": FORM}
KEY = {"key": 'data["Ask-Key"].api_key'}

calls: list[ActionCall] = []
says: list = []  # what the action gives next, or raises


@action("tests.use_key", title="Use a key")
def use_key(call: ActionCall):
    calls.append(call)
    answer = says.pop(0) if says else {"ok": True}
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.fixture(autouse=True)
def quiet():
    calls.clear()
    says.clear()


def playbook(*more, call="tests.use_key", **fields):
    return steps(ASK, *more, {"id": "Use", "role": "svc:user", "call": call, "input": KEY, **fields}, id="using")


def answered(document, liaison):
    """The run, after the person has given the secret."""
    run = started(document)
    request = ActionRequest.objects.get(run=run)
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS", reason="", response_data=ANSWER)
    return run, request


def used(run, step="Use"):
    return [task for task in tasks_of(run) if task.step == step]


def states(request):
    return dict(Secret.objects.filter(request=request).values_list("field", "state"))


def test_the_call_gets_the_value_and_the_run_keeps_the_handle(liaison):
    run, request = answered(playbook(), liaison)
    jobs.tick()

    (call,) = calls
    handle = {"secret_of": request.pk, "field": "api_key"}
    assert (call.input, call.data["Ask-Key"]["api_key"]) == ({"key": VALUE}, handle)
    assert VALUE not in repr(call)
    (task,) = used(run)
    assert (task.state, task.input) == ("completed", {"key": handle})
    assert states(request) == {"api_key": "unwrapped", "login": "held"}, "what is not named is not opened"
    entry = Entry.objects.get(action="hitl.secret.unwrapped")
    assert (entry.actor_name, entry.request_id, entry.channel) == ("worker", request.pk, "worker")


def test_what_the_call_repeats_of_it_is_blotted_out(liaison):
    says.append({"echo": f"Bearer {VALUE}", VALUE: [90_210], "pin": "90210"})
    run, _ = answered(playbook(input={"all": 'data["Ask-Key"]'}), liaison)
    jobs.tick()

    assert calls[0].input["all"] == ANSWER
    (task,) = used(run)
    assert VALUE not in str(task.output)
    assert "90210" not in str(task.output)
    assert task.output["echo"].startswith("Bearer ")


@pytest.mark.parametrize(
    ("fault", "state"), [(ValueError(f"bad key {VALUE}"), "failed"), (Verdict(f"no such key: {VALUE}"), "completed")]
)
def test_what_a_fault_or_a_verdict_repeats_of_it_is_blotted_out(liaison, caplog, fault, state):
    says.append(fault)
    run, _ = answered(playbook(), liaison)
    with caplog.at_level("DEBUG"):
        jobs.tick()

    (task, *_) = used(run)
    assert task.state == state
    assert "key" in f"{task.note}{task.error_message}"
    assert VALUE not in f"{task.note}{task.error_message}{caplog.text}"
    assert VALUE not in str([entry.note for entry in Entry.objects.select_related("disclosure")])


def test_another_attempt_is_not_made_without_it_and_is_not_tried_a_third_time(liaison):
    says.append(ValueError("the line was cut"))
    run, _ = answered(playbook(retries=3), liaison)
    jobs.tick()
    later(hours=1)
    jobs.tick()
    later(days=1)
    jobs.tick()

    assert len(calls) == 1
    first, second = used(run)
    assert (first.error_type, second.error_type) == ("ValueError", "SecretUsedUp")
    assert "handed out once" in second.error_message
    assert reloaded(run).state == "failed"


def test_what_its_giver_took_back_is_used_by_no_call(liaison):
    run, request = answered(playbook(), liaison)
    secret_services.revoke_secret(request_id=request.pk, actor=liaison)
    jobs.tick()

    assert calls == []
    assert used(run)[0].error_type == "SecretUsedUp"


def test_a_server_without_its_key_destroys_nothing_and_tries_again(liaison, settings):
    run, request = answered(playbook(retries=3), liaison)
    ring, settings.SECRETS_KEYS = settings.SECRETS_KEYS, (b"x" * 32,)
    jobs.tick()
    assert (calls, states(request)["api_key"]) == ([], "held")

    settings.SECRETS_KEYS = ring
    later(hours=1)
    jobs.tick()
    assert calls[0].input == {"key": VALUE}
    assert used(run)[-1].state == "completed"


def test_a_step_that_names_nothing_is_handed_the_handle_and_opens_nothing(liaison):
    _, request = answered(playbook(input=None), liaison)
    jobs.tick()

    assert calls[0].input is None
    assert calls[0].data["Ask-Key"]["api_key"] == {"secret_of": request.pk, "field": "api_key"}
    assert states(request)["api_key"] == "held"


def test_a_handle_that_an_agent_repeats_opens_nothing(liaison, validator):
    agent = {"id": "Think", "role": "agent:validator"}
    _, request = answered(playbook(agent, input={"key": "data.Think.note"}), liaison)
    handle = {"secret_of": request.pk, "field": "api_key"}
    lease = claimed(validator)
    complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS", output={"note": handle})
    jobs.tick()

    assert calls[0].input == {"key": handle}
    assert states(request)["api_key"] == "held"


def test_a_handle_in_the_payload_opens_no_secret_of_another_run(liaison):
    _, request = answered(playbook(input=None), liaison)
    calls.clear()
    handle = {"secret_of": request.pk, "field": "api_key"}
    document = steps(
        {"id": "Use", "role": "svc:user", "call": "tests.use_key", "input": {"k": "payload.k"}}, id="other"
    )
    started(document, payload={"k": handle})
    jobs.tick()

    assert calls[-1].input == {"k": handle}
    assert states(request)["api_key"] == "held"


# Connectors -----------------------------------------------------------------------------------------------


@pytest.fixture
def portal(settings, administrator):
    with listening() as service:
        settings.CONNECTOR_HOSTS = frozenset({("127.0.0.1", service.port)})
        terms = Terms(url=f"{service.url}/keys", verdict_statuses=(402,))
        service.connector = create_connector(actor=administrator, name="portal.register", terms=terms)
        yield service


def test_a_connector_is_sent_the_value_in_the_input_alone(liaison, portal):
    portal.says(200, {"registered": VALUE})
    run, request = answered(playbook(call="portal.register"), liaison)
    jobs.tick()

    (heard,) = portal.heard
    assert heard.json["input"] == {"key": VALUE}
    assert heard.json["data"]["Ask-Key"]["api_key"] == {"secret_of": request.pk, "field": "api_key"}
    assert heard.body.decode().count(VALUE) == 1
    assert VALUE not in str(heard.headers)
    assert VALUE not in str(used(run)[0].output)


def test_a_connector_that_is_switched_off_is_not_handed_it(liaison, portal, administrator):
    disable_connector(actor=administrator, connector_id=portal.connector.pk, reason="moved")
    _, request = answered(playbook(call="portal.register", retries=3), liaison)
    jobs.tick()
    assert states(request)["api_key"] == "held"

    enable_connector(actor=administrator, connector_id=portal.connector.pk, reason="back")
    later(hours=1)
    jobs.tick()
    assert portal.heard[0].json["input"] == {"key": VALUE}
