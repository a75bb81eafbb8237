# SPDX-License-Identifier: Apache-2.0
"""Runs of composite steps over HTTP: what is shown of them, how they are ended, signalled and put right."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import Entry
from runs.models import Run, Task
from tests.contract.answers import is_moment, json_of, paths_of, problem
from tests.factories import published
from tests.people import Api, agent, person
from tests.runs.play import Play, child, foreach, parallel, switch, wait
from tests.runs.play import agent as step

pytestmark = pytest.mark.django_db

HELD = {"on_exhausted": "INCIDENT"}


@pytest.fixture
def api(api_for) -> Api:
    """Of somebody who may see and control every run."""
    return api_for(person("chief", "administrator"))


def shown(api: Api, play: Play):
    return json_of(api.get(f"/acts/runs/{play.run_id}"))


def tasks(api: Api, **query: object) -> list[str]:
    return [row["path"] for row in json_of(api.get("/acts/tasks", query))["results"]]


# What is shown --------------------------------------------------------------------------------------------


def test_current_steps_are_those_that_somebody_or_something_is_to_do(api):
    play = Play(parallel("check", [step("a")], [switch("which", {"steps": [wait("rest", duration="1h")]})]))

    answer = shown(api, play)

    assert (answer["current_step"], answer["current_steps"]) == ("a", ["a", "rest"])
    assert list(answer["steps"]) == ["check", "a", "which", "rest"]


def test_a_step_inside_items_is_one_line_that_says_how_many_stand_where(api):
    play = Play(foreach("each", "[1, 2, 3, 4]", step("a"), step("b"), tolerated_failure_count=4), step("end"))
    play.do("each[0]/a", "each[1]/a", output={"long": "text"})
    play.fail("each[2]/a")

    answer = shown(api, play)

    assert answer["current_steps"] == ["a", "b"]
    assert answer["steps"] == {
        "each": {"status": "pending", "outcome": None, "output": None, "attempts": 1},
        "a": {
            "status": "running", "outcome": None, "output": None, "attempts": 1,
            "items": {"completed": 2, "failed": 1, "running": 1},
        },
        "b": {"status": "pending", "outcome": None, "output": None, "attempts": 1, "items": {"pending": 2}},
    }  # fmt: skip

    play.do("each[0]/b", "each[1]/b", "each[3]/a", "each[3]/b")
    answer = shown(api, play)
    assert answer["current_steps"] == ["end"]
    assert answer["steps"]["a"]["items"] == {"completed": 3, "failed": 1}
    assert answer["steps"]["each"]["output"][0] == {"a": {"long": "text"}}


def test_of_items_only_the_newest_attempt_counts(api):
    play = Play(foreach("each", "[1, 2]", step("a", retries=2)))
    play.fail("each[0]/a", retryable=True)

    line = shown(api, play)["steps"]["a"]

    assert (line["items"], line["attempts"]) == ({"pending": 1, "running": 1}, 2)


def test_a_step_that_is_being_undone_keeps_its_own_line(api):
    play = Play(step("a", compensate="tests.charge"), step("b"))
    play.do("a", output={"id": 1})
    play.fail("b")

    answer = shown(api, play)

    assert answer["current_steps"] == ["a"]
    assert answer["steps"]["a"] == {"status": "completed", "outcome": "PASS", "output": {"id": 1}, "attempts": 1}


def test_incidents_that_wait_are_named_with_place_and_reason(api):
    play = Play(foreach("each", "[1, 2]", step("a", **HELD)))
    play.fail("each[1]/a")

    answer = shown(api, play)

    assert answer["incidents"] == [
        {"task": play.task("each[1]/a").pk, "step": "a", "path": "each[1]/a", "reason": "Broken: it is broken"}
    ]
    assert answer["steps"]["a"]["status"] == "incident"


def test_a_run_names_the_runs_it_has_started_and_they_name_it(api):
    published({"id": "inner", "steps": [step("work")]})
    play = Play(child("sub", "inner"))
    play.tick()
    inner = Run.objects.get(parent__run=play.run_id)

    answer = shown(api, play)
    assert answer["child_runs"] == [{"run_id": inner.pk, "path": "sub", "status": "running"}]
    assert (answer["parent_run"], answer["parent_task"]) == (None, None)
    answer = json_of(api.get(f"/acts/runs/{inner.pk}"))
    assert (answer["parent_run"], answer["parent_task"]) == (play.run_id, play.task("sub").pk)


def test_current_steps_are_fifty_at_most(api):
    play = Play(parallel("check", *([step(f"s{number}")] for number in range(60))))

    assert len(shown(api, play)["current_steps"]) == 50


def test_a_run_of_many_items_is_read_in_as_many_statements_as_one_of_few_and_stays_small(api):
    published({"id": "inner", "steps": [step("work")]})

    def read(items: int) -> tuple[int, int]:
        play = Play(
            foreach("each", "payload.items", step("a"), child("sub", "inner"), tolerated_failure_count=items),
            payload={"items": list(range(items))},
        )
        play.do(*(f"each[{number}]/a" for number in range(min(items, 3))), output={"text": "x" * 2000})
        with CaptureQueriesContext(connection) as captured:
            answer = api.get(f"/acts/runs/{play.run_id}")
        payload = len(json_of(answer)["payload"]["items"]) * 6
        return len(captured), len(answer.content) - payload

    read(2)  # notes the use of the key, once a minute
    (few, _), (many, size) = read(2), read(400)

    assert few == many == 9
    assert size < 6000


def test_a_task_says_what_it_was_given_and_which_item_it_is(api):
    play = Play(foreach("each", 'payload.regions', step("a", input={"name": "item.name"})), payload={
        "regions": [{"name": "north"}]})  # fmt: skip

    answer = json_of(api.get(f"/acts/tasks/{play.task('each[0]/a').pk}"))

    assert (answer["input"], answer["item"]) == ({"name": "north"}, {"name": "north"})
    around = json_of(api.get(f"/acts/tasks/{play.task('each').pk}"))
    assert (around["input"], around["item"]) == (None, None)


# Terminating ----------------------------------------------------------------------------------------------


def test_terminating_ends_a_run_at_once_and_keeps_the_reason(api):
    play = Play(step("a", compensate="tests.charge"), step("b"))
    play.do("a")
    play.claim("b")

    answer = json_of(api.patch(f"/acts/runs/{play.run_id}/terminate", {"reason": "A mistake."}))

    assert (answer["status"], answer["current_step"]) == ("terminated", None)
    assert play.states == {"a": "completed", "b": "cancelled"}
    assert Entry.objects.get(action="run.terminated").note == "A mistake."
    assert json_of(api.patch(f"/acts/runs/{play.run_id}/terminate", {"reason": "Again."}))["status"] == "terminated"


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": " "}])
def test_terminating_asks_for_a_reason(api, body):
    play = Play(step("a"))

    assert paths_of(problem(api.patch(f"/acts/runs/{play.run_id}/terminate", body), 422, "invalid")) == ["reason"]
    assert play.state == "running"


def test_who_may_terminate_and_what_has_ended(api, api_for, liaison):
    play = Play(step("a"))
    path, body = f"/acts/runs/{play.run_id}/terminate", {"reason": "No."}

    problem(api_for(play.agent).patch(path, body), 403, "forbidden")
    problem(api_for(agent("stranger")).patch(path, body), 404, "not_found")
    stale = api.patch(path, body, headers={"If-Match": '"99"'})
    problem(stale, 409, "stale_revision")
    play.do("a")
    problem(api.patch(path, body), 409, "wrong_state")


# Signals --------------------------------------------------------------------------------------------------


def test_a_signal_goes_to_the_step_that_waits_and_its_data_is_the_output(api):
    play = Play(wait("payment", signal="paid"), step("end"))

    answer = json_of(api.post(f"/acts/runs/{play.run_id}/signals/paid", {"data": {"amount": "40.00"}}))

    assert answer["current_steps"] == ["end"]
    assert answer["steps"]["payment"]["output"] == {"amount": "40.00"}


def test_a_signal_sent_again_under_its_key_is_sent_once(api):
    play = Play(wait("first", signal="paid"), wait("second", signal="paid"))

    for _ in range(2):
        json_of(api.post(f"/acts/runs/{play.run_id}/signals/paid", {}, headers={"Idempotency-Key": "k1"}))

    assert play.open == {"second"}


def test_signals_that_are_refused(api, api_for):
    play = Play(wait("payment", signal="paid", output={"amount": "output.amount"}))
    path = f"/acts/runs/{play.run_id}/signals"

    problem(api.post(f"{path}/two%20words", {}), 422, "invalid")
    problem(api.post(f"{path}/paid", {"data": {"sum": 1}}), 422, "invalid")
    problem(api.post(f"{path}/paid", {"sum": 1}), 422, "invalid")
    problem(api_for(agent("stranger")).post(f"{path}/paid", {}), 404, "not_found")
    json_of(api.post(f"{path}/paid", {"data": {"amount": 1}}))
    problem(api.post(f"{path}/paid", {}), 409, "wrong_state")


# Incidents ------------------------------------------------------------------------------------------------


def stuck() -> Play:
    play = Play(step("a", **HELD), step("b"))
    play.fail("a")
    return play


def test_incidents_are_listed_until_they_are_resolved(api):
    play = stuck()
    query = {"status": "incident", "unresolved": "true"}
    assert tasks(api, **query) == ["a"]
    assert tasks(api, unresolved="false") == []

    answer = json_of(
        api.post(
            f"/acts/tasks/{play.task('a').pk}/resolve",
            {"resolution": "skip", "reason": "By telephone.", "output": {"risk": "low"}},
        )
    )

    assert (answer["status"], answer["resolution"], is_moment(answer["resolved_at"])) == ("incident", "skip", True)
    assert tasks(api, **query) == []
    assert set(tasks(api, unresolved="false")) == {"a", "b"}
    assert shown(api, play)["steps"]["a"]["output"] == {"risk": "low"}


@pytest.mark.parametrize(("resolution", "state", "open"), [("retry", "running", {"a"}), ("fail", "failed", set())])
def test_an_incident_is_tried_again_or_let_fail(api, resolution, state, open):
    play = stuck()

    json_of(api.post(f"/acts/tasks/{play.task('a').pk}/resolve", {"resolution": resolution, "reason": "Seen to."}))

    assert (play.state, play.open) == (state, open)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"resolution": "skip"}, "reason"),
        ({"resolution": "skip", "reason": ""}, "reason"),
        ({"reason": "x"}, "resolution"),
        ({"resolution": "closed", "reason": "x"}, "resolution"),
        ({"resolution": "retry", "reason": "x", "output": {}}, "output"),
    ],
)
def test_what_resolves_nothing_is_a_422_that_names_the_field(api, body, path):
    play = stuck()

    assert paths_of(problem(api.post(f"/acts/tasks/{play.task('a').pk}/resolve", body), 422, "invalid")) == [path]
    assert play.incidents == {"a"}


def test_who_may_resolve_and_an_incident_is_resolved_once(api, api_for):
    play = stuck()
    task = play.task("a")
    path, body = f"/acts/tasks/{task.pk}/resolve", {"resolution": "skip", "reason": "Done."}

    problem(api_for(play.agent).post(path, body), 403, "forbidden")
    problem(api_for(agent("stranger")).post(path, body), 404, "not_found")
    etag = api.get(f"/acts/tasks/{task.pk}").headers["ETag"]
    json_of(api.post(path, body, headers={"If-Match": etag}))
    problem(api.post(path, body, headers={"If-Match": etag}), 409, "stale_revision")
    problem(api.post(path, body), 409, "wrong_state")
    assert Task.objects.filter(run=play.run_id, path="a").count() == 2
