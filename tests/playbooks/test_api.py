# SPDX-License-Identifier: Apache-2.0
"""`/acts/playbooks…`: documents in, versions out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from jsonschema import Draft202012Validator

from audit.models import Entry
from config.api import MAX_BODY_BYTES
from playbooks.models import Playbook, Version
from playbooks.services import WORDS_OF_THE_API
from tests.contract.answers import is_moment, json_of, paths_of, problem
from tests.factories import PERMIT, published
from tests.hostile.calls import api_calls
from tests.people import Api, person

pytestmark = pytest.mark.django_db

PLAYBOOK = {"id", "number", "title", "owner", "created_at", "current_version", "versions"}
VERSION = {"version", "state", "digest", "created_at", "created_by", "published_at", "retired_at"}
DETAIL = VERSION | {"playbook", "document"}
JUDGEMENT = {"valid", "publishable", "errors", "warnings", "notes", "digest"}

YAML = """\
# The protest permit
id: protest_permit
steps:
  - id: AI-Screen
    role: agent:validator
    call: ai_validator.check_form
  - {id: Human-Approve, role: "human:police_liaison"}
  - {id: Collect-Fee, role: "svc:finance"}
"""
WRONG = """{
  "id": "wrong",
  "steps": [
    {"id": "a", "role": "agent:x"},
    {"id": "a", "type": "agent", "rolle": "agent:x"}
  ]
}"""
HERE = "/acts/playbooks"


@pytest.fixture
def author(api_for, playbook_author) -> Api:
    return api_for(playbook_author)


@pytest.fixture
def chief(api_for) -> Api:
    """Who may write and publish."""
    return api_for(person("chief", "administrator"))


def sent(api: Api, path: str, text: str, content_type: str, method: str = "POST") -> Any:
    return api.generic(method, path, text.encode(), content_type=content_type)


# Writing ----------------------------------------------------------------------------------------------------


def test_a_document_becomes_a_playbook_with_a_draft(author):
    answer = json_of(author.post(HERE, PERMIT), 201)

    playbook = Playbook.objects.get()
    assert set(answer) == PLAYBOOK
    assert (answer["id"], answer["number"], answer["title"], answer["owner"]) == (
        "protest_permit",
        playbook.pk,
        "",
        "author",
    )
    assert answer["current_version"] is None
    (version,) = answer["versions"]
    assert set(version) == VERSION
    assert (version["version"], version["state"], version["created_by"]) == (1, "draft", "author")
    assert len(version["digest"]) == 64
    assert is_moment(version["created_at"])
    assert (version["published_at"], version["retired_at"]) == (None, None)


@pytest.mark.parametrize(
    "content_type", ["application/yaml", "text/yaml", "application/x-yaml", "text/yaml; charset=utf-8"]
)
def test_yaml_says_the_same_as_json_by_each_of_its_names(author, content_type):
    json_of(author.post(HERE, {**PERMIT, "id": "by_json"}), 201)
    json_of(sent(author, HERE, YAML.replace("protest_permit", "by_yaml"), content_type), 201)

    documents = {version.playbook.slug: version.document for version in Version.objects.select_related("playbook")}
    assert {**documents["by_yaml"], "id": ""} == {**documents["by_json"], "id": ""}


def test_a_document_without_a_name_is_named_beside_it(author):
    unnamed = {"tasks": [{"id": "fetch_data", "type": "script"}]}

    made = json_of(sent(author, f"{HERE}?id=license_renewal", json.dumps(unnamed), "application/json"), 201)
    assert made["id"] == "license_renewal"
    for id_beside in ("", "?id=", "?id=not%20a%20name", "?id=a%00b"):
        refused = sent(author, f"{HERE}{id_beside}", json.dumps(unnamed), "application/json")
        assert paths_of(problem(refused, 422, "invalid_document")) == ["id"]


def test_a_playbook_that_is_there_is_a_409_that_names_the_way(author):
    json_of(author.post(HERE, PERMIT), 201)

    document = problem(author.post(HERE, PERMIT), 409, "playbook_exists")

    assert "version" in document["detail"]
    assert Version.objects.count() == 1


def test_no_playbook_is_named_as_what_stands_in_the_place_of_an_id(author):
    words = {call.template.removeprefix(f"{HERE}/") for call in api_calls() if call.template.startswith(f"{HERE}/")}

    assert {word for word in words if word.isalpha()} == WORDS_OF_THE_API
    for word in WORDS_OF_THE_API:
        document = problem(author.post(HERE, {**PERMIT, "id": word}), 422, "invalid")
        assert paths_of(document) == ["id"]


@pytest.mark.parametrize("content_type", ["application/json", "application/yaml"])
def test_faults_name_line_place_reason_and_remedy(author, content_type):
    document = problem(sent(author, HERE, WRONG, content_type), 422, "invalid_document")

    faults = {(fault["path"], fault["line"]): fault for fault in document["errors"]}
    assert ("steps[1].rolle", 5) in faults
    assert all(fault["message"] and fault["remedy"] for fault in document["errors"])
    assert len(faults) > 1, "all of them at once"
    assert not Playbook.objects.exists()


@pytest.mark.parametrize(
    ("text", "content_type", "line"),
    [
        ('{"id": "x",\n "steps": [}', "application/json", 2),
        ('{"id": "x",\n "id": "y", "steps": []}', "application/json", 2),
        ('{"id": "x", "steps": [],\n\n "title": NaN}', "application/json", 3),
        ("id: x\nsteps: [\n", "application/yaml", 3),
        ("id: x\nid: y\nsteps: []\n", "application/yaml", 2),
        ("id: &name x\nsteps: [*name]", "application/yaml", 1),
    ],
)
def test_what_cannot_be_read_is_a_400_with_its_line(author, text, content_type, line):
    document = problem(sent(author, HERE, text, content_type), 400, "unparseable_document")

    assert document["errors"][0]["line"] == line


def test_yaml_that_is_called_json_is_a_400(author):
    problem(sent(author, HERE, YAML, "application/json"), 400, "unparseable")
    problem(sent(author, HERE, "just words", "application/json"), 400, "unparseable")


def test_what_is_no_utf8_is_a_400(author):
    for content_type in ("application/json", "application/yaml"):
        answer = author.generic("POST", HERE, "title: Müller".encode("latin-1"), content_type=content_type)
        problem(answer, 400, "unparseable_document")


@pytest.mark.parametrize("content_type", ["application/json", "application/yaml"])
def test_a_document_beyond_the_largest_body_is_a_413(author, content_type):
    text = json.dumps({**PERMIT, "description": "x" * MAX_BODY_BYTES})

    problem(sent(author, HERE, text, content_type), 413, "too_large")


def test_another_kind_of_document_is_a_415(author):
    problem(sent(author, HERE, "<playbook/>", "application/xml"), 415, "unsupported_media_type")


@pytest.mark.parametrize("body", ["[]", "null", '"protest_permit"', "{}", ""])
def test_what_is_no_playbook_is_a_422(author, body):
    document = problem(sent(author, HERE, body, "application/json"), 422, "invalid_document")

    assert document["errors"]


# Versions ---------------------------------------------------------------------------------------------------


def test_a_changed_document_is_the_next_draft_and_an_equal_one_is_no_new_version(author):
    json_of(author.post(HERE, PERMIT), 201)
    changed = {**PERMIT, "title": "Protest permit"}

    made = json_of(author.post(f"{HERE}/protest_permit/versions", changed), 201)
    again = json_of(author.post(f"{HERE}/protest_permit/versions", changed), 200)

    assert set(made) == DETAIL
    assert made == again
    assert (made["playbook"], made["version"], made["state"], made["document"]["title"]) == (
        "protest_permit",
        2,
        "draft",
        "Protest permit",
    )
    assert Version.objects.count() == 2


def test_a_version_is_cloned_into_the_next_draft(author):
    published()

    clone = json_of(author.post(f"{HERE}/protest_permit/versions", {"clone": 1}), 201)

    assert (clone["version"], clone["state"]) == (2, "draft")
    assert clone["document"] == json_of(author.get(f"{HERE}/protest_permit/versions/1"))["document"]
    assert Entry.objects.latest("id").data["cloned_from"] == 1


@pytest.mark.parametrize(
    ("number", "status", "code"), [(9, 404, "not_found"), (0, 422, "invalid"), ("1st", 422, "invalid")]
)
def test_what_is_not_there_cannot_be_cloned(author, number, status, code):
    published()

    problem(author.post(f"{HERE}/protest_permit/versions", {"clone": number}), status, code)


def test_the_document_of_another_playbook_is_a_422(author):
    json_of(author.post(HERE, PERMIT), 201)

    document = problem(author.post(f"{HERE}/protest_permit/versions", {**PERMIT, "id": "other"}), 422, "invalid")

    assert paths_of(document) == ["id"]


def test_a_draft_may_be_edited_in_place(author):
    json_of(author.post(HERE, PERMIT), 201)

    edited = json_of(author.put(f"{HERE}/protest_permit/versions/1", {**PERMIT, "title": "Edited"}))

    assert (set(edited), edited["document"]["title"], edited["version"]) == (DETAIL, "Edited", 1)


@pytest.mark.parametrize("state", ["published", "retired"])
def test_a_published_version_is_a_409_that_names_the_way(author, chief, state):
    published()
    if state == "retired":
        json_of(chief.post(f"{HERE}/protest_permit/versions/1/retire"))
    before = json_of(author.get(f"{HERE}/protest_permit/versions/1"))

    refused = author.put(f"{HERE}/protest_permit/versions/1", {**PERMIT, "title": "Edited"})

    document = problem(refused, 409, "version_published")
    assert "Clone" in document["detail"]
    assert '/acts/playbooks/protest_permit/versions with {"clone": 1}' in document["errors"][0]["remedy"]
    assert json_of(author.get(f"{HERE}/protest_permit/versions/1")) == before


# Publishing and retiring ------------------------------------------------------------------------------------


def test_publishing_freezes_the_draft_and_warns_of_roles_nobody_is_in(chief, validator):
    json_of(chief.post(HERE, PERMIT), 201)

    answer = json_of(chief.post(f"{HERE}/protest_permit/versions/1/publish"))

    assert set(answer) == VERSION | {"warnings"}
    assert (answer["version"], answer["state"]) == (1, "published")
    assert is_moment(answer["published_at"])
    assert [(each["code"], each["path"]) for each in answer["warnings"]] == [
        ("role_missing", "steps[1].role"),
        ("role_missing", "steps[2].role"),
    ]
    assert "human:police_liaison" in answer["warnings"][0]["message"]
    assert json_of(chief.get(f"{HERE}/protest_permit"))["current_version"] == 1


def test_publishing_again_is_the_same(chief):
    json_of(chief.post(HERE, PERMIT), 201)

    first, second = (json_of(chief.post(f"{HERE}/protest_permit/versions/1/publish", {})) for _ in range(2))

    assert {**first, "warnings": []} == second
    assert Entry.objects.filter(action="version.published").count() == 1


def test_what_cannot_run_is_not_published_and_every_reason_is_told(chief):
    unknown = [{"id": "a", "role": "svc:x", "call": "nobody.knows"}, {"id": "b", "role": "svc:x", "call": "nor.this"}]
    json_of(chief.post(HERE, {"id": "story", "steps": unknown}), 201)

    document = problem(chief.post(f"{HERE}/story/versions/1/publish"), 422, "invalid")

    assert [(each["code"], each["path"]) for each in document["errors"]] == [
        ("unknown_call", "steps[0].call"),
        ("unknown_call", "steps[1].call"),
    ]
    assert json_of(chief.get(f"{HERE}/story/versions/1"))["state"] == "draft"


def test_retiring_keeps_the_reason_and_a_draft_cannot_be_retired(chief):
    published()
    json_of(chief.post(f"{HERE}/protest_permit/versions", {"clone": 1}), 201)

    answer = json_of(chief.post(f"{HERE}/protest_permit/versions/1/retire", {"reason": "Superseded."}))

    assert (set(answer), answer["state"]) == (VERSION, "retired")
    assert is_moment(answer["retired_at"])
    assert Entry.objects.get(action="version.retired").note == "Superseded."
    problem(chief.post(f"{HERE}/protest_permit/versions/2/retire"), 409, "wrong_state")
    assert json_of(chief.get(f"{HERE}/protest_permit"))["current_version"] is None


@pytest.mark.parametrize("act", ["publish", "retire"])
def test_an_unknown_field_is_refused(chief, act):
    published()

    problem(chief.post(f"{HERE}/protest_permit/versions/1/{act}", {"force": True}), 422, "invalid")


# Who may ----------------------------------------------------------------------------------------------------


def test_authors_write_and_do_not_publish(author):
    json_of(author.post(HERE, PERMIT), 201)

    problem(author.post(f"{HERE}/protest_permit/versions/1/publish"), 403, "forbidden")
    problem(author.post(f"{HERE}/protest_permit/versions/1/retire"), 403, "forbidden")


@pytest.mark.parametrize("who", ["validator", "finance", "liaison", "auditor", "staff_member"])
def test_others_neither_write_nor_publish(api_for, request, who):
    published()
    api = api_for(request.getfixturevalue(who))

    problem(api.post(HERE, {**PERMIT, "id": "other"}), 403, "forbidden")
    problem(api.post(f"{HERE}/protest_permit/versions", {"clone": 1}), 403, "forbidden")
    problem(api.post(f"{HERE}/protest_permit/versions", {**PERMIT, "title": "x"}), 403, "forbidden")
    problem(api.put(f"{HERE}/protest_permit/versions/1", {**PERMIT, "title": "x"}), 403, "forbidden")
    problem(api.post(f"{HERE}/protest_permit/versions/1/publish"), 403, "forbidden")
    problem(api.post(f"{HERE}/protest_permit/versions/1/retire"), 403, "forbidden")
    assert Version.objects.count() == 1


# Reading ----------------------------------------------------------------------------------------------------


def test_a_playbook_is_found_by_its_id_and_by_its_number(author):
    version = published({**PERMIT, "title": "Protest permit"})

    by_id = json_of(author.get(f"{HERE}/protest_permit"))

    assert by_id == json_of(author.get(f"{HERE}/{version.playbook_id}"))
    assert (by_id["title"], by_id["current_version"]) == ("Protest permit", 1)
    shown = json_of(author.get(f"{HERE}/{version.playbook_id}/versions/1"))
    assert set(shown) == DETAIL
    assert shown["document"]["steps"] == PERMIT["steps"]


def test_an_id_of_digits_is_still_an_id(author):
    numbered = published({**PERMIT, "id": "2025"})

    assert json_of(author.get(f"{HERE}/2025"))["number"] == numbered.playbook_id


def test_versions_are_listed_newest_first_and_the_newest_published_one_is_current(author, chief):
    published()
    published({**PERMIT, "title": "Second"})
    json_of(author.post(f"{HERE}/protest_permit/versions", {"clone": 1}), 201)

    answer = json_of(author.get(f"{HERE}/protest_permit"))

    assert [version["version"] for version in answer["versions"]] == [3, 2, 1]
    assert answer["current_version"] == 2


def test_the_list_holds_all_playbooks(author):
    published()
    published({**PERMIT, "id": "other"})

    rows = json_of(author.get(HERE))["results"]

    assert [row["id"] for row in rows] == ["other", "protest_permit"]
    assert all(set(row) == PLAYBOOK for row in rows)


@pytest.mark.parametrize(("path", "statements"), [(HERE, 4), (f"{HERE}/protest_permit", 4)])
def test_the_number_of_statements_does_not_grow_with_the_rows(author, path, statements):
    """The key, its rate, the playbooks with their owners, their versions with their authors."""

    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            json_of(author.get(path))
        return len(captured)

    published()
    count()  # notes the use of the key, once a minute
    few = count()
    for number in range(4):
        published({**PERMIT, "title": f"Title {number}"})
        published({**PERMIT, "id": f"other_{number}"})

    assert (few, count()) == (statements, statements)


# Judging without keeping ------------------------------------------------------------------------------------


def test_a_good_document_is_judged_valid_with_the_digest_it_will_have(author):
    judgement = json_of(author.post(f"{HERE}/validate", PERMIT))

    assert set(judgement) == JUDGEMENT
    assert (judgement["valid"], judgement["publishable"], judgement["errors"]) == (True, True, [])
    assert not Playbook.objects.exists()
    assert judgement["digest"] == published().digest


def test_what_only_publishing_would_refuse_is_told_apart(author):
    document = {"id": "story", "steps": [{"id": "pay", "role": "svc:x", "call": "nobody.knows"}]}

    judgement = json_of(author.post(f"{HERE}/validate", document))

    assert (judgement["valid"], judgement["publishable"]) == (True, False)
    (error,) = judgement["errors"]
    assert (error["code"], error["path"], error["line"]) == ("unknown_call", "steps[0].call", 1)


def test_what_publishing_would_let_pass_is_told_with_place_and_remedy(author):
    judgement = json_of(sent(author, f"{HERE}/validate", "id: a\nsteps:\n- id: b\n  role: agent:c\n", "text/yaml"))

    (warning,) = judgement["warnings"]
    assert (judgement["publishable"], warning["code"], warning["line"]) == (True, "role_missing", 3)
    assert warning["remedy"] == "Give agent:c members: Roles, in the admin."


def test_silence_that_approves_nothing_and_secrets_without_a_key_ring_are_warned_of(author, settings):
    form = {"type": "object", "properties": {"key": {"type": "string", "format": "password"}}}
    silence = {"time": {"expires": "2d", "on_timeout": "approve"}}
    asking = {"id": "Ask", "role": "human:police_liaison", "severity": "high", "form": form, "policy": silence}
    document = {"id": "asking", "steps": [asking]}
    person("liz", "human:police_liaison")

    def codes():
        return [each["code"] for each in json_of(author.post(f"{HERE}/validate", document))["warnings"]]

    assert codes() == ["silence_approves_nothing"]
    settings.SECRETS_KEYS = ()
    assert codes() == ["silence_approves_nothing", "no_key_ring"]


@pytest.mark.parametrize(
    ("text", "content_type"),
    [(WRONG, "application/json"), (WRONG, "text/yaml"), ("{", "application/json"), ("a: [", "application/yaml")],
)
def test_a_wrong_document_is_an_answer_and_no_refusal(author, text, content_type):
    judgement = json_of(sent(author, f"{HERE}/validate", text, content_type))

    assert (judgement["valid"], judgement["publishable"], judgement["digest"]) == (False, False, None)
    assert all(fault["line"] and fault["message"] for fault in judgement["errors"])


def test_defaults_that_were_applied_are_told(author):
    judgement = json_of(author.post(f"{HERE}/validate", {"tasks": [{"id": "ai_analysis", "type": "agent"}]}))

    assert judgement["valid"]
    assert judgement["notes"]


def test_judging_is_for_people_and_for_whoever_may_write(api_for, liaison, validator):
    json_of(api_for(liaison).post(f"{HERE}/validate", PERMIT))

    problem(api_for(validator).post(f"{HERE}/validate", PERMIT), 403, "forbidden")


def test_the_schema_of_documents_is_a_json_schema_that_fits_them(author):
    schema = json_of(author.get(f"{HERE}/schema"))

    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(json.dumps(PERMIT)))
