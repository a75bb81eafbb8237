# SPDX-License-Identifier: Apache-2.0
"""Functions that can be paused and cancelled with their run, and what is told of a call."""

from __future__ import annotations

import asyncio
import functools
import threading

import pytest

from hms_act.answers import Task
from hms_act.decorators import _arguments, _name_of
from hms_act.hitl import HITLService, Interrupted, checkpoint, interrupt_sync, interruptible
from tests.sdk.wire import Answer, in_seconds, problem

BEAT = "POST /acts/tasks/31/heartbeat"
TASK = Task(id=31, run_id=9001, step="move", token="token-31")


@pytest.fixture
def watched(client):
    return functools.partial(interruptible, check_interval=0.01, service=HITLService(client))


def beats(**said: bool) -> Answer:
    return Answer(200, {"expires_at": in_seconds(60), "cancel_requested": False, "paused": False, **said})


def test_an_async_function_is_watched_and_its_lease_kept_while_it_works(wire, watched):
    wire.always(BEAT, beats())

    @watched()
    async def move(task):
        await asyncio.to_thread(wire.wait_for, BEAT, 3)
        return "moved"

    assert asyncio.run(move(TASK)) == "moved"
    assert wire.calls(BEAT)[0].body == {"token": "token-31"}


def test_an_async_function_is_cancelled_with_its_run_and_may_clean_up(wire, watched):
    wire.answers(BEAT, beats())
    wire.always(BEAT, beats(cancel_requested=True))
    seen = []

    @watched()
    async def move(task):
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            seen.append("cleaned up")

    with pytest.raises(Interrupted, match="run 9001 is being cancelled"):
        asyncio.run(move(TASK))
    assert seen == ["cleaned up"]


def test_an_async_function_is_held_while_its_run_is_paused(wire, watched):
    wire.answers(BEAT, *[beats(paused=True)] * 3)
    wire.always(BEAT, beats())
    steps = []

    @watched()
    async def move(task):
        await asyncio.to_thread(wire.wait_for, BEAT, 1)
        for step in range(3):
            steps.append((step, len(wire.calls(BEAT))))
            await asyncio.sleep(0.02)

    asyncio.run(move(TASK))

    assert [step for step, _ in steps] == [0, 1, 2]
    assert steps[-1][1] >= 4, "it went on when the pause was over"


def test_a_plain_function_stops_at_its_checkpoints(wire, watched):
    wire.answers(BEAT, beats(), beats(paused=True), beats(paused=True))
    wire.always(BEAT, beats(cancel_requested=True))
    done = []

    @watched(check_interval=0.0)
    def move(task):
        for step in range(10):
            checkpoint()
            done.append(step)

    with pytest.raises(Interrupted):
        move(TASK)
    assert done == [0], "paused before the second, cancelled in the pause"


def test_a_lost_lease_is_an_interruption(wire, watched):
    wire.always(BEAT, problem(409, "lease_lost", "Somebody else holds it."))

    @watched()
    async def move(task):
        await asyncio.sleep(60)

    with pytest.raises(Interrupted, match="held by nobody, or by somebody else"):
        asyncio.run(move(TASK))


def test_what_the_function_raises_is_raised_and_who_cancels_it_cancels_it(wire, watched):
    wire.always(BEAT, beats())
    seen = []

    @watched()
    async def broken(task):
        raise ValueError("a fault of its own")

    @watched()
    async def slow(task):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def impatient() -> None:
        await asyncio.wait_for(slow(TASK), 0.2)

    with pytest.raises(ValueError, match="a fault of its own"):
        asyncio.run(broken(TASK))
    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    assert seen == ["cancelled"]


def test_without_a_task_nothing_is_asked_of_the_server(watched):
    @watched()
    async def think(much):
        await asyncio.sleep(0)
        return much

    @watched()
    def plain():
        checkpoint()
        return "done"

    assert (asyncio.run(think(2)), plain()) == (2, "done")


def test_outside_an_interruptible_function_there_is_nothing_to_interrupt():
    for act in (checkpoint, lambda: interrupt_sync("May I?")):
        with pytest.raises(RuntimeError, match="@interruptible"):
            act()


def test_two_calls_in_two_threads_are_two_lives(wire, watched):
    wire.always(BEAT, beats())
    results = []

    @watched(check_interval=0.0)
    def move(task, number):
        checkpoint()
        results.append(number)

    threads = [threading.Thread(target=move, args=(TASK, number)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == [0, 1, 2, 3]


def test_a_call_is_told_by_the_names_of_its_arguments_and_the_same_in_every_process():
    class Anything:
        pass

    def pay(self, amount, *more, to="clerk", **rest):
        """Never called."""

    given = _arguments(pay, (None, 4, {"a": (1, 2)}), {"key": "s3cret", "what": Anything()}, ["to"])

    rest = {"key": "s3cret", "what": f"<{Anything.__qualname__}>"}
    assert given == {"amount": 4, "more": [{"a": [1, 2]}], "to": "(hidden)", "rest": rest}
    assert _name_of(pay).endswith("every_process.pay")
    assert _name_of(lambda: None).endswith("_lambda_")
