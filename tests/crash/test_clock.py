# SPDX-License-Identifier: Apache-2.0
"""Clocks that are wrong: a host's, as on PostgreSQL all times are the database's; and the database's own."""

from __future__ import annotations

import ast
from datetime import datetime, timedelta

import pytest

from accounts.models import User
from audit import actions
from audit.models import Entry
from config import clock
from config.errors import LeaseLost
from runs import due, services
from runs.leases import Lease
from runs.models import TaskState
from tests.config.web import served
from tests.crash.house import charging, has_ended, told, until, worker
from tests.factories import claimed, later, published, reloaded, started, steps, tasks_of
from tests.house.tree import ROOT, committed_files
from tests.people import key_of

ROOMS = {"config", "audit", "accounts", "playbooks", "runs", "approvals"}
CLOCKS = {"time.time", "datetime.now", "datetime.utcnow", "timezone.now", "date.today", "time.localtime"}
READERS = {"config/clock.py", "runs/broker.py"}  # the clock itself; and what django-q2 wrote by its own clock

AGENTS = steps({"id": "look", "role": "agent:validator"}, id="agents")
LATER = {"maximum_attempts": 2, "initial_interval": 3600, "jitter": "none"}


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("days", [1, -1])
def test_a_host_a_day_ahead_or_behind_ends_nothing_early_and_holds_nothing_up(
    environment, receiver, validator, tmp_path, days
):
    held = started(AGENTS)
    claimed(validator)
    failed = started({**AGENTS, "id": "again", "steps": [{**AGENTS["steps"][0], "retries": LATER}]})
    lease = claimed(validator)
    services.fail_task(task_id=lease.task.pk, actor=validator, token=lease.token, message="not now")
    began = clock.now()

    with worker(on_a_host_wrong_by(timedelta(days=days), environment), tmp_path / "worker.log"):
        run = started(charging("pay", "post"))
        until(lambda: has_ended(run), "the end of the run")

    assert reloaded(run).state == "completed"
    assert [task.state for task in tasks_of(held)] == [TaskState.RUNNING], "the lease holds"
    assert [task.ready_at is None for task in tasks_of(failed)] == [True, True], "the retry waits its hour"
    assert all_within(Entry.objects.filter(run_id=run.pk).values_list("at", flat=True), began)
    assert all_within([task.claimed_at for task in tasks_of(run)], began)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("days", [400])
def test_a_web_host_far_off_knows_its_callers_and_gives_leases_as_long_as_any(environment, validator, tmp_path, days):
    published(AGENTS)
    _, token = key_of(validator)
    headers = {"Authorization": f"Bearer {token}"}

    with served(on_a_host_wrong_by(timedelta(days=days), environment), tmp_path / "web.log") as web:
        begun = web.post("/acts/run", json={"playbook": "agents"}, headers=headers)
        lease = web.post("/acts/tasks/next", json={"role": "agent:validator"}, headers=headers)

    assert (begun.status_code, lease.status_code) == (202, 200)
    left = datetime.fromisoformat(lease.json()["expires_at"]) - clock.now()
    assert timedelta(0) < left <= timedelta(seconds=60)


@pytest.mark.django_db
def test_a_clock_of_the_database_that_jumps_ahead_ends_leases_and_the_fence_keeps_outcomes_single(validator):
    run = started(AGENTS)
    early = claimed(validator)
    later(hours=1)
    due.sweep()
    late = claimed(validator)

    with pytest.raises(LeaseLost):
        completed(early, validator)
    completed(late, validator)
    with pytest.raises(LeaseLost):
        completed(early, validator)

    assert (reloaded(run).state, told(run)[actions.TASK_COMPLETED], late.task.fence) == ("completed", 1, 2)


@pytest.mark.django_db
def test_a_clock_of_the_database_that_jumps_back_delays_what_was_lost_and_doubles_nothing(validator):
    run = started(AGENTS)
    lost = claimed(validator)
    later(hours=-1)
    due.sweep()
    assert services.claim_tasks(role="agent:validator", actor=validator) == [], "the lease lasts an hour longer"
    later(hours=1, seconds=61)
    due.sweep()
    completed(claimed(validator), validator)

    with pytest.raises(LeaseLost):
        completed(lost, validator)
    assert (reloaded(run).state, told(run)[actions.TASK_COMPLETED]) == ("completed", 1)


def completed(lease: Lease, by: User) -> None:
    services.complete_task(task_id=lease.task.pk, actor=by, token=lease.token, outcome="PASS")


def on_a_host_wrong_by(shift: timedelta, environment) -> dict[str, str]:
    return {
        **environment,
        "HMS_ACT_ACTIONS": "tests.crash.actions,tests.crash.shifted",
        "HMS_ACT_TEST_CLOCK_SHIFT": str(shift.total_seconds()),
    }


def all_within(moments, began: datetime) -> bool:
    return all(began <= moment <= clock.now() for moment in moments)


def test_nothing_else_reads_a_clock():
    found = [
        f"{path}:{node.lineno} calls {called}"
        for path in committed_files()
        if path.suffix == ".py" and path.parts[0] in ROOMS and str(path) not in READERS
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Call) and (called := ".".join(ast.unparse(node.func).split(".")[-2:])) in CLOCKS
    ]

    assert not found, "\n".join(found)
