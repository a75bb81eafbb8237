# SPDX-License-Identifier: Apache-2.0
"""The agent's side of a request: wait for it, take it back, find it again, and be fooled by nobody's imitation."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.db import connection

from approvals.asking import create_request
from approvals.cancelling import cancel_request
from approvals.claiming import claim_request
from approvals.models import OPEN_REQUESTS, ActionRequest, Vote
from approvals.revising import answer_info, request_info
from approvals.services import decide
from audit.models import Entry
from config.errors import AlreadyDecided, Forbidden, NotFound, WrongState
from runs import asking
from runs.stopping import cancel_run
from tests.contract import world as worlds
from tests.contract.answers import json_of, paths_of, problem
from tests.factories import claimed, later, reloaded, started, steps, waiting_for_a_person
from tests.hostile.calls import api_calls
from tests.people import agent
from tests.races import at_once, losers, winners

pytestmark = pytest.mark.django_db

ROLE = "human:police_liaison"
REQUESTS = "/hitl/requests"


def asked(by: Any, title: str = "May I?", **more: Any) -> ActionRequest:
    return create_request(actor=by, title=title, role=ROLE, **more)


def at(request: ActionRequest, act: str = "") -> str:
    return f"{REQUESTS}/{request.pk}{act}"


def acts(request: ActionRequest) -> list[str]:
    return list(Entry.objects.filter(request_id=request.pk).order_by("id").values_list("action", flat=True))


# Waiting --------------------------------------------------------------------------------------------------


def test_a_request_that_is_asked_for_tells_where_to_wait(api_for, validator):
    answer = api_for(validator).post(REQUESTS, {"title": "May I?", "role": ROLE})
    told = json_of(answer, 201)

    assert answer.headers["Location"] == f"{REQUESTS}/{told['id']}"
    assert told["wait_url"] == f"{REQUESTS}/{told['id']}?wait=30"
    assert told["events_url"] == f"/acts/events?request_id={told['id']}"
    for url in (told["wait_url"], told["events_url"]):
        json_of(api_for(validator).get(url))


def test_what_is_known_already_is_not_sent_again(api_for, validator, liaison):
    request, api = asked(validator), api_for(validator)
    known = api.get(at(request)).headers["ETag"]

    same = api.get(at(request), headers={"If-None-Match": known})
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", known)
    assert api.get(at(request), headers={"If-None-Match": f"W/{known}"}).status_code == 304
    claim_request(request_id=request.pk, actor=liaison)
    assert api.get(at(request), headers={"If-None-Match": known}).status_code == 304, "a claim is no news of the answer"
    request_info(request_id=request.pk, actor=liaison, question="Why?")

    changed = api.get(at(request), headers={"If-None-Match": known})
    assert json_of(changed)["status"] == "info_requested"
    assert changed.headers["ETag"] != known


def test_who_says_what_they_know_waits_for_any_change_and_others_for_the_end(api_for, validator, liaison):
    request, api = asked(validator), api_for(validator)
    known = api.get(at(request)).headers["ETag"]

    def waits(**headers: str) -> bool:
        return "HMS-Act-Wait" in api.get(at(request), {"wait": 5}, headers=headers).headers

    assert waits()
    assert waits(**{"If-None-Match": known})
    request_info(request_id=request.pk, actor=liaison, question="Why?")
    assert waits(), "it is not answered yet"
    assert not waits(**{"If-None-Match": known}), "it is another than that one"
    answer_info(request_id=request.pk, actor=validator, answer="Because.")
    decide(request_id=request.pk, actor=liaison, outcome="PASS")
    assert not waits()
    closed = api.get(at(request)).headers["ETag"]
    assert not waits(**{"If-None-Match": closed}), "nothing more will come"


@pytest.mark.parametrize(
    ("preference", "seconds"),
    [("wait=30", "30.0"), ("respond-async, wait=5", "5.0"), ('wait="7"', "7.0"), ("wait=900", "60"), ("wait=x", None)],
)
def test_a_preference_is_another_way_to_ask_for_waiting(api_for, validator, preference, seconds):
    answer = api_for(validator).get(at(asked(validator)), headers={"Prefer": preference})

    assert answer.headers.get("HMS-Act-Wait") == seconds
    assert ("Preference-Applied" in answer.headers) == (seconds is not None)


# Reading never carries anything out -----------------------------------------------------------------------


def rows_of_everything() -> dict[str, list[Any]]:
    """Every row of every table of ours, but for what counts calls and sessions."""
    with connection.cursor() as cursor:
        names = [
            name
            for name in connection.introspection.table_names(cursor)
            if not name.startswith(("django_", "sqlite_")) and name not in {"accounts_ratecount", "accounts_apikey"}
        ]
        found = {}
        for name in names:
            cursor.execute(f'SELECT * FROM "{name}"')
            found[name] = sorted(map(repr, cursor.fetchall()))
        return found


def test_reading_carries_nothing_out_whatever_is_read(settings):
    settings.CONNECTOR_HOSTS = frozenset({(worlds.CONNECTOR_HOST, None)})
    world = worlds.build()
    ids = {
        "run_id": world.run.pk,
        "task_id": world.held.task.pk,
        "request_id": world.asked.pk,
        "slug": "protest_permit",
        "number": 1,
        "rule_set": "fair",
        "signal": "paid",
    }
    reads = [call for call in api_calls() if call.method == "GET"]
    assert {"/acts/events", "/hitl/statistics", "/hitl/templates"} <= {call.template for call in reads}
    before = rows_of_everything()

    for call, name in itertools.product(reads, ("agent", "liaison", "auditor", "superuser")):
        path = call.path({**dict.fromkeys(_names(call.template), 1), **ids})
        assert world.clients[name].get(path).status_code < 500
        assert world.clients[name].get(path, headers={"If-None-Match": '"1-pending"'}).status_code < 500

    assert rows_of_everything() == before


def _names(template: str) -> list[str]:
    return [part.strip("{}") for part in template.split("/") if part.startswith("{")]


# Taking it back -------------------------------------------------------------------------------------------


def test_whoever_asked_takes_the_question_back_once(api_for, validator, liaison):
    request, api = asked(validator), api_for(validator)
    for _ in range(2):
        told = json_of(api.post(at(request, "/cancel"), {"reason": "found it myself"}))
        assert (told["status"], told["outcome"], told["rejection_reason"]) == ("cancelled", "", "")

    assert acts(request) == ["hitl.request.created", "hitl.request.cancelled"]
    with pytest.raises(WrongState):
        decide(request_id=request.pk, actor=liaison, outcome="PASS")


def test_nobody_else_takes_it_back(api_for, validator, liaison, superuser):
    request = asked(validator)

    problem(api_for(liaison).post(at(request, "/cancel"), {}), 403, "forbidden")
    problem(api_for(superuser).post(at(request, "/cancel"), {}), 403, "forbidden")
    problem(api_for(agent("stranger")).post(at(request, "/cancel"), {}), 404, "not_found")
    assert reloaded(request).state == "pending"


def test_what_is_decided_stays_decided(api_for, validator, liaison):
    request = asked(validator)
    decide(request_id=request.pk, actor=liaison, outcome="FAIL", reason="no")

    problem(api_for(validator).post(at(request, "/cancel"), {}), 409, "already_decided")
    assert reloaded(request).state == "rejected"


def test_the_question_of_a_step_is_not_taken_back_and_the_way_is_named(api_for, validator):
    permit = waiting_for_a_person(validator)
    starter = permit.run.started_by

    document = problem(api_for(starter).post(at(permit, "/cancel"), {}), 409, "wrong_state")

    assert f"/acts/runs/{permit.run_id}/cancel" in document["detail"]


@pytest.mark.django_db(transaction=True)
def test_of_a_decision_and_a_cancellation_at_once_one_counts(validator, liaison):
    for _ in range(5):
        request = asked(validator)
        results = at_once(
            lambda pk=request.pk: cancel_request(request_id=pk, actor=validator),
            lambda pk=request.pk: decide(request_id=pk, actor=liaison, outcome="PASS"),
        )
        assert len(winners(results)) == len(losers(results)) == 1
        assert isinstance(losers(results)[0], AlreadyDecided | WrongState)
        assert reloaded(request).state in ("cancelled", "fulfilled")


# Imitations and strays ------------------------------------------------------------------------------------


def test_t09_what_an_agent_sends_that_looks_like_an_approval_is_none(api_for, validator, liaison):
    """A signal named like the event, fields named like the answer, an approval in the context, a decision of its own:
    the request stays open, and no event says otherwise."""
    permit = waiting_for_a_person(validator)
    own = asked(validator, context={"status": "fulfilled", "decided_by": "liaison", "outcome": "PASS"})
    api = api_for(validator)

    for name in ("hitl.request.fulfilled", "fulfilled", "PASS"):
        api.post(f"/acts/runs/{permit.run_id}/signals/{name}", {"data": {"request_id": permit.pk, "outcome": "PASS"}})
    forged = api.post(REQUESTS, {"title": "x", "role": ROLE, "status": "fulfilled", "fulfilled_by": "liaison"})
    assert set(paths_of(problem(forged, 422, "invalid"))) == {"status", "fulfilled_by"}
    for request in (permit, own):
        for act, body in (("/fulfill", {}), ("/reject", {"reason": "no"}), ("/claim", {})):
            assert api.post(at(request, act), body).status_code in (403, 404)
        assert api.patch(at(request), {"status": "fulfilled"}).status_code >= 400
    api.post(f"/acts/tasks/{permit.task_id}/complete", {"outcome": "PASS"})
    api.post("/acts/events", {"type": "hitl.request.fulfilled", "data": {"request_id": permit.pk}})

    told = json_of(api_for(liaison).get("/acts/events", {"type": "hitl.request.fulfilled"}))
    assert told["results"] == []
    assert {reloaded(request).state for request in (permit, own)} == {"pending"}
    assert not Vote.objects.exists()
    assert reloaded(permit.run).state == "running"


TWO_QUESTIONS = steps(
    {
        "id": "both",
        "type": "parallel",
        "branches": [
            {"steps": [{"id": "Left", "role": ROLE}]},
            {"steps": [{"id": "Right", "role": ROLE}]},
        ],
    },
    id="two_questions",
)


@pytest.mark.parametrize("first", ["Left", "Right"])
def test_t13_two_open_requests_of_one_run_are_answered_in_any_order_each_by_its_own_id(api_for, liaison, first):
    run = started(TWO_QUESTIONS)
    by_step = {request.task.step: request for request in ActionRequest.objects.filter(run=run).select_related("task")}
    assert set(by_step) == {"Left", "Right"}
    second = ({"Left", "Right"} - {first}).pop()
    api, outcomes = api_for(liaison), {first: "PASS", second: "FAIL"}

    told = json_of(api.post(at(by_step[first], "/fulfill"), {"notes": f"the {first}"}))
    assert told["id"] == by_step[first].pk
    assert reloaded(by_step[second]).state == "pending"
    stale = api.post(at(by_step[first], "/reject"), {"reason": "changed my mind"})
    problem(stale, 409, "already_decided")
    json_of(api.post(at(by_step[second], "/reject"), {"reason": f"the {second}"}))

    for step, request in by_step.items():
        (vote,) = Vote.objects.filter(request=request.pk)
        assert vote.outcome == outcomes[step]
        assert vote.reason == f"the {step}"
        assert reloaded(request.task).outcome == outcomes[step]


def test_t13_the_answer_to_an_agents_earlier_question_does_not_answer_its_next_one(validator, liaison):
    """An agent asks twice in one task; what was said to the first is replayed."""
    started()
    lease = claimed(validator)
    token = lease.token

    def ask(reason: str) -> str:
        pk, _ = asking.request_approval(task_id=lease.task.pk, token=token, actor=validator, reason=reason, role=ROLE)
        return pk

    first = ask("May I begin?")
    decide(request_id=first, actor=liaison, outcome="PASS", reason="begin")
    token = asking.resume_task(task_id=lease.task.pk, token=token, actor=validator).token
    second = ask("May I end?")

    with pytest.raises(AlreadyDecided):
        decide(request_id=first, actor=liaison, outcome="FAIL", reason="replayed")
    assert ActionRequest.objects.get(pk=second).state in OPEN_REQUESTS
    with pytest.raises(WrongState):
        asking.resume_task(task_id=lease.task.pk, token=token, actor=validator)
    decide(request_id=second, actor=liaison, outcome="PASS", reason="end")
    assert asking.resume_task(task_id=lease.task.pk, token=token, actor=validator).task.approval["request"] == second


# Distinct ends --------------------------------------------------------------------------------------------


def test_the_ends_of_a_request_are_words_of_their_own(api_for, validator, liaison):
    """Status alone tells a no from a silence, a change of plan, and a run that went on without it."""
    rejected, cancelled, expired = asked(validator, "1"), asked(validator, "2"), asked(validator, "3")
    decide(request_id=rejected.pk, actor=liaison, outcome="FAIL", reason="no")
    cancel_request(request_id=cancelled.pk, actor=validator)
    later(seconds=1)
    row = ActionRequest.objects.get(pk=expired.pk)
    row.expire(at=row.created_at)
    row.save()
    permit = waiting_for_a_person(validator)
    cancel_run(run_id=permit.run_id, actor=permit.run.started_by)
    api = api_for(validator)

    def told(request: ActionRequest) -> tuple[str, str, str | None]:
        said = json_of(api.get(at(request)))
        return said["status"], said["outcome"], said["fulfilled_by"]

    assert told(rejected) == ("rejected", "FAIL", "liaison")
    assert told(cancelled) == ("cancelled", "", None)
    assert told(expired) == ("expired", "", None)
    assert told(permit) == ("not_required", "", None)


def test_a_stranger_learns_nothing_of_what_it_may_not_see(validator):
    request = asked(validator)
    with pytest.raises(NotFound):
        cancel_request(request_id=request.pk, actor=agent("stranger"))
    with pytest.raises(Forbidden):
        decide(request_id=request.pk, actor=validator, outcome="PASS")


# Working through what waits -------------------------------------------------------------------------------


def test_who_takes_the_oldest_first_reaches_every_request_though_more_comes_in(api_for, validator, liaison):
    waiting = [asked(validator, f"Question {number}").pk for number in range(4)]
    inbox, done = f"{REQUESTS}?status=pending&status=in_review&order=created_at&limit=1", []
    for number in range(4):
        (oldest,) = api_for(liaison).get(inbox).json()["results"]
        done.append(oldest["id"])
        decide(request_id=oldest["id"], actor=liaison, outcome="PASS")
        later(seconds=1)
        asked(validator, f"Newer {number}")

    assert done == waiting


def test_pages_of_the_oldest_first_leave_out_nothing_that_comes_in_between(api_for, validator, liaison):
    for number in range(3):
        asked(validator, f"Question {number}")
        later(seconds=1)
    page = api_for(liaison).get(f"{REQUESTS}?order=created_at&limit=2").json()
    asked(validator, "In between")
    rest = api_for(liaison).get(page["next"]).json()

    titles = [each["title"] for each in [*page["results"], *rest["results"]]]
    assert titles == ["Question 0", "Question 1", "Question 2", "In between"]
