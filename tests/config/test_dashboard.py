# SPDX-License-Identifier: Apache-2.0
"""The first page of the admin: what to do now, and what is amiss, for this person."""

from __future__ import annotations

from typing import Any

from approvals.models import Notification
from approvals.services import decide
from config import clock
from config.dashboard import Tile
from config.mail import MailState
from runs import due, stopping
from runs.models import Run, Task, WorkerHost
from tests.factories import claimed, later, started, steps, waiting_for_a_person

FEE = steps({"id": "pay", "type": "service", "role": "svc:finance", "call": "tests.charge"}, id="pays")


def tiles_of(client: Any) -> dict[str, Tile]:
    return {tile.title: tile for tile in client.get("/admin/").context["tiles"]}


def test_a_reviewer_sees_what_waits_for_them_and_is_led_there(client_for, liaison, validator):
    waiting_for_a_person(validator)
    later(hours=3)
    client = client_for(liaison)
    tile = tiles_of(client)["To decide by me"]

    assert (tile.number, tile.under, tile.tone) == ("1", "the oldest since 3 h", "wait")
    assert "Approve" in client.get(tile.link).content.decode()


def test_what_others_decide_is_not_counted(client_for, administrator, validator):
    waiting_for_a_person(validator)

    assert tiles_of(client_for(administrator))["To decide by me"].number == "0"


def test_runs_are_counted_under_way_and_failed_today(client_for, auditor, liaison, validator):
    request = waiting_for_a_person(validator)
    decide(request_id=request.pk, actor=liaison, outcome="FAIL", reason="no")
    started(steps({"id": "look", "role": "agent:validator"}, id="looks"))
    client = client_for(auditor)
    tiles = tiles_of(client)

    assert (tiles["Runs under way"].number, tiles["Failed today"].number) == ("1", "1")
    assert tiles["Failed today"].tone == "bad"
    for title, state in (("Runs under way", "running"), ("Failed today", "failed")):
        found = client.get(tiles[title].link).context["cl"].result_list
        assert [run.state for run in found] == [state]


def test_what_failed_yesterday_is_not_of_today(client_for, auditor, liaison, validator):
    request = waiting_for_a_person(validator)
    decide(request_id=request.pk, actor=liaison, outcome="FAIL", reason="no")
    later(days=1)

    assert tiles_of(client_for(auditor))["Failed today"].number == "0"


def test_stalled_runs_are_pointed_out(client_for, auditor):
    run = started(steps({"id": "look", "role": "agent:validator"}, id="looks"))
    Run.objects.filter(pk=run.pk).update(stalled_at=clock.now())
    tile = tiles_of(client_for(auditor))["Runs under way"]

    assert (tile.under, tile.tone) == ("1 of them stalled", "bad")


def test_work_that_waits_stands_by_role_longest_first(client_for, auditor, liaison, validator):
    waiting_for_a_person(validator)
    later(hours=3)
    for number in range(2):
        started(steps({"id": "look", "role": "agent:validator"}, id=f"looks-{number}"))
    client = client_for(auditor)
    waiting = client.get("/admin/").context["waiting"]

    assert [(each.role, each.what, each.count) for each in waiting] == [
        ("human:police_liaison", "requests to decide", 1),
        ("agent:validator", "tasks to claim", 2),
    ]
    assert waiting[0].age == "3 h"
    assert len(client.get(waiting[1].link).context["cl"].result_list) == 2
    assert [each.role for each in client_for(liaison).get("/admin/").context["waiting"]] == ["human:police_liaison"]


def test_work_of_the_worker_is_amiss_once_it_waits_for_a_minute(client_for, auditor):
    client = client_for(auditor)
    WorkerHost.objects.create(name="host:1", started_at=clock.now(), beat_at=clock.now())
    idle = tiles_of(client)["Waiting for the worker"]
    assert (idle.number, idle.tone) == ("nothing", "good")
    started(FEE)
    later(seconds=5)
    assert tiles_of(client)["Waiting for the worker"].tone == ""
    later(hours=2)
    tile = tiles_of(client)["Waiting for the worker"]

    assert (tile.number, tile.tone) == ("for 2 h", "bad")
    assert "a worker was heard of 2 h ago" in tile.under


def test_incidents_are_counted_while_their_run_is_open(client_for, auditor, validator):
    document = steps({"id": "look", "role": "agent:validator"}, id="looks")
    run = started(document)
    for _ in range(6):
        claimed(validator)
        later(hours=1)
        due.sweep()
    assert Task.objects.get(run=run).state == "incident"
    client = client_for(auditor)
    tile = tiles_of(client)["Incidents"]

    assert (tile.number, tile.tone) == ("1", "bad")
    assert len(client.get(tile.link).context["cl"].result_list) == 1
    stopping.cancel_run(run_id=run.pk, actor=run.started_by)
    assert tiles_of(client)["Incidents"].number == "0"


def test_mails_that_were_given_up_are_counted_with_the_newest_reason(client_for, auditor, liaison, validator):
    waiting_for_a_person(validator)
    Notification.objects.update(state=MailState.FAILED, error="SMTPException: <no such box>")
    page = client_for(auditor).get("/admin/").content.decode()

    assert "given up; the newest: SMTPException: &lt;no such box&gt;" in page


def test_who_does_not_watch_over_runs_sees_no_operators_numbers(client_for, liaison):
    assert set(tiles_of(client_for(liaison))) == {"To decide by me", "Runs under way", "Failed today"}


def test_the_page_makes_as_many_queries_for_much_as_for_little(
    client_for, auditor, liaison, validator, django_assert_num_queries, django_assert_max_num_queries
):
    client = client_for(auditor)
    client.get("/admin/")
    with django_assert_max_num_queries(20) as few:
        client.get("/admin/")
    for number in range(4):
        started(steps({"id": "look", "role": f"agent:a{number}"}, id=f"looks-{number}"))
        waiting_for_a_person(validator)
        started({**FEE, "id": f"pays-{number}"})

    with django_assert_num_queries(len(few)):
        client.get("/admin/")
