# SPDX-License-Identifier: Apache-2.0
"""What is accepted comes back unchanged, from either database, wherever it is shown again.

Unchanged means: the same RFC 8785 bytes. That is the same texts by code point, the same keys whatever their order,
lists in their order, and numbers of the same value, however they are written.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from approvals.models import ActionRequest
from audit.canonical import canonical, opened
from audit.models import Disclosure
from config.api import MAX_SAFE_INTEGER
from runs.models import Run
from tests.contract.answers import json_of
from tests.factories import PERMIT, published, steps
from tests.people import Api

pytestmark = pytest.mark.django_db

few = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
numbers = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | st.floats(
    -MAX_SAFE_INTEGER, MAX_SAFE_INTEGER, allow_nan=False
)
leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=20
)
objects = st.dictionaries(texts, values, max_size=6)

AWKWARD: dict[str, Any] = {
    "": "an empty key",
    "a.b[0].c": "a key with dots",
    "__proto__": {"constructor": {"prototype": 1}},
    "$ref": "#/nowhere",
    "data": {"run": "the words of the engine itself"},
    "payload__contains": "a look-up of Django's",
    "%(x)s {0} {x} $1 ? :x": "%s %% ' \" \\ ; -- /* */",
    "numbers": [0, -0.0, 0.0, 1, 1.0, 1e0, 100.0, 1e2, 0.1, 1e-7, 5e-324, 1.7976931348623157e-308, -1e15, 0.1 + 0.2],
    "largest": [MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER, float(MAX_SAFE_INTEGER)],
    "bidi": "\u202eevil\u202c \u2066isolate\u2069 \u200f",
    "invisible": "a\u200bb\u200cc\u200dd\ufeffe\u00adf\u2060g\U000e0001",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈 🇪🇺 \U0001f9ff",
    "combining": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞",
    "unnormalised": ["\u00e9", "e\u0301", "\u212b", "ﬁ", "①"],
    "control": "".join(chr(n) for n in range(1, 32)) + "\x7f" + "".join(chr(n) for n in range(0x80, 0xA0)),
    "separators": "\u2028\u2029\u0085\r\n\r",
    "noncharacters": "\ufffe\uffff\ufdd0\U0001fffe\U0010ffff",
    "replacement": "\ufffd",
    "space": "  leading, trailing \t ",
    "markup": "<script>alert(1)</script> {{ 7*7 }} {% load x %} ]]> <!-- &amp;lt;",
    "formula": "=1+1\t@SUM(A1)",
    "numbers as texts": ["9007199254740993", "1e309", "NaN", "-0", "007"],
    "empty": [{}, [], "", None, [[], [[]], {"": {}}]],
    "long": "ä" * 20_000,
}


def same(found: Any, sent: Any) -> bool:
    return canonical(found) == canonical(sent)


@pytest.fixture
def agent(api_for, validator) -> Api:
    published(PERMIT)
    return api_for(validator)


def started(api: Api, payload: Any, **more: Any) -> int:
    return int(
        json_of(api.post("/acts/run", {"playbook": "protest_permit", "payload": payload, **more}), 202)["run_id"]
    )


@few
@given(payload=objects)
@example(payload=AWKWARD)
def test_a_payload_is_the_same_in_the_run_in_the_task_and_in_the_log(agent, payload):
    run_id = started(agent, payload)

    assert same(json_of(agent.get(f"/acts/runs/{run_id}"))["payload"], payload)
    task = _claimed(agent, run_id)["task"]
    assert same(task["payload"], payload)
    assert same(task["input"], {**payload, "data": {}})
    (item,) = (
        item
        for disclosure in Disclosure.objects.filter(entry__run_id=run_id, entry__action="run.started")
        for item in disclosure.items
        if item["path"] == "payload"
    )
    assert same(opened(item["disclosure"])[1], payload)


def _claimed(agent: Api, run_id: int) -> Any:
    """The task of this run; those before it are done away with."""
    while True:
        lease = json_of(agent.post("/acts/tasks/next", {"role": "agent:validator"}))
        if lease["task"]["run_id"] == run_id:
            return lease


@few
@given(payload=objects)
@example(payload=AWKWARD)
def test_what_came_back_may_be_sent_again_and_is_still_the_same(agent, payload):
    once = json_of(agent.get(f"/acts/runs/{started(agent, payload)}"))["payload"]
    twice = json_of(agent.get(f"/acts/runs/{started(agent, once)}"))["payload"]

    assert same(twice, payload)


@few
@given(output=values, note=texts)
@example(output=AWKWARD, note=AWKWARD["control"])
@example(output=None, note="")
@example(output=-0.0, note=AWKWARD["bidi"])
def test_an_output_and_a_note_are_the_same_in_the_task_and_for_the_steps_after_it(
    agent, liaison, api_for, output, note
):
    lease = _claimed(agent, started(agent, {}))
    path = f"/acts/tasks/{lease['task']['id']}"
    done = json_of(
        agent.post(f"{path}/complete", {"token": lease["token"], "outcome": "PASS", "output": output, "note": note})
    )

    for task in (done, json_of(agent.get(path))):
        assert same([task["output"], task["note"]], [output, note])
    run = json_of(agent.get(f"/acts/runs/{done['run_id']}"))
    assert same(run["steps"]["AI-Screen"]["output"], output)
    request = ActionRequest.objects.get(run=done["run_id"])
    shown = json_of(api_for(liaison).get(f"/hitl/requests/{request.pk}"))["context"]["input"]["data"]
    assert same(shown, {} if output is None else {"AI-Screen": output})


@few
@given(output=values)
@example(output=AWKWARD)
def test_a_completion_sent_again_is_recognised_whatever_it_says(agent, output):
    lease = _claimed(agent, started(agent, {}))
    body = {"token": lease["token"], "outcome": "PASS", "output": output}
    path = f"/acts/tasks/{lease['task']['id']}/complete"

    first, second = (json_of(agent.post(path, body)) for _ in range(2))

    assert first == second


labels = st.dictionaries(texts, texts.filter(lambda text: text.strip()), max_size=4)


@few
@given(labels=labels)
@example(labels={"": "x", "a:b": "c:d", "a.b": " x ", "é": "\u202e", "status__in": "1", "payload": "\x01"})
def test_labels_are_the_same_and_find_their_run(agent, labels):
    run_id = started(agent, {}, labels=labels)

    found = json_of(agent.get("/acts/runs", {"label": [f"{key}:{value}" for key, value in labels.items()]}))
    assert same(json_of(agent.get(f"/acts/runs/{run_id}"))["labels"], labels)
    if all(":" not in key for key in labels):  # the first colon ends the key
        assert run_id in [run["run_id"] for run in found["results"]]


short = texts.filter(lambda text: text.strip())


@few
@given(
    title=short, description=texts, context=objects, workflow_id=texts, fields=st.dictionaries(texts, short, max_size=3)
)
@example(
    title=AWKWARD["bidi"],
    description=AWKWARD["control"],
    context=AWKWARD,
    workflow_id=AWKWARD["emoji"],
    fields={"": "an empty key", "a.b": AWKWARD["markup"], "$ref": "#"},
)
def test_a_question_and_its_answer_are_the_same(
    agent, liaison, api_for, title, description, context, workflow_id, fields
):
    asked = {
        "title": title,
        "description": description,
        "context": context,
        "workflow_id": workflow_id,
        "required_fields": fields,
    }
    made = json_of(agent.post("/hitl/requests", {**asked, "role": "human:police_liaison"}), 201)
    answer = {name: f"{text} \u200b" for name, text in fields.items()}
    said = {"response_data": answer, "notes": description}
    decided = json_of(api_for(liaison).post(f"/hitl/requests/{made['id']}/fulfill", said))

    for found in (made, json_of(agent.get(f"/hitl/requests/{made['id']}"))):
        assert same({name: found[name] for name in asked}, asked)
    assert same([decided["response_data"] or {}, decided["notes"]], [answer, description])


@few
@given(message=texts, error_type=texts, reason=texts)
@example(message=AWKWARD["control"], error_type="\u202e", reason="\ufeff")
def test_the_words_of_a_fault_and_of_a_cancelling_are_kept_as_they_are(agent, message, error_type, reason):
    lease = _claimed(agent, started(agent, {}))
    said = {"token": lease["token"], "error_type": error_type, "message": message, "retryable": False}
    failed = json_of(agent.post(f"/acts/tasks/{lease['task']['id']}/fail", said))
    assert same([failed["error_type"], failed["error_message"]], [error_type, message])

    json_of(agent.patch(f"/acts/runs/{started(agent, {})}/cancel", {"reason": reason}))


@few
@given(reason=short, context=objects)
@example(reason=AWKWARD["combining"][:200], context=AWKWARD)
def test_a_question_in_mid_task_is_the_same_for_the_person_who_reads_it(agent, liaison, api_for, reason, context):
    lease = _claimed(agent, started(agent, AWKWARD))
    path = f"/acts/tasks/{lease['task']['id']}/request-approval"
    said = {"token": lease["token"], "reason": reason, "context": context, "role": "human:police_liaison"}
    asked = json_of(agent.post(path, said))

    shown = json_of(api_for(liaison).get(f"/hitl/requests/{asked['request_id']}"))
    assert same([shown["title"], shown["context"]], [reason, context])


counter = itertools.count()


@few
@given(title=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).filter(str.strip))
@example(title=AWKWARD["emoji"])
@example(title=AWKWARD["bidi"])
def test_a_playbooks_document_is_the_same(api_for, everybody, title):
    api = api_for(everybody)
    document = {**steps({"id": "look", "role": "agent:validator"}, id=f"p{next(counter)}"), "title": title}

    answer = api.post("/acts/playbooks", document)
    if answer.status_code == 422:  # a title may be refused; it is never changed
        assert answer.json()["errors"][0]["path"] == "title"
        return
    assert same(json_of(answer, 201)["title"], title)
    stored = json_of(api.get(f"/acts/playbooks/{document['id']}/versions/1"))["document"]
    assert same(stored["title"], title)


def test_numbers_are_kept_by_value_and_a_minus_before_zero_says_nothing(agent):
    body = b'{"playbook": "protest_permit", "payload": {"n": [-0.0, -0, 1.0, 1e0, 1E+2, 0.10, 123456789.125]}}'
    run_id = json_of(agent.generic("POST", "/acts/run", body, content_type="application/json"), 202)["run_id"]
    answer = agent.get(f"/acts/runs/{run_id}").content

    shown = json.loads(answer)["payload"]["n"]
    assert shown == [0, 0, 1, 1, 100, 0.1, 123456789.125]
    assert b"-0" not in answer.partition(b'"payload":')[2].partition(b"]")[0]
    assert Run.objects.get(pk=run_id).payload["n"] == shown
