# SPDX-License-Identifier: Apache-2.0
"""Branches that end at the same instant, on two connections: the join always fires, and fires once."""

import threading
from contextlib import suppress

import pytest
from django.db import connection, connections

from accounts.models import User
from config.errors import LeaseLost
from runs import services, stopping
from runs.incidents import resolve_incident
from runs.models import Run, Task, TaskState
from runs.waits import send_signal
from tests.factories import founder, published
from tests.people import agent as made_agent
from tests.races import at_once, losers
from tests.runs.play import Play, agent, foreach, parallel, wait

pytestmark = pytest.mark.django_db(transaction=True)

TWO_BRANCHES = {"id": "join", "steps": [parallel("both", [agent("a")], [agent("b")]), agent("end")]}
BATCH = 10  # rounds prepared together


def begin(count):
    """(runs, leases of their branches by path) of so many runs."""
    runs = [services.start_run(actor=founder(), playbook="join", payload={}) for _ in range(count)]
    held = {}
    while len(held) < 2 * count:
        for lease in services.claim_tasks(
            role="agent:validator", actor=User.objects.get(username="validator"), limit=20
        ):
            if lease.task.path != "end":
                held[lease.task.run_id, lease.task.path] = lease
    return runs, held


@pytest.mark.parametrize("outcomes", [("PASS", "PASS"), ("PASS", "FAIL")])
def test_two_branches_that_end_at_the_same_instant_always_fire_the_join(outcomes):
    """A thousand rounds in all on PostgreSQL; on SQLite, where there is one writer at a time, a tenth of them."""
    actor = made_agent("validator", "agent:validator")
    published(TWO_BRANCHES)
    rounds = 500 if connection.vendor == "postgresql" else 50
    gate, faults = threading.Barrier(2), []
    shared = {}

    def play(path, outcome):
        me = User.objects.get(pk=actor.pk)
        try:
            for _ in range(rounds // BATCH):
                gate.wait(60)  # the runs are there
                for run in shared["runs"]:
                    lease = shared["held"][run.pk, path]
                    gate.wait(60)
                    with suppress(LeaseLost):  # the other branch failed first, and closed this one
                        services.complete_task(task_id=lease.task.pk, actor=me, token=lease.token, outcome=outcome)
                gate.wait(60)
                if path == "both/0/a":
                    check(shared["runs"])
                    shared["runs"], shared["held"] = begin(BATCH)
        except Exception as fault:
            faults.append(fault)
            gate.abort()
        finally:
            connections.close_all()

    def check(runs):
        for run in runs:
            states = dict(Task.objects.filter(run=run).values_list("path", "state"))
            if outcomes == ("PASS", "PASS"):
                assert states["both"] == "completed", states
                assert states["end"] == "pending", states
            else:
                assert Run.objects.get(pk=run.pk).state == "failed", states
            assert list(Task.objects.filter(run=run, path="end")) == [] or outcomes == ("PASS", "PASS")

    shared["runs"], shared["held"] = begin(BATCH)
    paths = ("both/0/a", "both/1/b")
    threads = [threading.Thread(target=play, args=each) for each in zip(paths, outcomes, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)

    assert faults == []


def test_eight_branches_at_once():
    play = Play(foreach("each", "[0, 1, 2, 3, 4, 5, 6, 7]", agent("a")), agent("end"))
    held = {path: play.claim(path) for path in [f"each[{number}]/a" for number in range(8)]}

    results = at_once(
        *[
            lambda lease=lease: services.complete_task(
                task_id=lease.task.pk, actor=User.objects.get(pk=play.agent.pk), token=lease.token, outcome="PASS"
            )
            for lease in held.values()
        ]
    )

    assert [fault for fault in losers(results) if getattr(fault, "code", "") != "stale_revision"] == []
    assert play.states["each"] in ("completed", "pending")
    done = [path for path, state in play.states.items() if state == "completed" and path.endswith("/a")]
    assert len(done) == 8 - len(losers(results))


@pytest.mark.parametrize("_round", range(5))
def test_any_of_two_at_once_one_goes_on_and_one_is_closed(_round):
    play = Play(parallel("any", [agent("a")], [agent("b")], join="ANY"), agent("end"))
    held = [play.claim("any/0/a"), play.claim("any/1/b")]

    results = at_once(
        *[
            lambda lease=lease: services.complete_task(
                task_id=lease.task.pk, actor=User.objects.get(pk=play.agent.pk), token=lease.token, outcome="PASS"
            )
            for lease in held
        ]
    )

    assert [fault.code for fault in losers(results)] == ["lease_lost"]
    assert play.open == {"end"}
    assert sorted(play.states[path] for path in ("any/0/a", "any/1/b")) == [TaskState.CANCELLED, TaskState.COMPLETED]


@pytest.mark.parametrize("_round", range(5))
def test_two_signals_at_once_are_got_by_two(_round):
    play = Play(foreach("each", "[1, 2]", wait("payment", signal="paid")), agent("end"))

    results = at_once(
        *[lambda n=n: send_signal(run_id=play.run_id, actor=founder(), name="paid", data=n) for n in (1, 2)]
    )

    assert losers(results) == []
    assert play.open == {"end"}
    assert sorted(task.output for task in Task.objects.filter(run=play.run_id, kind="wait")) == [1, 2]


@pytest.mark.parametrize("_round", range(5))
def test_an_incident_resolved_twice_at_once_is_resolved_once(_round):
    play = Play(agent("a", on_exhausted="INCIDENT"), agent("b"))
    play.fail("a")
    task = play.task("a")

    results = at_once(
        *[
            lambda word=word: resolve_incident(task_id=task.pk, actor=founder(), resolution=word, reason="seen to")
            for word in ("skip", "retry")
        ]
    )

    assert [fault.code for fault in losers(results)] == ["wrong_state"]
    assert play.open in ({"a"}, {"b"})


@pytest.mark.parametrize("_round", range(5))
def test_a_join_and_a_cancelling_at_once_leave_nothing_open(_round):
    play = Play(parallel("any", [agent("a")], [agent("b")], join="ANY"), agent("end"))
    (lease,) = services.claim_tasks(role="agent:validator", actor=play.agent)

    at_once(
        lambda: services.complete_task(
            task_id=lease.task.pk, actor=User.objects.get(pk=play.agent.pk), token=lease.token, outcome="PASS"
        ),
        lambda: stopping.cancel_run(run_id=play.run_id, actor=founder()),
    )

    assert (play.state, play.open) == ("cancelled", set())
