# SPDX-License-Identifier: Apache-2.0
"""Wake-ups: for whom an act rings, and that they neither hold it up nor are needed for anything to be kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import transaction

from approvals.services import decide
from config import wake
from runs.models import Task
from tests.runs.play import VALIDATOR, Play, agent, human, service

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def heard() -> Iterator[Any]:
    """The payloads of what has rung since the last time."""
    with psycopg.connect(**wake.listening_parameters()) as listening:
        listening.execute(f"LISTEN {wake.CHANNEL}")

        def since_then(seconds: float = 0.5) -> list[str]:
            wake._ringer._rung.clear()  # what rings next is not taken for part of this
            return [each.payload for each in listening.notifies(timeout=seconds, stop_after=1)]

        yield since_then


def test_each_act_rings_for_those_who_may_have_something_to_do(heard):
    play = Play(agent("look"), human("approve"), service("act"))
    assert heard() == ["tasks"]

    play.do("look")
    (asked,) = heard()
    assert {"inbox", "requests"} <= wake.words_of(asked)
    assert "tasks" not in asked

    decide(request_id=play.question("approve").pk, actor=play.person, outcome="PASS")
    (decided,) = heard()
    assert wake.words_of(decided) == {"requests", "work"}


def test_what_is_rolled_back_rings_for_nobody(heard):
    with transaction.atomic():
        wake.after_commit()
        transaction.set_rollback(True)

    assert heard() == []


def test_one_word_rings_once_in_a_moment_and_another_is_not_lost_for_it(heard):
    for words in ({wake.WORK}, {wake.WORK}, {wake.WORK, wake.TASKS}):
        wake._ringer.ring(frozenset(words))

    assert [payload for _ in range(3) for payload in heard()] == ["work", "tasks"]


def test_an_act_holds_though_nobody_can_be_woken_and_the_next_wake_up_is_heard_again(heard):
    play = Play(agent("look"), agent("check"))
    heard()
    with psycopg.connect(**wake.listening_parameters()) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE '%pg_notify%' AND pid <> pg_backend_pid()"
        )

    play.do("look")
    heard()

    assert Task.objects.get(path="check").role == VALIDATOR
    wake._ringer._rung.clear()
    wake._ringer.ring(frozenset({wake.WORK}))
    assert "work" in " ".join(heard())
