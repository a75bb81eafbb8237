# SPDX-License-Identifier: Apache-2.0
"""The cases of `make bench` still run, in their smallest form and without peers; no time is held against anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from bench import claimer, composite, engine, http, idle, inside, over_http, places, servers, timers, transition, world
from bench.calling import Caller
from bench.contest import Contestant
from bench.latency import City
from runs.models import Task

AT_ONCE = (0.0, 0.0)


@pytest.fixture
def environment(process_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of the cases' own processes, on the database of the test; and of this one, as they would find it."""
    monkeypatch.setenv("DATABASE_URL", process_environment["DATABASE_URL"])
    monkeypatch.setattr(places, "var", lambda: Path(process_environment["HMS_ACT_VAR"]))
    for name, value in {**places.environment(process_environment["DATABASE_URL"]), **process_environment}.items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


@pytest.fixture
def floor_database(environment: dict[str, str]) -> Iterator[str]:
    """The address of a database beside the one of the test."""
    name = f"{environment['DATABASE_URL'].rpartition('/')[2]}_floor"
    yield places.new_database(name)
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.django_db(transaction=True)
def test_a_transition_is_timed_round_by_round():
    rounds = transition.alone(rounds=2, each=3)

    assert [len(took) for took in rounds] == [3, 3]
    assert transition.faults(rounds=2, each=3) == []


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_transition_is_timed_beside_its_floor(floor_database):
    with psycopg.connect(floor_database, autocommit=True, prepare_threshold=0) as floor:
        mine, least = transition.side_by_side(floor, rounds=2, each=4, size=2)
        done = floor.execute("SELECT count(*) FROM task WHERE state = 'done'").fetchone()

    assert [len(took) for took in (*mine, *least)] == [4, 4, 4, 4]
    assert transition.faults(rounds=2, each=4) == []
    assert done == (transition.WARM_UP + 8,)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_the_engine_ends_every_run_with_a_person_in_another_process(environment, tmp_path):
    with Contestant("engine", inside.command("engine"), environment, tmp_path / "engine.log") as contestant:
        played = contestant.play(concurrency=2, seconds=0.1)

    assert played["done"] >= 2
    assert played["faults"] == []


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_queue_is_claimed_from_past_what_is_not_yet_due():
    world.people()
    claimer.fill(world.publish(world.PERMIT3), due=30, not_yet_due=20)

    assert claimer.claim(5) > 0
    assert claimer.faults(claimed=5) == []
    assert (Task.objects.count(), Task.objects.ready().count()) == (50, 25)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_an_installation_is_measured_over_http_and_at_rest(environment, floor_database, monkeypatch):
    monkeypatch.setattr(http, "GUESS", 200)
    people = world.people()
    world.publish(world.PERMIT3)
    keys = {user.username: world.key_of(user) for user in (people.starter, people.validator, people.liaison)}
    with ExitStack() as stack:
        address, web = stack.enter_context(servers.web(environment))
        worker = stack.enter_context(servers.worker(environment))
        waiting = stack.enter_context(ThreadPoolExecutor(1))
        database = stack.enter_context(psycopg.connect(floor_database, autocommit=True))
        views = stack.enter_context(http.floor(floor_database, database))

        city = City({name: Caller(address, key) for name, key in keys.items()}, waiting, quiet=AT_ONCE)
        started, decided = city.play(1)
        with over_http.Clients(address, keys) as clients:
            took = clients.run_once()
        memory, percent = idle.idle([web.pid, worker.pid], 0.1)
        assert min(*started, *decided, took, memory, percent) >= 0
        assert engine.faults() == []

        sides = [http.ours(address, people.validator), *views]
        for side in sides:
            side.play(0.2)
        assert http.faults(sides[0], views, database) == []
        assert min(side.answered() for side in sides) >= http.CONNECTIONS


@pytest.mark.django_db(transaction=True)
def test_a_step_is_timed_in_runs_of_every_shape():
    people = world.people()

    for document, steps in composite.shapes(branches=3, items=4, steps=5).values():
        assert composite.per_step_ms(world.publish(document), people, steps) > 0

    assert composite.faults() == []


@pytest.mark.django_db(transaction=True)
def test_timers_are_timed_and_sleepers_sleep(environment):
    people = world.people()
    world.publish(timers.SLEEPER)
    world.publish(timers.ALARM)
    timers.put_to_sleep(people, 3)

    with servers.worker(environment):
        late = timers.lateness_ms(people, count=3, seconds=0.3)

    assert len(late) == 3
    assert timers.faults(sleeping=3) == []
