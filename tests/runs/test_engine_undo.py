# SPDX-License-Identifier: Apache-2.0
"""Before a run ends failed or cancelled, what was completed is undone: the last first, each at most once."""

import pytest

from playbooks.definition import StepKind
from runs import engine
from runs.engine import Position
from tests.runs.engine_story import Story, agent, foreach, parallel, switch

UNDO = {"compensate": "un.do"}


def paid(*after):
    """Two steps with a `compensate` are completed; what comes after has begun."""
    story = Story(agent("reserve", **UNDO), agent("look"), agent("charge", **UNDO), *after)
    story.starts()
    for step in ("reserve", "look", "charge"):
        said = story.ended(step)
    assert said
    return story


def cancel(story):
    return story.take(engine.run_cancelled(story.definition, story.position))


def test_a_run_that_fails_undoes_one_step_after_another_and_then_fails():
    story = paid(agent("mail"))

    assert story.failed("mail", reason="Timeout") == ["compensate charge~compensate"]
    assert story.ended("charge~compensate") == ["compensate reserve~compensate"]
    assert story.ended("reserve~compensate") == ["fail mail"]
    assert story.moves[-1].reason == "Timeout"


def test_a_run_that_is_cancelled_undoes_them_and_then_is_cancelled():
    story = paid(agent("mail"))

    assert cancel(story) == ["close ", "compensate charge~compensate"]
    assert story.ended("charge~compensate") == ["compensate reserve~compensate"]
    assert story.ended("reserve~compensate") == ["cancelled"]


def test_a_run_that_completes_undoes_nothing():
    assert paid(agent("mail")).ended("mail") == ["complete"]


def test_where_nothing_is_to_be_undone_a_cancelled_run_ends_at_once():
    story = Story(agent("a"))
    story.starts()

    assert cancel(story) == ["close ", "cancelled"]


def test_a_step_is_undone_by_a_service_step_of_its_own():
    story = paid(agent("mail"))
    story.failed("mail")
    (move,) = story.moves

    assert (move.step.id, move.step.kind, move.step.call.action) == ("charge", StepKind.SERVICE, "un.do")
    assert engine.step_at(story.definition, move.path) == move.step


@pytest.mark.parametrize("event", ["failed", "verdict"])
def test_what_cannot_be_undone_waits_for_an_operator(event):
    story = paid(agent("mail"))
    story.failed("mail")
    undo = "charge~compensate"

    said = story.failed(undo, reason="closed") if event == "failed" else story.ended(undo, "FAIL")
    assert said == [f"incident {undo}"]
    assert story.retried(undo) == [f"compensate {undo}"]
    assert story.ended(undo) == ["compensate reserve~compensate"]


def test_an_operator_may_leave_a_step_as_it_is_and_the_others_are_undone():
    for event in ("skipped", "failed"):
        story = paid(agent("mail"))
        story.failed("mail")
        story.failed("charge~compensate")
        more = {"is_final": True} if event == "failed" else {}

        assert getattr(story, event)("charge~compensate", **more) == ["compensate reserve~compensate"]


@pytest.mark.parametrize("way", ["skipped", "failed, and went on", "when is false", "incident passed over"])
def test_what_was_not_done_is_not_undone(way):
    fields = {
        "when is false": {"when": "no"},
        "failed, and went on": {"on_failure": "CONTINUE"},
        "incident passed over": {"on_exhausted": "INCIDENT"},
        "skipped": {},
    }[way]
    jump = {"on_failure": {"to": "mail"}} if way == "skipped" else {"on_failure": "CONTINUE"}
    story = Story(agent("first", **jump), agent("a", **UNDO, **fields), agent("mail"), values={"no": False})
    story.starts()
    story.failed("first")
    if way in ("failed, and went on", "incident passed over"):
        story.failed("a")
    if way == "incident passed over":
        story.skipped("a")

    assert story.failed("mail") == ["fail mail"]


def test_the_order_is_that_of_completion_whatever_stands_first_in_the_playbook():
    story = Story(parallel("check", [agent("a", **UNDO)], [agent("b", **UNDO)], **UNDO), agent("end"))
    story.starts()
    story.ended("check/1/b")
    assert story.ended("check/0/a") == ["leave check PASS 2+0", "open end"]

    assert story.failed("end") == ["compensate check~compensate"]
    assert story.ended("check~compensate") == ["compensate check/0/a~compensate"]
    assert story.ended("check/0/a~compensate") == ["compensate check/1/b~compensate"]


def test_steps_of_a_branch_that_was_closed_are_undone_too():
    story = Story(parallel("check", [agent("a", **UNDO), agent("b")], [agent("c")], join="ANY"), agent("end"))
    story.starts()
    story.ended("check/0/a")
    story.ended("check/1/c")

    assert story.failed("end") == ["compensate check/0/a~compensate"]


def test_a_step_that_was_done_again_is_undone_once():
    body = (agent("a", **UNDO), agent("b"))
    story = Story(foreach("f", "x", *body, on_exhausted="INCIDENT"), agent("end"), values={"x": [1]})
    story.starts()
    story.ended("f[0]/a")
    story.failed("f[0]/b")
    story.retried("f")
    story.ended("f[0]/a")
    story.ended("f[0]/b")

    assert story.failed("end") == ["compensate f[0]/a~compensate"]
    assert story.ended("f[0]/a~compensate") == ["fail end"]


def test_a_failure_that_is_answered_undoes_nothing():
    case = {"steps": [agent("a", **UNDO), agent("b")]}
    story = Story(switch("s", case, on_failure="CONTINUE"), agent("end"))
    story.starts()
    story.ended("s/0/a")

    assert story.failed("s/0/b") == ["leave s FAIL", "open end"]
    assert story.failed("end") == ["compensate s/0/a~compensate"]


def test_a_task_completed_while_its_run_is_being_cancelled_is_undone_with_the_others():
    story = paid(agent("refit", **UNDO))
    for _ in range(2):  # said twice, undone once
        story.position = engine.completed_late(story.definition, story.position, "refit")

    assert cancel(story) == ["close ", "compensate refit~compensate"]
    assert story.ended("refit~compensate") == ["compensate charge~compensate"]


def test_a_task_completed_late_that_has_no_compensate_changes_nothing():
    story = paid(agent("mail"))

    assert engine.completed_late(story.definition, story.position, "mail") is story.position


def test_who_cancels_a_run_that_is_failing_changes_nothing():
    story = paid(agent("mail"))
    story.failed("mail")

    assert cancel(story) == []
    assert story.ended("charge~compensate") == ["compensate reserve~compensate"]


def test_a_run_that_is_being_undone_is_read_back_as_it_was():
    failing, cancelling = paid(agent("mail")), paid(agent("mail"))
    failing.failed("mail", reason="Timeout")
    cancel(cancelling)

    for story in (failing, cancelling):
        assert Position.from_json(story.position.as_json()) == story.position


def test_only_what_is_being_undone_can_have_been_undone():
    story = paid(agent("mail"))
    story.failed("mail")

    with pytest.raises(AssertionError, match="reserve~compensate is not what is being undone"):
        story.ended("reserve~compensate")
    with pytest.raises(AssertionError, match="while the run is being undone"):
        story.ended("mail")
