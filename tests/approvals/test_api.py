# SPDX-License-Identifier: Apache-2.0
"""`/hitl/requests…`: asking a human, looking at what became of it, deciding."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import role_group
from approvals.models import ActionRequest, RequestType
from audit.models import Entry
from runs.stopping import cancel_run
from tests.contract.answers import is_moment, json_of, paths_of, problem
from tests.factories import PERMIT, founder, later, reloaded, waiting_for_a_person
from tests.people import Api, agent, person

pytestmark = pytest.mark.django_db

REQUESTS = "/hitl/requests"
OF_THE_FIELD = {  # as the field's own programs read and write them
    "id",
    "agent_id",
    "request_type",
    "title",
    "description",
    "required_fields",
    "priority",
    "context",
    "status",
    "created_at",
    "updated_at",
    "fulfilled_by",
    "fulfilled_at",
    "response_data",
    "notes",
    "rejection_reason",
    "workflow_id",
}
REQUEST = OF_THE_FIELD | {
    "severity",
    "role",
    "options",
    "form",
    "secret_fields",
    "action",
    "policy",
    "stage",
    "revision",
    "digest",
    "outcome",
    "decided_how",
    "assigned_to",
    "follow_up_at",
    "reason_code",
    "constraints",
    "exchange",
    "due_at",
    "expires_at",
    "run_id",
    "task_id",
    "template",
    "supersedes",
    "held_until",
    "superseded_by",
    "duplicate",
    "wait_url",
    "events_url",
}
ASKED = {
    "request_type": "api_key",
    "title": "A key for the map service",
    "description": "The screening agent looks places up.",
    "required_fields": {"api_key": "The key", "expires": "Until when it works"},
    "priority": "high",
    "context": {"service": "maps", "calls_per_day": 200},
    "workflow_id": "setup-7",
    "role": "human:police_liaison",
}


@pytest.fixture
def asker(api_for, validator) -> Api:
    return api_for(validator)


@pytest.fixture
def desk(api_for, liaison) -> Api:
    return api_for(liaison)


@pytest.fixture
def permit(validator, liaison) -> ActionRequest:
    """The open question of a run whose first step has passed."""
    return waiting_for_a_person(validator)


def at(request: Any, act: str = "") -> str:
    number = request if isinstance(request, str) else request.pk
    return f"{REQUESTS}/{number}/{act}".rstrip("/")


# Asking -----------------------------------------------------------------------------------------------------


def test_a_question_comes_back_with_its_number_and_every_field(asker):
    answer = json_of(asker.post(REQUESTS, ASKED), 201)

    request = ActionRequest.objects.get()
    assert set(answer) == REQUEST
    assert {name: answer[name] for name in ASKED} == ASKED
    assert (answer["id"], answer["agent_id"], answer["status"]) == (request.pk, "validator", "pending")
    assert request.pk.startswith("har_")
    assert is_moment(answer["created_at"])
    assert is_moment(answer["updated_at"])
    assert (answer["revision"], answer["severity"], len(answer["digest"])) == (1, "medium", 64)
    empty = ("fulfilled_by", "fulfilled_at", "response_data", "run_id", "task_id", "due_at", "expires_at")
    assert all(answer[name] is None for name in empty)
    assert (answer["notes"], answer["rejection_reason"], answer["outcome"]) == ("", "", "")
    assert json_of(asker.get(at(request))) == answer


def test_a_title_is_all_that_is_needed(asker, settings):
    answer = json_of(asker.post(REQUESTS, {"title": "May I?"}), 201)

    assert (answer["request_type"], answer["priority"], answer["role"]) == ("custom", "medium", settings.REVIEW_ROLE)
    assert (answer["required_fields"], answer["context"]) == ({}, {})


@pytest.mark.parametrize("kind", RequestType.values)
def test_each_kind_of_request_is_known(asker, kind):
    assert json_of(asker.post(REQUESTS, {"title": "May I?", "request_type": kind}), 201)["request_type"] == kind


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"title": ""}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"request_type": "favour"}, "request_type"),
        ({"priority": "urgent"}, "priority"),
        ({"required_fields": ["api_key"]}, "required_fields"),
        ({"context": "text"}, "context"),
        ({"role": "agent:validator"}, "role"),
        ({"role": "administrator"}, "role"),
        ({"status": "fulfilled"}, "status"),
        ({"fulfilled_by": "somebody"}, "fulfilled_by"),
    ],
)
def test_what_cannot_be_asked_is_a_422_that_names_the_field(asker, wrong, path):
    assert paths_of(problem(asker.post(REQUESTS, {**ASKED, **wrong}), 422, "invalid")) == [path]
    assert not ActionRequest.objects.exists()


def test_nobody_asks_in_anothers_name(asker, liaison):
    json_of(asker.post(REQUESTS, {**ASKED, "agent_id": "validator"}), 201)

    problem(asker.post(REQUESTS, {**ASKED, "agent_id": "liaison"}), 403, "forbidden")
    assert ActionRequest.objects.get().requester.username == "validator"


@pytest.mark.parametrize("who", ["auditor", "staff_member", "playbook_author"])
def test_people_who_work_in_no_role_and_start_nothing_do_not_ask(api_for, request, who):
    problem(api_for(request.getfixturevalue(who)).post(REQUESTS, ASKED), 403, "forbidden")
    assert not ActionRequest.objects.exists()


# Looking ----------------------------------------------------------------------------------------------------


def test_the_question_of_a_step_says_where_it_stands(desk, permit):
    answer = json_of(desk.get(at(permit)))

    assert set(answer) == REQUEST
    assert (answer["run_id"], answer["task_id"], answer["role"]) == (permit.run_id, permit.task_id, permit.role)
    assert answer["context"]["input"] == {"form_id": 123, "data": {"AI-Screen": {"risk": "low"}}}
    assert (answer["agent_id"], answer["status"]) == ("founder", "pending")


def test_requests_are_seen_by_their_asker_their_role_and_whoever_sees_the_run(api_for, asker, desk, auditor, permit):
    alone = json_of(asker.post(REQUESTS, ASKED), 201)["id"]
    second = api_for(agent("second", "agent:validator"))  # a role of the run, and not who asked

    def seen(api: Api) -> set[str]:
        return {row["id"] for row in json_of(api.get(REQUESTS))["results"]}

    assert seen(asker) == seen(desk) == seen(api_for(auditor)) == {alone, permit.pk}
    assert seen(second) == {permit.pk}
    assert seen(api_for(agent("stranger", "agent:elsewhere"))) == set()
    problem(second.get(at(alone)), 404, "not_found")
    problem(api_for(agent("other", "agent:elsewhere")).get(at(permit)), 404, "not_found")


def test_each_filter_chooses(desk, asker, permit):
    alone = json_of(asker.post(REQUESTS, ASKED), 201)["id"]
    json_of(desk.post(at(permit, "fulfill")))

    def found(**query: Any) -> set[str]:
        return {row["id"] for row in json_of(desk.get(REQUESTS, query))["results"]}

    assert found() == {alone, permit.pk}
    assert found(status="pending") == {alone}
    assert found(status=["pending", "fulfilled"]) == {alone, permit.pk}
    assert found(priority="high") == {alone}
    assert found(priority="low") == set()
    assert found(agent_id="validator") == {alone}
    assert found(request_type="api_key") == {alone}
    assert found(role="human:police_liaison") == {alone, permit.pk}
    assert found(run=permit.run_id) == {permit.pk}
    assert found(status="pending", run=permit.run_id) == set()


def test_the_number_of_statements_does_not_grow_with_the_rows(desk, asker):
    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            json_of(desk.get(REQUESTS))
        return len(captured)

    asker.post(REQUESTS, ASKED)
    count()  # notes the use of the key, once a minute
    few = count()
    for number in range(8):
        asker.post(REQUESTS, {**ASKED, "workflow_id": f"another-{number}"})

    # the key, its rate, the permissions, the roles, the rows with their people, what superseded them
    assert (few, count()) == (6, 6)


@pytest.mark.parametrize("wait", ["61", "-1", "soon", "nan"])
def test_a_wait_that_cannot_be_is_a_422(desk, permit, wait):
    assert paths_of(problem(desk.get(at(permit), {"wait": wait}), 422, "invalid")) == ["wait"]


def test_a_closed_request_is_not_waited_for(desk, permit):
    assert desk.get(at(permit), {"wait": 5}).headers["HMS-Act-Wait"] == "5.0"

    json_of(desk.post(at(permit, "fulfill")))

    assert "HMS-Act-Wait" not in desk.get(at(permit), {"wait": 5}).headers


# Deciding ---------------------------------------------------------------------------------------------------


def test_approving_answers_the_request_and_the_run_goes_on(desk, permit):
    answer = json_of(desk.post(at(permit, "fulfill"), {"notes": "The plan is sound."}))

    assert set(answer) == REQUEST
    assert (answer["status"], answer["outcome"], answer["notes"]) == ("fulfilled", "PASS", "The plan is sound.")
    assert answer["fulfilled_by"] == "liaison"
    assert is_moment(answer["fulfilled_at"])
    assert json_of(desk.get(f"/acts/runs/{permit.run_id}"))["current_step"] == "Collect-Fee"


def test_rejecting_answers_the_request_and_the_run_has_failed(desk, permit):
    answer = json_of(desk.post(at(permit, "reject"), {"reason": "No marshals."}))

    assert (answer["status"], answer["outcome"], answer["rejection_reason"]) == ("rejected", "FAIL", "No marshals.")
    assert json_of(desk.get(f"/acts/runs/{permit.run_id}"))["status"] == "failed"


@pytest.mark.parametrize("reason", [{}, {"reason": ""}, {"reason": "  "}])
def test_rejecting_needs_a_reason(desk, permit, reason):
    assert paths_of(problem(desk.post(at(permit, "reject"), reason), 422, "invalid")) == ["reason"]
    assert reloaded(permit).state == "pending"


def test_an_option_of_the_step_is_an_outcome(desk, validator):
    screen, approve, collect = PERMIT["steps"]
    options = ["SHORT_ROUTE", {"key": "NO", "ends": "fail"}]
    document = {**PERMIT, "steps": [screen, {**approve, "options": options}, collect]}
    first, second = waiting_for_a_person(validator, document), waiting_for_a_person(validator, document)

    assert json_of(desk.post(at(first, "fulfill"), {"outcome": "SHORT_ROUTE"}))["outcome"] == "SHORT_ROUTE"
    assert json_of(desk.post(at(second, "fulfill"), {"outcome": "NO", "notes": "Too long."}))["status"] == "rejected"
    third = waiting_for_a_person(validator, document)
    assert paths_of(problem(desk.post(at(third, "fulfill"), {"outcome": "PERHAPS"}), 422, "invalid")) == ["outcome"]


def test_what_was_asked_for_must_be_given(desk, asker):
    request = json_of(asker.post(REQUESTS, ASKED), 201)["id"]

    document = problem(desk.post(at(request, "fulfill"), {"response_data": {"api_key": "k"}}), 422, "invalid")
    assert "expires" in str(document["errors"])

    given = {"api_key": "k", "expires": "2026-01-01"}
    answered = json_of(desk.post(at(request, "fulfill"), {"response_data": given}))
    assert set(answered["response_data"]) == set(given)
    assert json_of(asker.post(at(request, "unwrap")))["values"] == given


def test_a_secret_is_fetched_once_by_who_asked_for_it_and_read_by_nobody(desk, asker, api_for, auditor):
    request = json_of(asker.post(REQUESTS, ASKED), 201)["id"]
    secret = {"api_key": "s3cret-of-the-maps", "expires": "2026-01-01"}

    answers = [desk.post(at(request, "fulfill"), {"response_data": secret})]
    answers += [api.get(path) for api in (desk, api_for(auditor)) for path in (at(request), REQUESTS)]

    assert all("s3cret" not in str(json_of(answer)) for answer in answers)
    (row,) = json_of(asker.get(REQUESTS))["results"]
    assert row["response_data"] == dict.fromkeys(secret, "••••••••")
    assert row["secret_fields"] == ["api_key", "expires"]
    assert json_of(asker.post(at(request, "unwrap")))["values"] == secret
    problem(asker.post(at(request, "unwrap")), 410, "secret_gone")


def test_who_is_named_in_a_body_is_kept_as_a_claim_and_never_the_decider(desk, permit):
    answer = json_of(desk.post(at(permit, "fulfill"), {"fulfilled_by": "the mayor"}))

    assert answer["fulfilled_by"] == "liaison"
    decided = reloaded(permit)
    assert (decided.decided_by.username, decided.claimed_decider) == ("liaison", "the mayor")
    assert decided.votes.get().voter.username == "liaison"
    assert Entry.objects.get(action="hitl.request.fulfilled").actor_name == "liaison"


def test_the_same_goes_for_who_is_named_as_rejecting(desk, permit):
    json_of(desk.post(at(permit, "reject"), {"reason": "No.", "rejected_by": "the mayor"}))

    assert (reloaded(permit).decided_by.username, reloaded(permit).claimed_decider) == ("liaison", "the mayor")


@pytest.mark.parametrize(("act", "body"), [("fulfill", {}), ("reject", {"reason": "No."})])
def test_what_is_decided_stays_decided(desk, permit, act, body):
    first = json_of(desk.post(at(permit, "fulfill")))

    document = problem(desk.post(at(permit, act), body), 409, "already_decided")

    assert "liaison" in document["detail"]
    assert json_of(desk.get(at(permit))) == first


@pytest.mark.parametrize(("act", "body"), [("fulfill", {}), ("reject", {"reason": "No."})])
def test_a_decision_about_another_revision_is_a_409(desk, permit, act, body):
    problem(desk.post(at(permit, act), {**body, "revision": 2}), 409, "stale_revision")
    decided = json_of(desk.post(at(permit, act), {**body, "revision": 1}))
    assert decided["status"] == {"fulfill": "fulfilled", "reject": "rejected"}[act]


@pytest.mark.parametrize(("act", "body"), [("fulfill", {}), ("reject", {"reason": "No."})])
def test_what_is_not_asked_any_more_is_a_409(desk, permit, act, body):
    cancel_run(run_id=permit.run_id, actor=founder())

    problem(desk.post(at(permit, act), body), 409, "wrong_state")
    assert json_of(desk.get(at(permit)))["status"] == "not_required"


@pytest.mark.parametrize(("act", "body"), [("fulfill", {}), ("reject", {"reason": "No."})])
def test_only_people_of_the_role_decide_and_never_about_their_own(api_for, permit, auditor, act, body):
    def refused(user: Any, code: str, status: int = 403) -> None:
        problem(api_for(user).post(at(permit, act), body), status, code)

    refused(agent("second", "agent:validator"), "forbidden")
    refused(auditor, "role_required")
    refused(person("chief", "administrator"), "role_required")
    refused(person("root", is_superuser=True), "role_required")
    refused(person("bystander", "staff"), "not_found", 404)
    starter = founder()
    starter.groups.add(role_group("human:police_liaison"))
    refused(starter, "forbidden")
    assert reloaded(permit).state == "pending"


def test_an_unknown_field_is_refused(desk, permit):
    assert paths_of(problem(desk.post(at(permit, "fulfill"), {"approve": True}), 422, "invalid")) == ["approve"]


def test_a_decision_needs_no_body(desk, permit):
    assert json_of(desk.generic("POST", at(permit, "fulfill")))["status"] == "fulfilled"


def test_times_are_those_of_the_decision(desk, permit):
    later(hours=3)

    answer = json_of(desk.post(at(permit, "fulfill")))

    assert answer["created_at"] < answer["fulfilled_at"] == answer["updated_at"]


# Claiming ---------------------------------------------------------------------------------------------------


def test_a_claim_tells_others_that_somebody_is_at_it(desk, permit):
    claim = json_of(desk.post(at(permit, "claim")))

    assert set(claim) == {"token", "expires_at", "request"}
    assert claim["token"].startswith("lease_")
    assert is_moment(claim["expires_at"])
    assert (set(claim["request"]), claim["request"]["status"]) == (REQUEST, "in_review")
    assert json_of(desk.get(REQUESTS, {"status": "in_review"}))["results"][0]["id"] == permit.pk


def test_the_claim_of_a_persons_task_is_the_claim_of_its_request(desk, permit):
    json_of(desk.post("/acts/tasks/next", {"role": "human:police_liaison"}))

    assert json_of(desk.get(at(permit)))["status"] == "in_review"


def test_a_claim_is_renewed_by_its_token(desk, permit):
    claim = json_of(desk.post(at(permit, "claim")))
    later(minutes=5)

    renewed = json_of(desk.post(at(permit, "claim"), {"token": claim["token"]}))

    assert renewed["token"] == claim["token"]
    assert renewed["expires_at"] > claim["expires_at"]
    problem(desk.post(at(permit, "claim"), {"token": "lease_other"}), 409, "lease_lost")


def test_a_claim_given_back_is_open_again_and_only_its_holder_gives_it_back(desk, api_for, permit):
    colleague = api_for(person("colleague", "human:police_liaison"))
    json_of(desk.post(at(permit, "claim")))

    problem(colleague.post(at(permit, "claim")), 409, "wrong_state")
    problem(colleague.post(at(permit, "release")), 409, "wrong_state")
    assert json_of(desk.post(at(permit, "release")))["status"] == "pending"
    json_of(colleague.post(at(permit, "claim")))


def test_a_decision_under_a_claim_that_has_ended_is_a_409_and_renewing_it_is_the_way(desk, permit):
    token = json_of(desk.post(at(permit, "claim")))["token"]
    later(days=1)

    refused = desk.post(at(permit, "fulfill"), {"notes": "Sound.", "token": token})

    assert "enew" in problem(refused, 409, "token_expired")["detail"]
    assert reloaded(permit).state in {"pending", "in_review"}


def test_only_who_may_decide_may_claim(api_for, permit):
    problem(api_for(agent("second", "agent:validator")).post(at(permit, "claim")), 403, "forbidden")
    problem(api_for(person("chief", "administrator")).post(at(permit, "claim")), 403, "role_required")
    problem(api_for(agent("stranger", "agent:elsewhere")).post(at(permit, "claim")), 404, "not_found")
    assert reloaded(permit).state == "pending"
