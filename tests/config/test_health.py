# SPDX-License-Identifier: Apache-2.0
"""`/healthz` and `/readyz`: for whoever watches over an installation, without a log-in."""

from __future__ import annotations

import pytest
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from audit import triggers
from config import clock, health
from runs.jobs import service_tasks
from runs.models import WorkerHost
from tests.factories import claimed, later, started, steps

FEE_ALONE = steps({"id": "Fee", "type": "service", "role": "svc:finance", "call": "hms_ach.charge $40"})


@pytest.fixture
def anybody() -> Client:
    return Client()


def test_liveness_asks_the_database_nothing(anybody, django_assert_num_queries, db):
    with django_assert_num_queries(0):
        answer = anybody.get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_both_answer_to_head_and_to_no_other_method(anybody, db, path):
    head = anybody.head(path)

    assert (head.status_code, head.content) == (200, b"")
    assert anybody.post(path).status_code == 405


def test_an_installation_where_nothing_is_wrong_is_ready(anybody, db):
    answer = anybody.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert {name: check["ok"] for name, check in answer.json()["checks"].items()} == {
        "database": True,
        "migrations": True,
        "triggers": True,
        "worker": True,
        "stuck": True,
    }
    assert "no-store" in answer["Cache-Control"]


def test_work_that_is_due_for_a_minute_and_not_done_is_a_failing_worker(anybody, db):
    started(FEE_ALONE)
    assert service_tasks().waiting(), "the fee waits for a worker"
    later(seconds=health.PROGRESS_SECONDS - 5)
    assert anybody.get("/readyz").status_code == 200

    later(seconds=10)
    answer = anybody.get("/readyz")

    assert answer.status_code == 503
    worker = answer.json()["checks"]["worker"]
    assert worker["ok"] is False
    assert worker["oldest_due_seconds"] > health.PROGRESS_SECONDS
    assert "is a worker running" in worker["why"]


def test_work_that_waits_for_agents_and_people_is_not_the_workers_fault(anybody, validator):
    started()
    later(days=3)

    assert anybody.get("/readyz").status_code == 200
    assert claimed(validator)


def test_workers_are_listed_by_their_beats_and_not_by_their_names(anybody, db):
    now = clock.now()
    WorkerHost.objects.create(name="db7.internal.example:4711", started_at=now, beat_at=now, restarts=2)
    later(seconds=7)

    answer = anybody.get("/readyz")

    (worker,) = answer.json()["checks"]["worker"]["workers"]
    assert worker["restarts"] == 2
    assert 7 <= worker["beat_seconds_ago"] < 60
    assert b"internal" not in answer.content


def test_a_migration_not_applied_is_named_by_its_number(anybody, db):
    MigrationRecorder.Migration.objects.filter(app="runs").latest("id").delete()

    answer = anybody.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"]["migrations"]["why"].startswith("1 migrations are not applied")


def test_a_missing_trigger_is_a_reason_not_to_be_ready(anybody, transactional_db):
    with triggers.disabled():
        answer = anybody.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"]["triggers"]["ok"] is False


def test_a_database_that_is_away_is_said_so_and_nothing_more_is_asked(anybody, db, monkeypatch):
    away = connections.create_connection("default")
    away.settings_dict = {**away.settings_dict, "NAME": "/nowhere/secret_place", "PORT": "1"}
    monkeypatch.setattr(health, "connection", away)

    answer = anybody.get("/readyz")

    assert answer.status_code == 503
    assert list(answer.json()["checks"]) == ["database"]
    assert b"secret_place" not in answer.content


def test_readiness_asks_the_same_number_of_questions_whatever_there_is(
    anybody, db, django_assert_num_queries, django_assert_max_num_queries
):
    anybody.get("/readyz")  # reads the migrations of the code, once per process
    with django_assert_max_num_queries(20) as few:
        anybody.get("/readyz")
    now = clock.now()
    for number in range(3):
        started(steps(FEE_ALONE["steps"][0], id=f"fee-{number}"))
        WorkerHost.objects.create(name=f"host:{number}", started_at=now, beat_at=now)

    with django_assert_num_queries(len(few)):
        assert anybody.get("/readyz").status_code == 200
