# SPDX-License-Identifier: Apache-2.0
"""What each field of a document becomes."""

import pytest

from playbooks.definition import (
    Branch,
    Call,
    Child,
    Foreach,
    Form,
    Handler,
    Jump,
    Option,
    Parallel,
    RetryPolicy,
    RetryRule,
    Step,
    StepKind,
    Switch,
    Timeouts,
    Wait,
)
from playbooks.parse import DocumentInvalid, parse, parse_data
from playbooks.schema import STEP_MODELS


def the_step(**fields):
    return parse_data({"id": "p", "steps": [{"id": "x", **fields}]}).definition.steps[0]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("agent", StepKind.AGENT),
        ("human", StepKind.HUMAN),
        ("hitl", StepKind.HUMAN),
        ("service", StepKind.SERVICE),
        ("script", StepKind.SERVICE),
        ("governance", StepKind.GOVERNANCE),
    ],
)
def test_types_and_their_other_words(word, kind):
    assert the_step(type=word).kind is kind


@pytest.mark.parametrize(
    ("role", "kind"),
    [("agent:a", StepKind.AGENT), ("human:b", StepKind.HUMAN), ("svc:c", StepKind.SERVICE)],
)
def test_without_a_type_the_role_tells_the_kind(role, kind):
    assert the_step(role=role) == Step("x", kind, role=role)


def test_a_script_without_a_call_runs_the_action_of_its_own_name_even_with_a_role():
    assert the_step(type="script", role="svc:finance").call == Call("x")


def test_a_service_step_with_a_role_and_no_call_waits_for_a_client_of_the_role():
    assert the_step(type="service", role="svc:finance").call is None


def test_a_service_step_with_neither_role_nor_call_calls_the_action_of_its_own_name():
    assert the_step(type="service") == Step("x", StepKind.SERVICE, role="svc:x", call=Call("x"))


def test_a_role_given_beside_service_and_action_is_kept():
    step = the_step(service="ResponseService", action="fetchNew", role="svc:census")

    assert (step.role, step.call) == ("svc:census", Call("ResponseService.fetchNew"))


@pytest.mark.parametrize("kind", ["agent", "human", "service", "governance"])
def test_a_field_that_is_null_counts_as_left_out(kind):
    fields = STEP_MODELS[StepKind(kind)].model_fields
    nothing = {name: None for name in fields if name not in ("id", "type")}

    assert the_step(**nothing, type=kind) == the_step(type=kind)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("hms_ach.charge $40", Call("hms_ach.charge", {"amount": "40.00", "currency": "USD"})),
        ("hms_ach.charge $40.5", Call("hms_ach.charge", {"amount": "40.50", "currency": "USD"})),
        ("hms_ach.charge $0040.05", Call("hms_ach.charge", {"amount": "40.05", "currency": "USD"})),
        ("hms_ach.charge", Call("hms_ach.charge")),
        ("mail.send copies=2", Call("mail.send", {"copies": "2"})),
        ("mail.send to='the clerk' x=", Call("mail.send", {"to": "the clerk", "x": ""})),
        ("fee.take $5 for=permit", Call("fee.take", {"amount": "5.00", "currency": "USD", "for": "permit"})),
        ({"action": "mail.send"}, Call("mail.send")),
        ({"action": "mail.send", "arguments": {"copies": 2}}, Call("mail.send", {"copies": 2})),
    ],
)
def test_calls_of_services(call, expected):
    assert the_step(type="service", call=call).call == expected


def test_calls_of_agents_and_people_may_be_plain_words():
    words = "Check the applicant's form, and say why"

    assert the_step(role="agent:a", call=words).call == Call(words)
    assert the_step(role="human:a", call={"action": words}).call == Call(words)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (900, 900),
        ("15m", 900),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1w", 604_800),
        ("90s", 90),
        ("PT15M", 900),
        ("P1DT2H", 93_600),
        ("P1W", 604_800),
    ],
)
def test_durations(written, seconds):
    assert the_step(role="human:a", token_ttl=written).token_ttl_seconds == seconds


def test_the_four_clocks():
    clocks = {"schedule_to_start": "1h", "start_to_close": 60, "schedule_to_close": "PT2H", "heartbeat": "30s"}

    assert the_step(role="agent:a", timeouts=clocks).timeouts == Timeouts(3600, 60, 7200, 30)


def test_a_whole_retry_policy():
    policy = {
        "maximum_attempts": 7,
        "initial_interval": "1.5s",
        "backoff_coefficient": 3,
        "maximum_interval": 60,
        "jitter": "none",
        "non_retryable_error_types": ["CardDeclined"],
        "retry_rules": [
            {"error_type": "Busy", "action": "RETRY", "delay": "1m", "reason": "The bank closes its books at two."},
            {"error_type": "Refused", "action": "FAIL"},
        ],
    }

    assert the_step(role="agent:a", retries=policy).retries == RetryPolicy(
        maximum_attempts=7,
        initial_interval=1.5,
        backoff_coefficient=3.0,
        maximum_interval=60.0,
        jitter="none",
        non_retryable_error_types=("CardDeclined",),
        rules=(
            RetryRule("Busy", "RETRY", 60.0, "The bank closes its books at two."),
            RetryRule("Refused", "FAIL"),
        ),
    )


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (3, 4), ({}, 4)])
def test_retries_as_a_number_or_an_empty_policy(retries, attempts):
    assert the_step(role="agent:a", retries=retries).retries == RetryPolicy(maximum_attempts=attempts)


def test_options_are_words_or_say_more():
    options = ["approve", {"key": "defer", "label": "Ask again later"}, {"key": "refuse", "ends": "fail"}]
    step = the_step(role="human:a", options=options)

    assert step.options == (
        Option("approve", "approve"),
        Option("defer", "Ask again later"),
        Option("refuse", "refuse", "fail"),
    )
    assert [step.ends_failed(option.key) for option in step.options] == [False, False, True]


def test_an_option_named_fail_does_not_disarm_the_verdict():
    step = the_step(role="human:a", options=["PASS", "FAIL"])

    assert step.ends_failed("FAIL")
    assert not step.ends_failed("PASS")


def test_what_is_said_of_every_step():
    step = the_step(
        role="human:a",
        title="Approve",
        description="Look at the route.",
        max_minutes=30,
        severity="high",
        priority="critical",
        policy={"required_approvals": 2},
        effect="once",
        on_failure="CONTINUE",
        on_reject="SKIP_DOWNSTREAM",
        on_exhausted="INCIDENT",
        when="payload.crowd > 500",
        input={"form": "payload.form_id", "copies": 2},
        output={"risk": "output.risk"},
        compensate="hms_ach.refund $40",
    )

    assert step == Step(
        "x",
        StepKind.HUMAN,
        role="human:a",
        title="Approve",
        description="Look at the route.",
        max_minutes=30,
        severity="high",
        priority="critical",
        policy={"required_approvals": 2},
        effect="once",
        on_failure="CONTINUE",
        on_reject="SKIP_DOWNSTREAM",
        on_exhausted="INCIDENT",
        when="payload.crowd > 500",
        input={"form": "payload.form_id", "copies": 2},
        output={"risk": "output.risk"},
        compensate=Call("hms_ach.refund", {"amount": "40.00", "currency": "USD"}),
    )


def test_the_web_form():
    form = {"public": True, "title": "March", "intro": "Tell us.", "thanks": "We write to you."}

    assert parse_data({"id": "p", "steps": [], "web_form": form}).definition.form == Form(
        True, "March", "Tell us.", "We write to you."
    )


def test_schemas_keep_the_order_of_their_properties():
    inner = {"type": "object", "properties": {"zip": {}, "city": {}}}
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "date": {}, "address": inner}}
    parsed = parse_data(
        {"id": "p", "steps": [{"id": "x", "role": "human:a", "form": schema}], "payload_schema": schema}
    )

    ordered = {
        **schema,
        "x-order": ["name", "date", "address"],
        "properties": {**schema["properties"], "address": {**inner, "x-order": ["zip", "city"]}},
    }
    assert parsed.definition.payload_schema == ordered
    assert parsed.definition.steps[0].form == ordered
    assert parsed.document["payload_schema"] == ordered, "what is stored must not lose the order either"
    assert parsed.document["steps"][0]["form"] == ordered


def test_an_order_that_is_given_comes_first():
    schema = {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "x-order": ["c"]}
    parsed = parse_data({"id": "p", "steps": [], "payload_schema": schema})

    assert parsed.definition.payload_schema["x-order"] == ["c", "a", "b"]


def test_parallel_branches():
    step = the_step(
        type="parallel",
        join=1,
        on_branch_failure="WAIT_ALL",
        max_concurrency=2,
        branches=[
            {"key": "fire", "steps": [{"id": "a", "type": "agent"}, {"id": "b", "type": "agent"}]},
            {"tasks": [{"id": "c", "type": "hitl"}]},
        ],
    )

    assert [(branch.key, [inner.id for inner in branch.steps]) for branch in step.branches] == [
        ("fire", ["a", "b"]),
        ("branch-2", ["c"]),
    ]
    assert step.shape == Parallel(join=1, on_branch_failure="WAIT_ALL", max_concurrency=2)


def test_a_key_that_is_made_up_is_not_one_that_is_given():
    step = the_step(type="parallel", branches=[{"steps": []}, {"key": "branch-1", "steps": []}])

    assert [branch.key for branch in step.branches] == ["branch-1-", "branch-1"]


def test_foreach():
    step = the_step(
        type="foreach",
        items="payload.regions",
        tolerated_failure_percentage=10,
        steps=[{"id": "a", "type": "agent"}],
    )

    assert step.branches == (Branch("each", (Step("a", StepKind.AGENT, role="agent:a"),)),)
    assert step.shape == Foreach("payload.regions", tolerated_failure_percentage=10)


def test_switch():
    step = the_step(
        type="switch",
        cases=[
            {"key": "large", "when": "payload.crowd > 500", "steps": [{"id": "a", "type": "agent"}]},
            {"steps": []},
        ],
    )

    assert [(branch.key, step.shape.condition(branch)) for branch in step.branches] == [
        ("large", "payload.crowd > 500"),
        ("case-2", ""),
    ]


def test_an_outcome_can_be_the_case_of_a_switch():
    decide = {"id": "Human-Approve", "type": "human", "options": ["defer"]}
    switch = {"type": "switch", "on": "Human-Approve", "cases": [{"case": "defer", "steps": []}, {"steps": []}]}
    step = parse_data({"id": "p", "steps": [decide, switch]}).definition.step("switch-1")

    assert step.shape == Switch(on="Human-Approve")
    assert step.branches == (Branch("case-1", (), case="defer"), Branch("case-2", ()))
    assert step.shape.condition(step.branches[0]) == 'steps["Human-Approve"].outcome == "defer"'


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"duration": "2d"}, Wait(duration=172_800)),
        ({"until": "2026-06-01T09:00:00-04:00"}, Wait(until="2026-06-01T09:00:00-04:00")),
        ({"until": "payload.event_date"}, Wait(until="payload.event_date")),
        ({"signal": "payment-received"}, Wait(signal="payment-received")),
        ({"signal": "payment-received", "timeout": "3d"}, Wait(signal="payment-received", timeout=259_200)),
    ],
)
def test_wait(fields, shape):
    assert the_step(type="wait", **fields).shape == shape


def test_a_playbook_within_a_playbook():
    step = the_step(type="playbook", playbook="export_license", version=2, input={"form": "payload.form_id"})

    assert step.shape == Child("export_license", version=2, parent_close_policy="TERMINATE")
    assert step.input == {"form": "payload.form_id"}


def test_a_failure_can_branch_to_a_later_step():
    steps = [{"id": "a", "type": "agent", "on_failure": {"to": "c"}}, *({"id": i, "type": "agent"} for i in "bc")]

    assert parse_data({"id": "p", "steps": steps}).definition.steps[0].on_failure == Jump("c")


def test_a_rejection_can_branch_to_steps_of_its_own_after_which_the_run_fails_unless_they_say_otherwise():
    tell = {"id": "tell", "type": "agent"}
    step = the_step(type="human", on_reject={"steps": [tell]}, on_failure={"tasks": [], "then": "CONTINUE"})

    assert step.on_reject == Handler((Step("tell", StepKind.AGENT, role="agent:tell"),), then="FAIL_RUN")
    assert step.on_failure == Handler((), then="CONTINUE")


def test_what_undoes_a_step_is_a_service_step_in_the_same_name():
    charge = the_step(role="svc:finance", call="hms_ach.charge", compensate="hms_ach.refund", retries=9)
    letter = the_step(role="human:clerk", compensate="permit.withdraw")

    assert charge.undoing == Step(
        "x",
        StepKind.SERVICE,
        role="svc:finance",
        call=Call("hms_ach.refund"),
        retries=RetryPolicy(maximum_attempts=10),
        on_exhausted="INCIDENT",
    )
    assert (letter.undoing.kind, letter.undoing.role) == (StepKind.SERVICE, "svc:x")


def test_every_step_is_found_by_its_id_and_knows_its_list():
    fan = {"id": "fan", "type": "parallel", "branches": [{"steps": [{"id": i, "type": "agent"} for i in "ab"]}]}
    last = {"id": "z", "type": "agent", "on_failure": {"steps": [{"id": "tell", "type": "agent"}]}}
    definition = parse_data({"id": "p", "steps": [fan, last]}).definition

    assert [step.id for step in definition.walk()] == ["fan", "a", "b", "z", "tell"]
    assert [(place.index, len(place.block)) for place in definition.places.values()] == [
        (0, 2),
        (0, 2),
        (1, 2),
        (1, 2),
        (0, 1),
    ]
    with pytest.raises(KeyError):
        definition.step("unknown")


def test_steps_that_shape_a_run_are_named_in_order_if_they_have_no_id():
    group = {"type": "parallel", "tasks": [{"type": "wait", "duration": 1}, {"id": "wait-1", "type": "agent"}]}
    definition = parse_data({"id": "p", "steps": [group, {"type": "wait", "signal": "go"}]}).definition

    assert [step.id for step in definition.walk()] == ["parallel-1", "wait-2", "wait-1", "wait-3"]


@pytest.mark.parametrize("given", ["protest_permit", "CensusDailyUpdate", "7", "a.b-c_d", "x" * 100])
def test_ids_of_playbooks(given):
    assert parse_data({"id": given, "steps": []}).definition.id == given
    assert parse_data({"steps": []}, default_id=given).definition.id == given


def test_the_documents_own_id_comes_before_the_name_it_came_with():
    assert parse_data({"id": "mine", "steps": []}, default_id="file").definition.id == "mine"


@pytest.mark.parametrize("given", ["", "-a", "a b", "ä", "a/b", "x" * 101, "a\n"])
def test_what_cannot_be_an_id(given):
    with pytest.raises(DocumentInvalid):
        parse_data({"id": given, "steps": []})
    with pytest.raises(DocumentInvalid):
        parse_data({"steps": []}, default_id=given)


def test_the_lines_of_steps_are_known_for_json_and_yaml_and_not_for_data():
    text = '{"id": "p", "steps": [\n  {"id": "a", "type": "agent"},\n\n  {"type": "wait", "duration": 1}\n]}'

    assert parse(text).lines == {"a": 2, "wait-1": 4}
    assert parse("id: p\nsteps:\n- id: a\n  type: agent\n-\n  type: wait\n  duration: 1\n").lines == {
        "a": 3,
        "wait-1": 6,
    }
    assert parse_data({"id": "p", "steps": [{"id": "a", "type": "agent"}]}).lines is None
