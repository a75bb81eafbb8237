# SPDX-License-Identifier: Apache-2.0
"""A playbook written in Python becomes a document of exactly what was given, is judged by the server, and saved."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hms_act import Conflict, Invalid, Playbook, StaleRevision, Step
from hms_act.playbook import save_document
from tests.sdk.wire import Answer, problem

VALIDATE = "POST /acts/playbooks/validate"
CREATE = "POST /acts/playbooks"
ADD = "POST /acts/playbooks/protest_permit/versions"
FIRST, SECOND = (f"GET /acts/playbooks/protest_permit/versions/{number}" for number in (1, 2))

VALID = Answer(200, {"valid": True, "publishable": True, "errors": [], "notes": [], "digest": "sha256:1"})
EXISTS = problem(409, "playbook_exists", "There is a playbook protest_permit already.")


def created(number: int = 1) -> Answer:
    versions = [{"version": number, "state": "draft", "digest": "sha256:1"}]
    return Answer(201, {"id": "protest_permit", "number": 7, "title": "", "versions": versions})


def published(number: int = 1, *warnings: str) -> Answer:
    return Answer(200, {"version": number, "state": "published", "warnings": list(warnings)})


def draft(digest: str, number: int = 1) -> Answer:
    return Answer(200, {"version": number, "state": "draft", "digest": digest}, {"ETag": f'"{digest}-draft"'})


def permit() -> Playbook:
    return Playbook(id="protest_permit").add_step(Step("AI-Screen", role="agent:validator", call="ai.check"))


# --- the document


def test_the_document_holds_what_was_given_and_nothing_else():
    playbook = (
        Playbook(id="protest_permit", title="Protest permit", payload_schema={"type": "object"})
        .add_step(Step("AI-Screen", role="agent:validator", call="ai_validator.check_form", retries=3))
        .add_step(Step("Human-Approve", role="human:police_liaison", token_ttl=timedelta(minutes=30), max_minutes=60))
        .add_step(Step("Collect-Fee", type="service", call={"action": "hms_ach.charge"}, effect="once"))
    )

    assert playbook.to_document() == {
        "id": "protest_permit",
        "title": "Protest permit",
        "payload_schema": {"type": "object"},
        "steps": [
            {"id": "AI-Screen", "role": "agent:validator", "call": "ai_validator.check_form", "retries": 3},
            {"id": "Human-Approve", "role": "human:police_liaison", "token_ttl": 1800, "max_minutes": 60},
            {"id": "Collect-Fee", "call": {"action": "hms_ach.charge"}, "type": "service", "effect": "once"},
        ],
    }


def test_steps_stand_inside_composite_steps():
    branches = [
        [Step("A", role="agent:a")],
        [Step("B", role="agent:b", timeouts={"heartbeat": timedelta(seconds=1.5)})],
    ]

    document = Step("Both", type="parallel", branches=branches, join="ALL").to_document()

    assert document["branches"] == [
        [{"id": "A", "role": "agent:a"}],
        [{"id": "B", "role": "agent:b", "timeouts": {"heartbeat": 1.5}}],
    ]


def test_adding_a_step_changes_the_playbook_whether_or_not_it_is_chained():
    playbook = Playbook(id="p")

    playbook.add_step(Step("A"))
    playbook.add_step(Step("B"))

    assert [step.id for step in playbook.steps] == ["A", "B"]


names = st.text(min_size=1, max_size=20)
values = st.recursive(
    st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
named = st.fixed_dictionaries(
    {},
    optional={
        "role": st.none() | names,
        "call": st.none() | names,
        "retries": st.none() | st.integers(0, 10),
        "token_ttl": st.none() | st.integers(1) | st.timedeltas(timedelta(0), timedelta(days=9)),
        "max_minutes": st.none() | st.integers(1),
        "options": st.none() | st.lists(names, max_size=3),
    },
)
others = st.dictionaries(names.map(lambda name: f"x_{name}"), st.none() | values, max_size=3)


@given(st.lists(st.tuples(names, named, others), max_size=5), names, st.text(max_size=10))
def test_any_playbook_makes_a_json_document_with_its_steps_in_order_and_only_what_was_given(steps, id, title):
    playbook = Playbook(id=id, title=title)
    for step_id, fields, other in steps:
        playbook.add_step(Step(step_id, **fields, **other))

    document = playbook.to_document()

    assert json.loads(json.dumps(document)) == document
    assert (document["id"], document.get("title", "")) == (id, title)
    assert [step["id"] for step in document["steps"]] == [step_id for step_id, _, _ in steps]
    for step, (_, fields, other) in zip(document["steps"], steps, strict=True):
        meant = {name: value for name, value in (fields | other).items() if value is not None}
        assert step.keys() == {"id"} | meant.keys()
        assert all(step[name] == value for name, value in meant.items() if not isinstance(value, timedelta))


# --- saving it


def test_a_new_playbook_is_validated_stored_and_published(wire, client):
    wire.answers(VALIDATE, VALID)
    wire.answers(CREATE, created())
    wire.answers(FIRST, draft("sha256:1"))
    wire.answers(
        "POST /acts/playbooks/protest_permit/versions/1/publish", published(1, "Nobody has role agent:validator.")
    )

    version = permit().save(client=client)

    assert (version.playbook, version.number, version.state, version.created) == (
        "protest_permit",
        1,
        "published",
        True,
    )
    assert version.digest == "sha256:1"
    assert version.warnings == ("Nobody has role agent:validator.",)
    assert wire.heard[0].body == wire.heard[1].body == permit().to_document()


def test_a_document_without_an_id_is_stored_under_the_one_beside_it(wire, client):
    wire.answers(CREATE, created())

    version = save_document("protest_permit", {"steps": []}, publish=False, client=client)

    assert version.playbook == "protest_permit"
    assert wire.heard[0].query == {"id": "protest_permit"}


def test_a_playbook_that_exists_gets_a_new_version(wire, client):
    wire.answers(VALIDATE, VALID)
    wire.answers(CREATE, EXISTS)
    wire.answers(ADD, Answer(201, {"version": 2, "state": "draft", "digest": "sha256:2"}))
    wire.answers(SECOND, draft("sha256:2", 2))
    wire.answers("POST /acts/playbooks/protest_permit/versions/2/publish", published(2))

    version = permit().save(client=client)

    assert (version.number, version.state, version.created) == (2, "published", True)


def test_an_equal_document_makes_no_new_version(wire, client):
    wire.answers(VALIDATE, VALID)
    wire.answers(CREATE, EXISTS)
    wire.answers(ADD, Answer(200, {"version": 1, "state": "published", "digest": "sha256:1"}))

    version = permit().save(client=client)

    assert (version.number, version.state, version.created) == (1, "published", False)


def test_an_equal_document_that_is_still_a_draft_is_published(wire, client):
    wire.answers(VALIDATE, VALID)
    wire.answers(CREATE, EXISTS)
    wire.answers(ADD, Answer(200, {"version": 1, "state": "draft", "digest": "sha256:1"}))
    wire.answers(FIRST, draft("sha256:1"))
    wire.answers("POST /acts/playbooks/protest_permit/versions/1/publish", published(1))

    assert permit().save(client=client).state == "published"


def test_what_is_published_is_what_was_stored(wire, client):
    wire.answers(VALIDATE, VALID)
    wire.answers(CREATE, created())
    wire.answers(FIRST, draft("sha256:1"))
    wire.answers("POST /acts/playbooks/protest_permit/versions/1/publish", published(1))

    permit().save(client=client)

    assert wire.heard[-1].headers["if-match"] == '"sha256:1-draft"'


def test_what_somebody_edited_meanwhile_is_not_published(wire, client):
    wire.answers(VALIDATE, VALID)
    wire.answers(CREATE, created())
    wire.answers(FIRST, draft("sha256:of-somebody-else"))

    with pytest.raises(StaleRevision, match="Version 1 of protest_permit was edited before it was published"):
        permit().save(client=client)


def test_a_draft_is_stored_and_left_alone(wire, client):
    wire.answers(CREATE, created())

    version = permit().save(publish=False, client=client)

    assert (version.number, version.state) == (1, "draft")


@pytest.mark.parametrize(
    "judged", [{"valid": False}, {"valid": False, "publishable": False}, {"valid": True, "publishable": False}]
)
def test_what_cannot_be_published_is_refused_with_every_error_and_nothing_is_stored(wire, client, judged):
    errors = [{"path": "steps[0].call", "message": "This action is unknown.", "remedy": "Register it."}]
    wire.answers(VALIDATE, Answer(200, {**judged, "errors": errors}))

    with pytest.raises(Invalid, match=r"steps\[0\]\.call: This action is unknown\. Register it\."):
        permit().save(client=client)

    assert len(wire.heard) == 1


def test_another_conflict_is_not_taken_for_a_playbook_that_exists(wire, client):
    wire.answers(VALIDATE, VALID)
    wire.answers(CREATE, problem(409, "wrong_state"))

    with pytest.raises(Conflict):
        permit().save(client=client)
