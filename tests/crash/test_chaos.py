# SPDX-License-Identifier: Apache-2.0
"""Twenty kills of a worker's processes, idle and busy, its supervisor's among them, while forty runs go through.

Nothing is lost, nothing is done twice, nothing stands still.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest

from audit import actions
from audit.models import Entry
from runs import services
from runs.models import Effect, Run, Task, TaskState
from tests.crash.house import charging, told, until
from tests.crash.kept import KeptWorker, Marksman
from tests.factories import founder, published, tasks_of

pytestmark = pytest.mark.django_db(transaction=True)

SEED = 20260301
STEPS = ("reserve", "charge")
LEASE_SECONDS = 4
BUSY_SECONDS = 0.1  # before and after each call
RUNS, RUNS_A_ROUND = 40, 6
ANY, AT_WORK, SUPERVISOR = "any but the supervisor", "one in the middle of a call", "the supervisor"
ROUNDS = (  # whether it begins with nothing to do; and who is killed
    (True, (ANY, ANY, ANY, ANY)),
    (False, (AT_WORK, ANY, AT_WORK, ANY)),
    (True, (ANY, SUPERVISOR, ANY, ANY)),
    (False, (AT_WORK, ANY, ANY, ANY)),
    (False, (SUPERVISOR, ANY, AT_WORK, ANY)),
)
KILLS = Counter(victim for _, victims in ROUNDS for victim in victims)
LONGEST_PAUSE = 0.5  # seconds between two kills
STALL_SECONDS = 6  # in which a supervisor on a quick machine notices


@pytest.fixture
def worker(environment, tmp_path) -> Iterator[KeptWorker]:
    kept = KeptWorker(environment, tmp_path / "worker.log")
    yield kept
    kept.stop()
    print(kept.log.read_text())


def test_twenty_kills_lose_nothing_double_nothing_and_stop_nothing(worker, receiver):
    start = Starter()
    began = time.monotonic()
    start()
    until(nothing_is_open, "the first run")
    # As long as a worker takes to start on this machine, now: twice that, and what its supervisor waits at most.
    few_seconds = STALL_SECONDS + 2 * (time.monotonic() - began)
    marksman = Marksman(worker, SEED)
    shots = {
        ANY: marksman.shoot,
        AT_WORK: lambda: marksman.shoot_at_work(receiver),
        SUPERVISOR: marksman.shoot_supervisor,
    }

    for is_idle, victims in ROUNDS:
        if is_idle:
            until(nothing_is_open, "the end of what was begun")
        else:
            for _ in range(RUNS_A_ROUND):
                start()
        for victim in victims:
            marksman.pause(LONGEST_PAUSE)
            shots[victim]()
        assert_started_within(start(), LEASE_SECONDS + few_seconds)
    while Run.objects.count() < RUNS:
        start()
    until(nothing_is_open, "the end of all runs")

    assert marksman.kills == KILLS.total() == 20
    assert worker.starts == 1 + KILLS[SUPERVISOR]
    assert_nothing_lost()
    assert_nothing_double(receiver)
    assert_leases_ended_in_time(few_seconds)
    worker.stop()
    assert marksman.survivors() == []


class Starter:
    def __init__(self) -> None:
        self.version = published(charging(*STEPS, token_ttl=LEASE_SECONDS))
        self.by = founder()

    def __call__(self) -> Run:
        playbook = self.version.playbook.slug
        return services.start_run(actor=self.by, playbook=playbook, payload={"busy_seconds": BUSY_SECONDS})


def nothing_is_open() -> bool:
    return not Run.objects.open().exists()


def assert_started_within(run: Run, seconds: float) -> None:
    """Whatever was killed a moment ago, the next run is taken up soon."""
    claims = Entry.objects.filter(run_id=run.pk, action=actions.TASK_CLAIMED)
    claimed_at = until(lambda: claims.order_by("id").values_list("at", flat=True).first(), "the next start")
    assert claimed_at - run.created_at <= timedelta(seconds=seconds)


def assert_nothing_lost() -> None:
    """Every run is completed, by exactly the entries that its lost leases explain."""
    assert set(Run.objects.values_list("state", flat=True)) == {"completed"}
    for run in Run.objects.all():
        tasks = tasks_of(run)
        assert [(task.step, task.attempt, task.state) for task in tasks] == [
            (step, 1, TaskState.COMPLETED) for step in STEPS
        ]
        lost = sum(task.lease_losses for task in tasks)
        log = told(run)
        late = log.pop(actions.TASK_COMPLETE_DENIED, 0)  # of a holder that was slow, and not killed
        assert late <= lost
        given_back = log.pop(actions.TASK_RELEASED, 0)  # unbegun, since others in hand took long
        assert log == +Counter({
            actions.RUN_STARTED: 1,
            actions.TASK_CLAIMED: len(STEPS) + lost + given_back,
            actions.EFFECT_INTENDED: len(STEPS) + lost + given_back,
            actions.TASK_LEASE_LOST: lost,
            actions.EFFECT_CONFIRMED: len(STEPS),
            actions.TASK_COMPLETED: len(STEPS),
            actions.RUN_COMPLETED: 1,
        })  # fmt: skip


def assert_nothing_double(receiver) -> None:
    """One effect for each step, known to us by its number; asked for again only where a lease was lost."""
    confirmed = {effect.key: effect.result["charge"] for effect in Effect.objects.filter(state="confirmed")}
    assert confirmed == receiver.effects
    assert len(receiver.effects) == len(STEPS) * Run.objects.count()
    lost = sum(Task.objects.values_list("lease_losses", flat=True))
    assert lost >= KILLS[AT_WORK]
    assert len(receiver.asked) - len(receiver.effects) <= lost


def assert_leases_ended_in_time(few_seconds: float) -> None:
    """What a dead process held was taken back when its lease was over, and not long after."""
    for task in Task.objects.filter(lease_losses__gt=0):
        told_of = Entry.objects.filter(task_id=task.pk, action__in=(actions.TASK_CLAIMED, actions.TASK_LEASE_LOST))
        moments = list(told_of.order_by("id").values_list("at", flat=True))
        for claimed_at, lost_at in zip(moments[::2], moments[1::2], strict=False):
            held = (lost_at - claimed_at).total_seconds()
            assert LEASE_SECONDS <= held <= LEASE_SECONDS + few_seconds
