# SPDX-License-Identifier: Apache-2.0
"""Runs within runs: started, waited for, closed with what started them; no act locks two of them."""

import pytest

from playbooks import services as playbooks
from runs import children, stopping
from runs.models import Run, RunMessage
from tests.factories import founder, published
from tests.runs.play import Play, agent, child, foreach, parallel

pytestmark = pytest.mark.django_db

INNER = {"id": "inner", "steps": [agent("work")]}


def with_child(*after, **fields):
    published(INNER)
    play = Play(child("sub", "inner", **fields), *after, payload={"n": 1})
    play.tick()
    return play, Play(run=Run.objects.get(parent__run=play.run_id))


def test_the_step_ends_with_its_run_and_hands_on_what_it_gave():
    play, inner = with_child(agent("end"))
    assert inner.run.payload == {"n": 1}
    assert (inner.run.depth, inner.run.started_by) == (1, founder())
    inner.do("work", output={"m": 2})
    play.tick()
    assert play.open == {"end"}
    assert play.task("sub").output == {"work": {"m": 2}}


def test_it_is_handed_what_the_step_maps():
    _, inner = with_child(input={"m": "payload.n + 1"})
    assert inner.run.payload == {"m": 2}


def test_a_run_that_fails_fails_the_step():
    play, inner = with_child()
    inner.fail("work")
    play.tick()
    assert play.state == "failed"
    assert play.task("sub").error_message == f"its run {inner.run_id} ended failed"


@pytest.mark.parametrize(
    ("fields", "why"), [({}, "no published playbook inner"), ({"version": 1}, "version 1 of inner")]
)
def test_a_playbook_that_is_not_published_any_more_fails_the_step(fields, why):
    published(INNER)
    play = Play(child("sub", "inner", **fields))
    playbooks.retire_version(actor=founder(), playbook="inner", number=1)
    play.tick()
    assert play.state == "failed"
    assert why in play.task("sub").error_message


def test_a_payload_that_does_not_fit_fails_the_step():
    schema = {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}}
    published({**INNER, "payload_schema": schema})
    play = Play(child("sub", "inner"))
    play.tick()
    assert play.state == "failed"
    assert "'size' is a required property" in play.task("sub").error_message


def test_a_playbook_that_starts_itself_ends():
    play = Play(child("sub", "endless"), id="endless")
    for _ in range(4):
        play.tick()
    assert play.state == "failed"
    assert Run.objects.count() == children.MAX_DEPTH + 1
    assert set(Run.objects.values_list("state", flat=True)) == {"failed"}
    assert not RunMessage.objects.filter(done_at=None).exists()


@pytest.mark.parametrize(
    ("policy", "state"),
    [(None, "terminated"), ("TERMINATE", "terminated"), ("REQUEST_CANCEL", "cancelled"), ("ABANDON", "running")],
)
def test_what_becomes_of_it_when_its_step_is_closed(policy, state):
    play, inner = with_child(**({"parent_close_policy": policy} if policy else {}))
    stopping.cancel_run(run_id=play.run_id, actor=founder())
    play.tick()
    assert play.state == "cancelled"
    assert inner.state == state


def test_a_step_that_was_closed_before_its_run_began_starts_none():
    published(INNER)
    play = Play(child("sub", "inner"))
    stopping.cancel_run(run_id=play.run_id, actor=founder())
    play.tick()
    assert Run.objects.filter(parent__isnull=False).count() == 0


def test_a_loser_takes_its_run_with_it():
    published(INNER)
    play = Play(parallel("either", [child("sub", "inner")], [agent("waive")], join="ANY"), agent("end"))
    play.tick()
    inner = Play(run=Run.objects.get(parent__run=play.run_id))
    play.do("either/1/waive")
    play.tick()
    assert inner.state == "terminated"
    assert play.open == {"end"}


def test_one_for_each_item():
    published(INNER)
    play = Play(foreach("each", "[1, 2]", child("sub", "inner", input={"n": "item"})), agent("end"))
    play.tick()
    assert sorted(Run.objects.filter(parent__isnull=False).values_list("payload__n", flat=True)) == [1, 2]


def test_a_message_is_acted_upon_once():
    play, _ = with_child()
    message = RunMessage.objects.get(task__run=play.run_id)
    children.perform(message.pk)
    assert Run.objects.filter(parent__run=play.run_id).count() == 1
