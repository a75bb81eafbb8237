# SPDX-License-Identifier: Apache-2.0
"""The pages of runs and tasks: who sees what, what they tell, and the acts they offer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import pytest
from django.db import connection

from approvals.models import ActionRequest
from approvals.services import decide
from audit.models import Entry
from runs import asking, due, stopping
from runs import services as runs
from runs.models import Effect, Run, RunState, Task
from tests.factories import (
    PERMIT,
    actions_of,
    claimed,
    founder,
    later,
    published,
    reloaded,
    started,
    steps,
    waiting_for_a_person,
)

RUNS, TASKS = "/admin/runs/run/", "/admin/runs/task/"
ONE_STEP = steps({"id": "look", "role": "agent:validator"}, id="looks")
WITH_FORM: Mapping[str, Any] = {
    "id": "block_party",
    "title": "Block party",
    "steps": [{"id": "look", "role": "agent:validator"}],
    "payload_schema": {
        "type": "object",
        "required": ["street", "guests"],
        "properties": {
            "street": {"type": "string", "title": "Street", "minLength": 3},
            "guests": {"type": "integer", "title": "Guests", "minimum": 1},
        },
    },
}


def page_of(run: Run, page: str = "change") -> str:
    return f"{RUNS}{run.pk}/{page}/"


def text_of(response: Any) -> str:
    """What a reader sees of a page, in one line."""
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def numbers_in(response: Any) -> list[int]:
    """Of the runs in a list, in its order."""
    return [run.pk for run in response.context["cl"].result_list]


# Who sees which runs --------------------------------------------------------------------------------------


def test_everyone_sees_the_runs_they_have_a_part_in(client_for, validator, liaison, auditor, staff_member):
    permit, other = started(), started(ONE_STEP)

    assert numbers_in(client_for(liaison).get(RUNS)) == [permit.pk]
    assert numbers_in(client_for(auditor).get(RUNS)) == [other.pk, permit.pk]
    assert numbers_in(client_for(staff_member).get(RUNS)) == []
    assert numbers_in(client_for(founder()).get(RUNS)) == [other.pk, permit.pk]


@pytest.mark.parametrize("page", ["change", "cancel", "history"])
def test_a_run_that_one_may_not_see_does_not_exist(client_for, staff_member, page):
    assert client_for(staff_member).get(page_of(started(), page)).status_code == 404


@pytest.mark.parametrize("number", ["0", "x", "9" * 30, "-1"])
def test_a_run_that_is_not_there_is_not_found(client_for, auditor, number):
    assert client_for(auditor).get(f"{RUNS}{number}/change/").status_code == 404


def test_a_task_is_seen_by_who_may_see_its_run(client_for, liaison, staff_member, validator):
    task = waiting_for_a_person(validator).task

    assert client_for(liaison).get(f"{TASKS}{task.pk}/change/").status_code == 200
    assert client_for(staff_member).get(f"{TASKS}{task.pk}/change/").status_code == 404
    assert numbers_in(client_for(staff_member).get(TASKS)) == []


def test_effects_are_for_those_who_see_all_runs(client_for, liaison, auditor):
    assert client_for(auditor).get("/admin/runs/effect/").status_code == 200
    assert client_for(liaison).get("/admin/runs/effect/").status_code == 403


def test_the_sidebar_leads_to_what_this_person_may_open(client_for, auditor, liaison):
    def entries(user):
        groups = client_for(user).get("/admin/").context["sidebar_navigation"]
        return {item["title"] for group in groups for item in group["items"]}

    assert {"Runs", "Tasks", "Effects", "Housekeeping"} <= entries(auditor)
    assert entries(liaison) & {"Runs", "Tasks", "Effects", "Housekeeping"} == {"Runs", "Tasks"}


# The list -------------------------------------------------------------------------------------------------


@pytest.fixture
def many(db) -> None:
    labelled = {"district": "north", "a__contains": "x"}
    published(PERMIT)
    runs.start_run(actor=founder(), playbook="protest_permit", payload={}, labels=labelled)
    started(ONE_STEP)
    ended = started(ONE_STEP)
    stopping.cancel_run(run_id=ended.pk, actor=founder(), reason="")


@pytest.mark.parametrize(
    ("query", "playbooks"),
    [
        ("", ["looks", "looks", "protest_permit"]),
        ("?state=open", ["looks", "protest_permit"]),
        ("?state=cancelled", ["looks"]),
        ("?playbook=looks", ["looks", "looks"]),
        ("?playbook=looks&state=open", ["looks"]),
        ("?version=1", ["looks", "looks", "protest_permit"]),
        ("?version=v2", []),
        ("?version=x", []),
        ("?label=district:north", ["protest_permit"]),
        ("?label=district:south", []),
        ("?label=district", ["protest_permit"]),
        ("?label=a__contains:x", ["protest_permit"]),
        ("?label=a:x", []),
        ("?q=999", []),
        ("?q=anything", []),
    ],
)
def test_the_list_is_narrowed_by_what_is_known_of_a_run(client_for, auditor, many, query, playbooks):
    found = client_for(auditor).get(RUNS + query).context["cl"].result_list

    assert [run.version.playbook.slug for run in found] == playbooks


def test_a_run_is_found_by_its_number(client_for, auditor, many):
    run = Run.objects.order_by("pk")[1]

    assert numbers_in(client_for(auditor).get(f"{RUNS}?q={run.pk}")) == [run.pk]
    assert numbers_in(client_for(auditor).get(f"{RUNS}?q=%23{run.pk}")) == [run.pk]


def test_tasks_are_found_by_their_run_and_by_role(client_for, auditor, many):
    run = Run.objects.order_by("pk")[1]
    of_run = client_for(auditor).get(f"{TASKS}?q={run.pk}").context["cl"].result_list
    of_role = client_for(auditor).get(f"{TASKS}?role=agent:validator").context["cl"].result_list

    assert run.pk in {task.run_id for task in of_run}
    assert {task.role for task in of_role} == {"agent:validator"}


def test_the_list_tells_where_each_run_stands(client_for, auditor, validator):
    waiting_for_a_person(validator)
    line = text_of(client_for(auditor).get(RUNS))

    assert "protest_permit v1" in line
    assert "Human-Approve" in line
    assert "founder" in line


@pytest.mark.parametrize(("path", "queries"), [(RUNS, 9), (TASKS, 9)])
def test_a_list_makes_as_many_queries_for_many_rows_as_for_one(
    client_for, auditor, path, queries, django_assert_num_queries
):
    client = client_for(auditor)
    started(steps({"id": "look", "role": "agent:validator"}, id="looks-0"))
    client.get(path)
    with django_assert_num_queries(queries):
        client.get(path)
    for number in range(1, 6):
        started(steps({"id": "look", "role": "agent:validator"}, id=f"looks-{number}"))

    with django_assert_num_queries(queries):
        client.get(path)


# One run --------------------------------------------------------------------------------------------------


def test_the_page_tells_what_is_asked_and_leads_to_the_decision(client_for, liaison, validator):
    request = waiting_for_a_person(validator)
    later(hours=2)
    page = client_for(liaison).get(page_of(request.run))

    assert f"/admin/approvals/actionrequest/{request.pk}/decide/" in page.content.decode()
    assert "Human-Approve: Waits 2 h for a decision of human:police_liaison." in text_of(page)
    assert '"risk": "low"' in text_of(page)
    assert '"form_id": 123' in text_of(page)


def test_the_page_says_that_nobody_can_take_a_task_up(client_for, auditor):
    run = started(steps({"id": "look", "role": "agent:nobody_yet"}))

    assert "Nobody is a member of agent:nobody_yet yet." in text_of(client_for(auditor).get(page_of(run)))


def test_the_page_answers_why_the_fee_was_retried_in_the_night(client_for, auditor, validator, liaison, finance):
    document = {**PERMIT, "steps": [*PERMIT["steps"][:2], {**PERMIT["steps"][2], "retries": {"jitter": "none"}}]}
    request = waiting_for_a_person(validator, document)
    decide(request_id=request.pk, actor=liaison, outcome="PASS", reason="fine")
    lease = claimed(finance, "svc:finance")
    runs.fail_task(
        task_id=lease.task.pk, actor=finance, token=lease.token, error_type="Timeout", message="no answer in 60 s"
    )
    waiting = text_of(client_for(auditor).get(page_of(request.run)))
    later(seconds=5)
    due.sweep()
    lease = claimed(finance, "svc:finance")
    runs.complete_task(task_id=lease.task.pk, actor=finance, token=lease.token, outcome="PASS", output={"paid": 40})
    ended = text_of(client_for(auditor).get(page_of(request.run)))

    assert "Is tried again at" in waiting
    assert "attempt 1: failed" in ended
    assert "Timeout: no answer in 60 s" in ended
    assert "Tried again 1 s later, as attempt 2: attempt 1 of 4 failed with Timeout." in ended
    assert "Every step has been done." in ended
    assert "Done by finance" in ended


def test_a_rejection_names_who_and_why(client_for, auditor, validator, liaison):
    request = waiting_for_a_person(validator)
    decide(request_id=request.pk, actor=liaison, outcome="FAIL", reason="Too close to the hospital.")

    page = text_of(client_for(auditor).get(page_of(request.run)))

    assert "It ended at Human-Approve: rejected by liaison. Too close to the hospital." in page
    assert "Collect-Fee not reached" in page


def test_a_question_in_mid_task_and_its_answer_are_told(client_for, auditor, validator, liaison):
    run = started(ONE_STEP)
    lease = claimed(validator)
    request_id, _ = asking.request_approval(
        task_id=lease.task.pk, token=lease.token, actor=validator, reason="Is it safe?", role="human:police_liaison"
    )
    later(hours=2)
    asked = text_of(client_for(auditor).get(page_of(run)))
    decide(request_id=request_id, actor=liaison, outcome="PASS", reason="It is.")
    answered = client_for(auditor).get(page_of(run))

    assert "Waits 2 h for a decision of human:police_liaison." in asked
    assert "liaison answered PASS. It is." in text_of(answered)
    assert "waits for its holder to resume it" in text_of(answered)


def test_no_page_tells_the_digest_of_a_token(client_for, auditor, validator):
    started(ONE_STEP)
    lease = claimed(validator)
    held = reloaded(lease.task).token_hash
    asking.request_approval(task_id=lease.task.pk, token=lease.token, actor=validator, reason="Is it safe?")
    pages = [f"{TASKS}{lease.task.pk}/change/", page_of(lease.task.run)]

    assert reloaded(lease.task).approval["asked_with"] == held
    assert not any(held in client_for(auditor).get(page).content.decode() for page in pages)


def test_text_of_others_is_shown_and_never_obeyed(client_for, auditor):
    run = started(ONE_STEP, payload={"<script>alert(1)</script>": "gnp\u202e.exe"})
    page = client_for(auditor).get(page_of(run)).content.decode()

    assert "<script>alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "gnp&lt;U+202E&gt;.exe" in page


def test_the_page_of_a_run_makes_a_fixed_number_of_queries(
    client_for, auditor, validator, django_assert_num_queries, django_assert_max_num_queries
):
    short = started(ONE_STEP)
    several = started(steps(*({"id": f"s{n}", "role": "agent:validator"} for n in range(4)), id="several"))
    later(seconds=1)
    for _ in range(3):
        for lease in runs.claim_tasks(role="agent:validator", actor=validator, limit=5):
            if lease.task.run_id == several.pk:
                runs.complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")
    client = client_for(auditor)
    client.get(page_of(short))

    asks_the_clock = connection.vendor == "postgresql"
    with django_assert_max_num_queries(13 + asks_the_clock) as few:
        client.get(page_of(short))
    with django_assert_num_queries(len(few)):
        client.get(page_of(several))


# Cancelling -----------------------------------------------------------------------------------------------


def test_a_run_is_cancelled_on_post_and_not_on_get(client_for, administrator):
    run = started(ONE_STEP)
    client = client_for(administrator)

    asked = client.get(page_of(run, "cancel"))
    assert asked.status_code == 200
    assert reloaded(run).state == RunState.RUNNING

    answer = client.post(page_of(run, "cancel"), {"reason": "Entered twice."})
    assert answer["Location"] == page_of(run)
    assert reloaded(run).state == RunState.CANCELLED
    assert Entry.objects.get(run_id=run.pk, action="run.cancelling").note == "Entered twice."


def test_a_reason_for_cancelling_is_optional(client_for, administrator):
    run = started(ONE_STEP)
    client_for(administrator).post(page_of(run, "cancel"), {"reason": ""})

    assert reloaded(run).state == RunState.CANCELLED


def test_who_may_not_cancel_reads_why_and_is_refused_all_the_same(client_for, auditor):
    run = started(ONE_STEP)
    client = client_for(auditor)

    page = client.get(page_of(run))
    assert "Only who started the run, or holders of runs.control, may cancel it." in text_of(page)
    assert page_of(run, "cancel") not in page.content.decode()

    answer = client.post(page_of(run, "cancel"), {"reason": "I want to"})
    assert answer.status_code == 403
    assert "I want to" in answer.content.decode()
    assert reloaded(run).state == RunState.RUNNING
    assert actions_of(run)[-1] == "run.cancel_denied"


def test_a_run_that_has_ended_is_not_cancelled(client_for, administrator, validator):
    run = started(ONE_STEP)
    lease = claimed(validator)
    runs.complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")
    client = client_for(administrator)

    assert "It has ended: completed." in text_of(client.get(page_of(run)))
    assert client.post(page_of(run, "cancel"), {"reason": ""}).status_code == 409


# Starting by hand -----------------------------------------------------------------------------------------


def test_the_choice_offers_what_is_published(client_for, administrator):
    published(ONE_STEP)
    published(WITH_FORM)
    page = client_for(administrator).get(f"{RUNS}start/")

    assert "Block party" in text_of(page)
    assert f"{RUNS}start/looks/" in page.content.decode()
    assert client_for(administrator).get(f"{RUNS}start/unknown/").status_code == 404


def test_the_form_of_a_playbook_starts_a_run_in_the_name_of_who_sends_it(client_for, administrator):
    published(WITH_FORM)
    client = client_for(administrator)
    assert "Guests" in text_of(client.get(f"{RUNS}start/block_party/"))

    answer = client.post(f"{RUNS}start/block_party/", {"street": "Elm Street", "guests": "40"})

    run = Run.objects.get()
    assert answer["Location"] == page_of(run)
    assert (run.started_by, run.payload) == (administrator, {"street": "Elm Street", "guests": 40})


def test_what_does_not_fit_comes_back_with_what_was_typed(client_for, administrator):
    published(WITH_FORM)
    answer = client_for(administrator).post(f"{RUNS}start/block_party/", {"street": "Elm Street", "guests": "0"})

    assert answer.status_code == 422
    assert 'value="Elm Street"' in answer.content.decode()
    assert "Nothing was started yet." in text_of(answer)
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"a": 1', "The text is not JSON"),
        ("[1]", "A payload is a JSON object"),
        ('{"a": 1, "a": 2}', "stands twice"),
        ("", "required"),
    ],
)
def test_a_playbook_without_a_form_takes_json_and_nothing_else(client_for, administrator, text, sentence):
    published(ONE_STEP)
    answer = client_for(administrator).post(f"{RUNS}start/looks/", {"text": text})

    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert not Run.objects.exists()


def test_json_starts_a_run(client_for, administrator):
    published(ONE_STEP)
    client_for(administrator).post(f"{RUNS}start/looks/", {"text": '{"form_id": 7}'})

    assert Run.objects.get().payload == {"form_id": 7}


@pytest.mark.parametrize("path", ["start/", "start/looks/"])
def test_starting_takes_a_permission(client_for, auditor, path):
    published(ONE_STEP)
    client = client_for(auditor)

    assert client.get(RUNS + path).status_code == 403
    assert client.post(RUNS + path, {"text": "{}"}).status_code == 403
    assert not Run.objects.exists()
    assert "Start a run" not in text_of(client.get(RUNS))


# Evidence is not edited -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Run, Task, Effect, ActionRequest])
def test_no_row_is_edited_or_deleted_by_hand(client_for, superuser, validator, model):
    request = waiting_for_a_person(validator)
    row = {Run: request.run, Task: request.task, ActionRequest: request}.get(model)
    number = row.pk if row is not None else "0" * 64
    path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    before = list(model._base_manager.values())

    client = client_for(superuser)
    client.post(f"{path}{number}/change/", {"state": "completed"})
    client.post(f"{path}{number}/delete/", {"post": "yes"})
    client.post(path, {"action": "delete_selected", "_selected_action": [number], "post": "yes"})

    assert list(model._base_manager.values()) == before


def test_the_job_librarys_own_pages_are_not_there(client_for, superuser):
    client = client_for(superuser)

    for name in ("ormq", "success", "failure"):
        assert client.get(f"/admin/django_q/{name}/").status_code == 404
    assert client.get("/admin/django_q/schedule/add/").status_code == 403
