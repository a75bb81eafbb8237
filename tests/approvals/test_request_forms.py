# SPDX-License-Identifier: Apache-2.0
"""What a request asks for: forms and options, judged when it is made, and answers, judged before anything moves."""

import pytest

from approvals import asking, services
from approvals.models import ActionRequest, RequestState, Vote
from audit.models import Entry
from config.errors import Invalid
from tests.approvals.pages import opened, read, sent
from tests.factories import reloaded, started, steps, tasks_of

pytestmark = pytest.mark.django_db

ROLE = "human:police_liaison"
REQUESTS = "/hitl/requests"
FORM = {
    "type": "object",
    "properties": {
        "officers": {"type": "integer", "minimum": 1, "title": "Officers"},
        "remark": {"type": "string", "maxLength": 20, "title": "Remark"},
        "code": {"type": "string", "format": "password", "minLength": 6, "title": "Code"},
    },
    "required": ["officers", "code"],
}


def asked(by, **given):
    return asking.create_request(**{"actor": by, "title": "How many?", "role": ROLE, **given})


def everything():
    """All that a decision could move."""
    return (
        list(ActionRequest.objects.values_list("pk", "state", "response_data", "updated_at")),
        Vote.objects.count(),
        Entry.objects.count(),
    )


# T14 ------------------------------------------------------------------------------------------------------


def test_t14_an_answer_that_does_not_fit_changes_nothing_keeps_the_text_and_the_second_try_works(
    validator, liaison, client_for
):
    request, browser = asked(validator, form=FORM), client_for(liaison)
    before = everything()
    typed = {
        "answer-officers": "0",
        "answer-remark": "by noon",
        "answer-code": "s3cret-s3cret",
        "reason": "As planned.",
    }

    refused = sent(browser, request, "PASS", **typed)

    assert refused.status_code == 422
    assert everything() == before
    page = read(refused)
    assert "Ensure this value is greater than or equal to 1." in page.words
    values = {
        one["name"]: one.get("value", "") for one in page.all("input") if one.get("name", "").startswith("answer-")
    }
    assert values == {"answer-officers": "0", "answer-remark": "by noon", "answer-code": ""}
    assert "As planned." in page.words
    assert page.all("input", name="outcome", value="PASS")[0].get("checked") == ""
    assert sent(browser, request, "PASS", **{**typed, "answer-officers": "4"}).status_code == 303
    assert reloaded(request).response_data == {"officers": 4, "remark": "by noon", "code": "••••••••"}


@pytest.mark.parametrize(
    ("answer", "paths"),
    [
        ({}, ["response_data", "response_data"]),
        ({"officers": 0, "code": "s3cret"}, ["response_data.officers"]),
        ({"officers": "4", "code": "s3cret"}, ["response_data.officers"]),
        ({"officers": 4, "code": "s3"}, ["response_data.code"]),
        ({"officers": 4, "code": "s3cret", "remark": "x" * 21}, ["response_data.remark"]),
    ],
)
def test_t14_over_the_api_too_nothing_is_saved_and_the_second_try_works(validator, liaison, api_for, answer, paths):
    request, desk = asked(validator, form=FORM), api_for(liaison)
    at = f"{REQUESTS}/{request.pk}/fulfill"
    before = everything()

    refused = desk.post(at, {"response_data": answer})

    assert refused.status_code == 422
    assert [one["path"] for one in refused.json()["errors"]] == paths
    assert everything() == before
    assert desk.post(at, {"response_data": {"officers": 4, "code": "s3cret"}}).status_code == 200


def test_t14_a_steps_answer_that_does_not_fit_moves_neither_task_nor_run(liaison):
    run = started(steps({"id": "plan", "role": ROLE, "form": FORM}, {"id": "b", "role": "agent:x"}))
    request = ActionRequest.objects.get(run=run)

    with pytest.raises(Invalid):
        services.decide(request_id=request.pk, actor=liaison, outcome="PASS", response_data={"officers": 0})

    assert reloaded(request).state == RequestState.PENDING
    assert [task.state for task in tasks_of(run)] == ["awaiting_approval"]


def test_to_reject_no_form_need_be_filled_in(validator, liaison, client_for):
    request = asked(validator, form=FORM)

    assert sent(client_for(liaison), request, "FAIL", reason="No need.").status_code == 303
    assert reloaded(request).response_data is None


# Forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "path"),
    [
        ({"type": "string"}, "form"),
        ({"type": "object", "$ref": "http://169.254.169.254/schema"}, "form.$ref"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}, "form.properties.a.$ref"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}}, "form.properties.a.pattern"),
        ({"type": "object", "patternProperties": {"(a+)+$": {}}}, "form.patternProperties"),
        (
            {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}},
            "form.properties.a.uniqueItems",
        ),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "form.properties.a.type"),
        ({"type": "object", "required": ["a"], "properties": {}}, "form.required[0]"),
        ({"type": "object", "title": "x" * 70_000}, "form"),
    ],
)
def test_a_form_that_could_do_harm_or_is_none_is_refused_when_it_is_asked(validator, api_for, form, path):
    answer = api_for(validator).post(REQUESTS, {"title": "t", "role": ROLE, "form": form})

    assert answer.status_code == 422
    assert path in {one["path"] for one in answer.json()["errors"]}
    assert ActionRequest.objects.count() == 0


def test_a_form_nested_too_deeply_is_refused(validator):
    form = {"type": "object"}
    for _ in range(9):
        form = {"type": "object", "properties": {"a": form}}

    with pytest.raises(Invalid) as refused:
        asked(validator, form=form)
    assert any("nested" in one.message for one in refused.value.errors)


def test_a_form_of_the_safe_part_is_asked_as_fields(validator, liaison, client_for, api_for):
    answer = api_for(validator).post(REQUESTS, {"title": "t", "role": ROLE, "form": FORM})
    request = ActionRequest.objects.get(pk=answer.json()["id"])

    page = opened(client_for(liaison), request)

    assert answer.json()["form"]["required"] == ["officers", "code"]
    assert [one["type"] for one in page.all("input") if one.get("name", "").startswith("answer-")] == [
        "number",
        "text",
        "password",
    ]


def test_the_fields_keep_the_order_in_which_they_were_asked(validator, liaison, client_for):
    names = ["zebra", "ant", "moth", "bee"]
    form = {"type": "object", "properties": {name: {"type": "string"} for name in names}}

    page = opened(client_for(liaison), asked(validator, form=form))

    fields = [one["name"] for one in page.all("input") if one.get("name", "").startswith("answer-")]
    assert fields == [f"answer-{name}" for name in names]


def test_fields_and_a_form_together_are_refused(validator):
    with pytest.raises(Invalid) as refused:
        asked(validator, form=FORM, required_fields={"a": "What?"})
    assert refused.value.errors[0].path == "required_fields"


def test_the_form_is_part_of_what_a_decision_binds(validator):
    first = asked(validator, form=FORM)
    second = asked(validator, form={**FORM, "required": []})

    assert first.digest != second.digest


def test_a_secret_deep_in_a_form_is_never_written_into_a_page_again(validator, liaison, client_for):
    deep = {
        "type": "object",
        "properties": {"b": {"type": "object", "properties": {"c": {"type": "string", "writeOnly": True}}}},
    }
    form = {
        "type": "object",
        "properties": {
            "login": deep,
            "pin": {"type": "integer", "writeOnly": True},
            "keys": {"type": "array", "items": {"type": "string", "format": "password"}},
            "pem": {"type": "string", "writeOnly": True, "format": "textarea"},
            "officers": {"type": "integer", "minimum": 1},
        },
    }
    request, browser = asked(validator, form=form), client_for(liaison)
    typed = {
        "answer-login.b": '{"c": "canary-1"}',
        "answer-pin": "271828",
        "answer-keys": '["canary-2"]',
        "answer-pem": "-----BEGIN\ncanary-3\n",
        "answer-officers": "0",
    }

    refused = sent(browser, request, "PASS", **typed)

    assert refused.status_code == 422
    assert not any(secret in refused.content.decode() for secret in ("canary", "271828"))
    assert sent(browser, request, "PASS", **{**typed, "answer-officers": "2"}).status_code == 303
    given = reloaded(request).response_data
    assert given == {"officers": 2, **dict.fromkeys(["login", "pin", "keys", "pem"], "••••••••")}


# Options --------------------------------------------------------------------------------------------------

OPTIONS = [
    {"key": "NORTH", "label": "The northern route"},
    {"key": "SOUTH"},
    {"key": "NEITHER", "label": "Neither", "ends": "fail"},
]


def test_options_are_offered_on_the_page_and_chosen_there(validator, liaison, client_for):
    request, browser = asked(validator, options=OPTIONS), client_for(liaison)

    page = opened(browser, request)

    assert page.outcomes == ["NORTH", "SOUTH", "NEITHER"]
    assert "The northern route" in page.words
    assert sent(browser, request, "NORTH").status_code == 303
    assert (reloaded(request).state, reloaded(request).outcome) == ("fulfilled", "NORTH")


def test_an_option_that_rejects_needs_a_reason_and_rejects(validator, liaison, api_for):
    request, desk = asked(validator, options=OPTIONS), api_for(liaison)
    at = f"{REQUESTS}/{request.pk}/fulfill"

    assert desk.post(at, {"outcome": "NEITHER"}).status_code == 422
    answer = desk.post(at, {"outcome": "NEITHER", "notes": "Both are closed."}).json()

    assert (answer["status"], answer["outcome"], answer["rejection_reason"]) == (
        "rejected",
        "NEITHER",
        "Both are closed.",
    )


def test_options_without_a_no_can_still_be_rejected(validator, liaison, client_for):
    page = opened(client_for(liaison), asked(validator, options=OPTIONS[:2]))

    assert page.outcomes == ["NORTH", "SOUTH", "FAIL"]


def test_an_outcome_that_was_not_offered_is_refused(validator, liaison):
    request = asked(validator, options=OPTIONS)

    with pytest.raises(Invalid, match="not among the options"):
        services.decide(request_id=request.pk, actor=liaison, outcome="WEST")


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ([{"key": "A"}, {"key": "A"}], "options[1].key"),
        ([{"key": "PASS", "ends": "fail"}], "options[0].key"),
        ([{"key": "FAIL"}], "options[0].key"),
        ([{"key": "A", "ends": "fail"}], "options"),
        ([{"key": f"K{number}"} for number in range(13)], "options"),
        ([{"key": "two words"}], "options[0].key"),
        ([{"key": "x" * 65}], "options[0].key"),
        ([{"key": "A", "label": "x" * 201}], "options[0].label"),
        ([{"key": "A", "ends": "maybe"}], "options[0].ends"),
        ([{"label": "no key"}], "options[0].key"),
        (["A"], "options"),
    ],
)
def test_options_that_cannot_be_offered_are_refused_when_it_is_asked(validator, api_for, options, path):
    answer = api_for(validator).post(REQUESTS, {"title": "t", "role": ROLE, "options": options})

    assert answer.status_code == 422
    assert any(one["path"].startswith(path) for one in answer.json()["errors"]), answer.json()
    assert ActionRequest.objects.count() == 0


def test_labels_of_options_are_text_and_hide_nothing(validator, liaison, client_for):
    options = [{"key": "A", "label": "<b>go</b>\u202e"}]

    page = client_for(liaison).get(f"/admin/approvals/actionrequest/{asked(validator, options=options).pk}/decide/")

    assert "&lt;b&gt;go&lt;/b&gt;&lt;U+202E&gt;" in page.content.decode()
