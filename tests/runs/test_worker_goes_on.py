# SPDX-License-Identifier: Apache-2.0
"""Our worker goes on with the next step of a run in the write that ends the one before, and claims many at once."""

import time

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_q.signing import SignedPackage

from audit import actions
from runs import due, jobs
from runs.claiming import Following, claim_for_worker
from runs.models import Effect, Task
from runs.services import complete_service_task
from tests.factories import actions_of, later, reloaded, started, steps, tasks_of
from tests.runs import actions as called

pytestmark = pytest.mark.django_db

OF_A_STEP = [actions.TASK_CLAIMED, actions.EFFECT_INTENDED, actions.EFFECT_CONFIRMED, actions.TASK_COMPLETED]


@pytest.fixture(autouse=True)
def _marks(tmp_path, monkeypatch):
    monkeypatch.setenv("HMS_ACT_TEST_MARKS", str(tmp_path))


def service(name, call="tests.charge $40", **step):
    return {"id": name, "role": "svc:finance", "call": call, **step}


def three(**step):
    return started(steps(service("one"), service("two", **step), service("three")))


def one(**step):
    return started(steps(service("one", **step)))


def perform(*tasks):
    jobs.perform("task", *(task.pk for task in tasks))


def states(run):
    return [(task.step, task.state) for task in tasks_of(run)]


# The next step of a run ------------------------------------------------------------------------------------


def test_one_ticket_performs_the_steps_of_a_run_that_follow_each_other():
    run = three()
    perform(*tasks_of(run))

    assert states(run) == [("one", "completed"), ("two", "completed"), ("three", "completed")]
    assert reloaded(run).state == "completed"
    assert len(set(called.marks())) == 3
    # Each is claimed where the one before it ends.
    claim, intend, confirm, complete = OF_A_STEP
    end_and_claim = [confirm, complete, claim, intend]
    assert actions_of(run) == [
        actions.RUN_STARTED, claim, intend, *end_and_claim, *end_and_claim, confirm, complete, actions.RUN_COMPLETED
    ]  # fmt: skip


def test_what_follows_is_handed_what_came_before():
    run = three()
    perform(*tasks_of(run))

    _, two, three_ = tasks_of(run)
    assert set(two.output["after"]) == {"one"}
    assert set(three_.output["after"]) == {"one", "two"}


def test_after_so_many_steps_the_next_one_waits_for_a_ticket(monkeypatch):
    monkeypatch.setattr(jobs, "MOST_IN_A_ROW", 2)
    run = three()
    perform(*tasks_of(run))

    assert states(run) == [("one", "completed"), ("two", "completed"), ("three", "pending")]
    assert jobs.tick() == 1
    assert reloaded(run).state == "completed"


def test_after_a_slow_step_the_next_one_waits_for_a_ticket(monkeypatch):
    monkeypatch.setattr(jobs, "GIVE_WAY_SECONDS", 0)
    run = three()
    perform(*tasks_of(run))

    assert states(run) == [("one", "completed"), ("two", "pending")]


def test_the_step_of_an_agent_is_left_to_the_agent():
    run = started(steps(service("one"), {"id": "two", "role": "agent:validator"}))
    perform(*tasks_of(run))

    assert states(run) == [("one", "completed"), ("two", "pending")]
    assert tasks_of(run)[1].ready_at is not None


def test_a_fault_of_the_step_that_follows_is_its_own():
    retries = {"maximum_attempts": 2, "initial_interval": 5, "jitter": "none"}
    run = three(call="tests.busy_once", retries=retries)
    perform(*tasks_of(run))
    assert states(run) == [("one", "completed"), ("two", "failed"), ("two", "pending")]

    later(seconds=6)
    jobs.tick()
    assert reloaded(run).state == "completed"


def test_an_end_whose_commit_nobody_heard_of_finds_again_what_it_took_up(worker_user):
    run = three()
    ((lease, effect),) = claim_for_worker(task_ids=[tasks_of(run)[0].pk], actor=worker_user, holder="here:1")
    told = {"lease": lease, "effect": effect, "actor": worker_user, "result": {"charged": 40}}
    complete_service_task(**told, following=(first := Following(worker_user, "here:1")))
    heard, first.held = first.held, None

    complete_service_task(**told, following=first)

    (again, its_effect), (taken, taken_effect) = first.held, heard
    assert (again.task.pk, again.token, again.fence, again.input) == (
        taken.task.pk, taken.token, taken.fence, taken.input
    )  # fmt: skip
    assert its_effect == taken_effect
    complete_service_task(lease=again, effect=its_effect, actor=worker_user, result={"charged": 41})
    assert states(run)[1] == ("two", "completed")


def test_an_end_that_takes_up_what_follows_is_one_write(worker_user):
    run = three()
    ((lease, effect),) = claim_for_worker(task_ids=[tasks_of(run)[0].pk], actor=worker_user, holder="here:1")
    following = Following(worker_user, "here:1")

    with CaptureQueriesContext(connection) as queries:
        complete_service_task(lease=lease, effect=effect, actor=worker_user, result={}, following=following)

    assert following.held
    writing = [query["sql"] for query in queries if "INSERT INTO" in query["sql"]]
    assert len(writing) == {"postgresql": 1, "sqlite": 4}[connection.vendor]  # task, effect, entries, disclosures


# Several at once -------------------------------------------------------------------------------------------


def test_a_ticket_of_several_claims_them_at_once_and_performs_each():
    runs = [one() for _ in range(5)]
    tasks = [task for run in runs for task in tasks_of(run)]

    perform(*tasks)

    assert {reloaded(run).state for run in runs} == {"completed"}
    assert [actions_of(run) for run in runs] == 5 * [[actions.RUN_STARTED, *OF_A_STEP, actions.RUN_COMPLETED]]
    assert len(set(called.marks())) == 5


def test_several_are_claimed_by_as_many_statements_as_one(worker_user):
    def cost(count):
        ids = [tasks_of(one())[0].pk for _ in range(count)]
        with CaptureQueriesContext(connection) as queries:
            assert len(claim_for_worker(task_ids=ids, actor=worker_user, holder="here:1")) == count
        return len(queries)

    updates = {"postgresql": 0, "sqlite": 3}[connection.vendor]  # which SQLite makes in turn
    assert cost(4) == cost(1) + updates


def test_what_takes_effect_once_is_not_claimed_before_its_turn_has_come(worker_user):
    runs = [one(), one(effect="once"), one(), one(effect="once")]
    tasks = [task for run in runs for task in tasks_of(run)]
    held = claim_for_worker(task_ids=[task.pk for task in tasks], actor=worker_user, holder="here:1")
    assert [lease.task for lease, _ in held] == [tasks[0], tasks[2]]

    others = [one(), one(effect="once"), one(), one(effect="once")]
    perform(*(task for run in others for task in tasks_of(run)))
    assert {reloaded(run).state for run in others} == {"completed"}, "each when its turn had come"


def test_what_others_have_taken_meanwhile_is_left_out(worker_user):
    tasks = [tasks_of(one())[0] for _ in range(3)]
    claim_for_worker(task_ids=[tasks[1].pk], actor=worker_user, holder="other:1")
    perform(*tasks)

    assert [task.state for task in Task.objects.order_by("id")] == ["completed", "running", "completed"]


def test_where_the_first_is_slow_the_others_are_left_as_they_are(monkeypatch):
    runs = [one() for _ in range(3)]
    with monkeypatch.context() as slow:
        slow.setattr(jobs, "GIVE_WAY_SECONDS", 0)
        perform(*(task for run in runs for task in tasks_of(run)))

    assert [task.state for task in Task.objects.order_by("id")] == ["completed", "pending", "pending"]
    assert actions_of(runs[1]) == [actions.RUN_STARTED]


def test_where_the_first_is_not_quick_each_is_claimed_when_its_turn_comes(monkeypatch):
    runs = [one() for _ in range(4)]
    with monkeypatch.context() as slow:
        slow.setattr(jobs.time, "monotonic", lambda: 0.4 * len(called.marks()))
        perform(*(task for run in runs for task in tasks_of(run)))

    assert [task.state for task in Task.objects.order_by("id")] == ["completed"] * 3 + ["pending"]
    assert actions_of(runs[3]) == [actions.RUN_STARTED], "and nothing was claimed to be given back"


def test_what_is_left_when_others_turn_out_slow_is_given_back_and_done_once(monkeypatch):
    runs = [one() for _ in range(3)]
    with monkeypatch.context() as slow:
        slow.setattr(jobs.time, "monotonic", lambda: 10.0 * (len(called.marks()) == 2))
        perform(*(task for run in runs for task in tasks_of(run)))
    assert [task.state for task in Task.objects.order_by("id")] == ["completed", "completed", "pending"]
    assert actions_of(runs[2])[-1] == actions.TASK_RELEASED

    assert jobs.tick() == 1
    assert {reloaded(run).state for run in runs} == {"completed"}
    assert len(called.marks()) == len(set(called.marks())) == 3
    assert Effect.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_where_more_wait_than_tickets_are_given_a_ticket_names_several(broker, monkeypatch):
    monkeypatch.setattr("runs.broker.Conf.QUEUE_LIMIT", 2)
    tasks = [tasks_of(one())[0].pk for _ in range(5)]

    tickets = [SignedPackage.loads(package)["args"] for _, package in broker.dequeue()]
    assert tickets == [("task", *tasks[:3]), ("task", *tasks[3:])]

    one()
    (ticket,) = [SignedPackage.loads(package)["args"] for _, package in broker.dequeue()]
    assert len(ticket) == 2


@pytest.mark.django_db(transaction=True)
def test_what_stands_behind_another_in_its_ticket_is_soon_named_again(broker, monkeypatch):
    monkeypatch.setattr("runs.broker.Conf.QUEUE_LIMIT", 2)
    tasks = [tasks_of(one())[0].pk for _ in range(5)]
    seen = due.look()
    named = lambda: [SignedPackage.loads(package)["args"] for _, package in broker._tickets(seen)]  # noqa: E731
    now = time.monotonic()

    at = {}
    for after in (0, 0.4, 0.6, 2.1):
        monkeypatch.setattr(time, "monotonic", lambda after=after: now + after)
        at[after] = {task for ticket in named() for task in ticket[1:]}
    monkeypatch.undo()

    assert at == {
        0: set(tasks),
        0.4: set(),
        0.6: {tasks[1], tasks[2], tasks[4]},
        2.1: set(tasks) - {tasks[1], tasks[4]},
    }
