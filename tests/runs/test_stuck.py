# SPDX-License-Identifier: Apache-2.0
"""What is stuck is seen: rows that the services would never leave behind are made past them, and found and listed."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals.models import ActionRequest
from audit import triggers
from config import clock
from runs import stuck
from runs.models import Run, RunMessage, Task
from tests.factories import later, published
from tests.runs.play import Play, agent, child, foreach, human, parallel, wait
from tests.runs.test_admin_runs import text_of

pytestmark = pytest.mark.django_db

HEALTH = "/admin/runs/workerhost/"
INNER = {"id": "inner", "steps": [agent("work")]}


def stuck_now() -> dict[str, int]:
    return {name: count for name, count in stuck.counts().items() if count}


def past_the_services(rows, **fields) -> None:
    connection.check_constraints()  # PostgreSQL changes no table whose rows it has yet to check
    with triggers.disabled():
        rows.update(**fields)
        connection.check_constraints()


def end_without_consequence(play: Play, path: str) -> None:
    """As a fault of ours would: the task has ended, and nobody told the run."""
    fields = {"state": "completed", "outcome": "PASS", "ended_at": clock.now(), "next_check_at": None}
    past_the_services(Task.objects.filter(pk=play.task(path).pk), **fields, ready_at=None, fence=1)


def with_child() -> Play:
    published(INNER)
    play = Play(child("sub", "inner"))
    play.tick()
    return play


# What is in order -----------------------------------------------------------------------------------------


def test_nothing_that_waits_for_somebody_or_something_is_stuck():
    published(INNER)
    Play(agent("a"))
    Play(human("ask"))
    Play(wait("payment", signal="paid"))
    Play(foreach("each", "[1, 2]", agent("a"), wait("rest", duration="30d")))
    play = Play(agent("a", on_exhausted="INCIDENT"))
    play.fail("a")
    with_child()
    Play(child("sub", "inner"))
    assert stuck_now() == {}

    later(seconds=50)
    assert stuck_now() == {}
    for _ in range(3):
        later(days=1)
        play.tick()
    assert stuck_now() == {}


def test_what_has_ended_is_not_stuck():
    play = Play(agent("a"))
    play.do("a")
    later(days=10)

    assert stuck_now() == {}


# What is not ----------------------------------------------------------------------------------------------


def test_a_run_with_nothing_open():
    play = Play(agent("a"), agent("b"))
    end_without_consequence(play, "a")

    assert stuck_now() == {"runs_with_nothing_open": 1}


def test_a_run_with_nothing_open_but_a_step_around_others():
    play = Play(parallel("check", [agent("a")], [agent("b")]))
    end_without_consequence(play, "check/0/a")
    assert stuck_now() == {}
    end_without_consequence(play, "check/1/b")

    assert stuck_now() == {"runs_with_nothing_open": 1}


def test_rows_that_nobody_looks_at_though_their_clock_has_come():
    play = Play(human("ask"))
    at = clock.now()
    for rows in (Run.objects.all(), Task.objects.all(), ActionRequest.objects.all()):
        past_the_services(rows, next_check_at=at)
    later(seconds=50)
    assert stuck_now() == {}

    later(seconds=20)
    assert stuck_now() == {"runs_not_looked_at": 1, "tasks_not_looked_at": 1, "action_requests_not_looked_at": 1}
    play.tick()
    assert stuck_now() == {}


def test_a_message_that_nobody_acts_upon():
    published(INNER)
    Play(child("sub", "inner"))
    later(seconds=70)

    assert stuck_now()["messages_not_done"] == 1


def test_a_step_whose_run_is_over_and_has_not_said_so():
    play = with_child()
    ended = {"state": "completed", "ended_at": clock.now(), "next_check_at": None}
    inner = Run.objects.get(parent__run=play.run_id)
    past_the_services(Task.objects.filter(run=inner), **ended, outcome="PASS", ready_at=None, fence=1)
    past_the_services(Run.objects.filter(pk=inner.pk), **ended)

    assert stuck_now() == {"steps_without_their_run": 1}


def test_a_step_whose_run_was_never_made():
    published(INNER)
    Play(child("sub", "inner"))
    past_the_services(RunMessage.objects.all(), done_at=clock.now())

    assert stuck_now() == {"steps_without_their_run": 1}


# Where it is seen -----------------------------------------------------------------------------------------


def test_readiness_says_how_many_and_that_it_is_degraded():
    play = Play(agent("a"), agent("b"))
    end_without_consequence(play, "a")

    answer = Client().get("/readyz")

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    told = answer.json()["checks"]["stuck"]
    assert (told["ok"], told["runs_with_nothing_open"], told["messages_not_done"]) == (False, 1, 0)
    assert "Health" in told["why"]


def test_the_health_page_lists_each_and_leads_to_it(client_for, auditor):
    play = Play(agent("a"), agent("b"))
    end_without_consequence(play, "a")
    other = with_child()
    past_the_services(Task.objects.filter(run=other.run_id), next_check_at=clock.now())
    later(seconds=70)

    page = client_for(auditor).get(HEALTH)

    text = text_of(page)
    assert "Runs that are under way, and nothing in them is 1" in text
    assert "Tasks whose clock has come, and nobody has looked 1" in text
    for link in (f"/admin/runs/run/{play.run_id}/change/", f"/admin/runs/task/{other.task('sub').pk}/change/"):
        assert link in page.content.decode()


def test_the_health_page_of_an_installation_in_order_says_so(client_for, auditor, liaison):
    Play(agent("a"))

    assert "Nothing is stuck." in text_of(client_for(auditor).get(HEALTH))
    assert client_for(liaison).get(HEALTH).status_code == 403


def test_the_health_page_stands_under_its_own_name(client_for, auditor):
    page = client_for(auditor).get(HEALTH).content.decode()

    (way,) = re.findall(rf'chevron_right</span><a href="{HEALTH}"[^>]*>\s*(.*?)\s*</a', page)
    assert way == "Health"
    assert "Worker hosts" not in page


def test_it_is_asked_in_as_many_statements_however_much_there_is(client_for, auditor):
    def statements(what) -> int:
        with CaptureQueriesContext(connection) as captured:
            what()
        return len(captured)

    client = client_for(auditor)
    client.get(HEALTH)
    few = statements(stuck.counts), statements(lambda: client.get(HEALTH))
    for _ in range(30):
        end_without_consequence(Play(agent("a")), "a")

    assert (statements(stuck.counts), statements(lambda: client.get(HEALTH))) == few
    assert few[0] <= 12  # one for each kind of row that is looked at again


def test_the_rows_that_are_listed_are_few(client_for, auditor):
    for _ in range(stuck.LISTED + 2):
        end_without_consequence(Play(agent("a")), "a")

    page = client_for(auditor).get(HEALTH)

    (found,) = [each for each in page.context["found"] if each.count]
    assert (found.count, len(found.rows)) == (stuck.LISTED + 2, stuck.LISTED)
