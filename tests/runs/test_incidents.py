# SPDX-License-Identifier: Apache-2.0
"""Incidents: a step that cannot go on waits for an operator, who has it tried again, leaves it out, or lets it fail."""

import pytest

from audit import actions
from config.errors import Forbidden, Invalid, NotFound, WrongState
from runs import stopping
from runs.incidents import resolve_incident
from runs.models import Task
from tests.factories import founder, user
from tests.runs.play import Play, agent, foreach, parallel, service, switch

pytestmark = pytest.mark.django_db

HELD = {"on_exhausted": "INCIDENT"}


def resolve(play, path, resolution, reason="seen to", by=None, output=None):
    task = play.task(path)
    return resolve_incident(task_id=task.pk, actor=by or founder(), resolution=resolution, reason=reason, output=output)


def stuck():
    play = Play(agent("a", **HELD), agent("b", when='steps["a"].state != "failed"'))
    play.fail("a")
    return play


def test_the_run_goes_on_waiting_and_says_so():
    play = stuck()
    assert play.state == "running"
    assert play.incidents == {"a"}
    assert play.task("a").error_type == "Broken"


def test_tried_again_it_has_all_its_attempts_anew():
    play = Play(agent("a", retries=1, **HELD), agent("b"))
    play.fail("a", retryable=True)
    play.tick(minutes=5)
    play.fail("a", retryable=True)
    assert play.incidents == {"a"}

    resolve(play, "a", "retry")
    assert play.incidents == set()
    assert play.task("a").attempt == 3
    play.fail("a", retryable=True)
    assert play.incidents == set()
    play.tick(minutes=5)
    play.do("a")
    assert play.open == {"b"}
    assert [task.attempt for task in Task.objects.filter(path="a").order_by("id")] == [1, 2, 3, 4]


def test_left_out_the_run_goes_on_with_the_output_it_is_given():
    play = Play(agent("a", **HELD), agent("b", input={"n": "data.a.n"}))
    play.fail("a")
    resolve(play, "a", "skip", output={"n": 7})
    assert play.claim("b").input == {"n": 7}
    assert play.states["a"] == "skipped"


def test_let_fail_the_playbook_says_what_follows():
    play = Play(agent("a", on_failure="CONTINUE", **HELD), agent("b"))
    play.fail("a")
    resolve(play, "a", "fail")
    assert play.open == {"b"}
    play = stuck()
    resolve(play, "a", "fail")
    assert play.state == "failed"


def test_who_resolved_it_and_why_is_in_the_log():
    play = stuck()
    resolve(play, "a", "skip", reason="done by hand")
    (entry,) = play.entries(actions.INCIDENT_RESOLVED)
    assert (entry.actor_name, entry.note, entry.data) == ("founder", "done by hand", {"resolution": "skip"})


def test_only_what_failed_in_a_foreach_is_run_again():
    play = Play(foreach("each", "[1, 2, 3]", agent("a"), **HELD), agent("end"))
    play.do("each[0]/a", output=1)
    play.fail("each[1]/a")
    assert play.incidents == {"each"}
    assert play.states["each[2]/a"] == "cancelled"

    resolve(play, "each", "retry")
    assert play.open == {"each", "each[1]/a", "each[2]/a"}
    play.do("each[1]/a", "each[2]/a", output=2)
    assert play.open == {"end"}
    assert play.task("each").output == [{"a": 1}, {"a": 2}, {"a": 2}]
    assert play.task("each").attempt == 2


def test_a_parallel_step_or_a_switch_may_be_left_out():
    for step in (
        parallel("group", [agent("a")], **HELD),
        switch("group", {"steps": [agent("a")]}, **HELD),
    ):
        play = Play(step, agent("end"))
        play.fail("group/0/a")
        assert play.incidents == {"group"}
        resolve(play, "group", "skip")
        assert play.open == {"end"}


def test_a_switch_is_chosen_anew():
    play = Play(switch("group", {"steps": [agent("a")]}, **HELD), agent("end"))
    play.fail("group/0/a")
    resolve(play, "group", "retry")
    assert play.open == {"group", "group/0/a"}
    play.do("group/0/a")
    assert play.open == {"end"}


def test_a_lease_lost_too_often_is_tried_again():
    play = Play(agent("a"), agent("b"))
    for _ in range(6):
        play.claim("a")
        play.tick(seconds=61)
    assert play.incidents == {"a"}
    resolve(play, "a", "retry")
    play.do("a")
    assert play.open == {"b"}


def test_an_incident_is_closed_with_its_run():
    play = stuck()
    stopping.terminate_run(run_id=play.run_id, actor=founder(), reason="over")
    assert play.incidents == set()
    assert play.task("a").resolution == "closed"
    play = stuck()
    stopping.cancel_run(run_id=play.run_id, actor=founder())
    assert (play.state, play.incidents) == ("cancelled", set())


def test_an_incident_is_closed_with_the_step_around_it():
    play = Play(parallel("either", [agent("a", **HELD)], [agent("b")], join="ANY"), agent("end"))
    play.fail("either/0/a")
    play.do("either/1/b")
    assert (play.open, play.incidents) == ({"end"}, set())


def test_who_may_resolve_and_what_is_asked_of_them():
    play = stuck()
    with pytest.raises(Forbidden):
        resolve(play, "a", "skip", by=play.agent)
    with pytest.raises(NotFound):
        resolve(play, "a", "skip", by=user("stranger"))
    with pytest.raises(Invalid, match="Say why"):
        resolve(play, "a", "skip", reason=" ")
    with pytest.raises(Invalid, match="resolves nothing"):
        resolve(play, "a", "ignore")
    with pytest.raises(Invalid, match="skipped is given"):
        resolve(play, "a", "retry", output=1)
    resolve(play, "a", "skip")
    with pytest.raises(WrongState):
        resolve(play, "a", "skip")
    assert [entry.code for entry in play.entries(actions.INCIDENT_RESOLVE_DENIED)] == ["forbidden", "wrong_state"]


# Undoing --------------------------------------------------------------------------------------------------


def undoing(play):
    return [task.path for task in Task.objects.filter(run=play.run_id, path__contains="~").order_by("id")]


def done(*steps, **last):
    play = Play(*(agent(step, compensate="tests.charge") for step in steps), agent("last", **last))
    play.do(*steps, output={"id": 1})
    return play


@pytest.fixture
def calls(tmp_path, monkeypatch):
    monkeypatch.setenv("HMS_ACT_TEST_MARKS", str(tmp_path))
    from tests.runs.actions import marks

    return marks


def test_what_was_done_is_undone_the_last_first_before_the_run_fails(calls):
    play = done("a", "b")
    play.fail("last")
    assert (play.state, play.open) == ("running", {"b~compensate"})
    play.tick()
    assert play.state == "failed"
    assert play.run.ended_by_step == "last"
    assert undoing(play) == ["b~compensate", "a~compensate"]
    assert len(calls()) == 2


def test_cancelling_undoes_and_terminating_does_not(calls):
    play = done("a")
    stopping.cancel_run(run_id=play.run_id, actor=founder())
    assert (play.state, play.open) == ("cancelling", {"a~compensate"})
    play.tick()
    assert (play.state, len(calls())) == ("cancelled", 1)

    play = done("a")
    stopping.terminate_run(run_id=play.run_id, actor=founder(), reason="now")
    play.tick()
    assert (play.state, undoing(play)) == ("terminated", [])


def test_what_is_completed_after_the_cancelling_is_undone_too(calls):
    play = Play(agent("a", compensate="tests.charge"), agent("b"))
    lease = play.claim("a")
    stopping.cancel_run(run_id=play.run_id, actor=founder())
    assert play.state == "cancelling"
    play.give_back(lease)
    play.do("a")
    assert play.open == {"a~compensate"}
    play.tick()
    assert play.state == "cancelled"


def test_a_compensation_that_fails_is_an_incident(calls):
    play = Play(agent("a", compensate="tests.no_such_card"), agent("b"))
    play.do("a")
    play.fail("b")
    play.tick()
    assert play.state == "running"
    assert play.incidents == {"a~compensate"}
    resolve(play, "a~compensate", "retry")
    play.tick()
    assert play.incidents == {"a~compensate"}
    resolve(play, "a~compensate", "skip", reason="undone by hand")
    assert play.state == "failed"


def test_a_run_that_undoes_cannot_be_cancelled_but_can_be_terminated(calls):
    play = done("a")
    play.fail("last")
    with pytest.raises(WrongState, match="is being undone"):
        stopping.cancel_run(run_id=play.run_id, actor=founder())
    stopping.terminate_run(run_id=play.run_id, actor=founder(), reason="stop it")
    play.tick()
    assert (play.state, play.open) == ("terminated", set())


def test_terminating_needs_a_reason_and_the_right():
    play = Play(agent("a"))
    lease = play.claim("a")
    with pytest.raises(Invalid):
        stopping.terminate_run(run_id=play.run_id, actor=founder(), reason="")
    with pytest.raises(Forbidden):
        stopping.terminate_run(run_id=play.run_id, actor=play.agent, reason="no")
    stopping.terminate_run(run_id=play.run_id, actor=founder(), reason="over")
    stopping.terminate_run(run_id=play.run_id, actor=founder(), reason="over")
    assert play.states == {"a": "cancelled"}
    assert len(play.entries(actions.RUN_TERMINATED)) == 1
    play.give_back(lease)
    with pytest.raises(WrongState):
        stopping.cancel_run(run_id=play.run_id, actor=founder())


def test_a_failure_is_handled_by_steps_of_its_own():
    play = Play(agent("a", on_failure={"steps": [agent("tell")], "then": "CONTINUE"}), agent("b"))
    play.fail("a")
    assert play.open == {"a/on_failure/tell"}
    play.do("a/on_failure/tell")
    assert play.open == {"b"}


def test_a_failed_step_may_lead_past_others():
    play = Play(agent("a", on_failure={"to": "c"}), agent("b"), agent("c"))
    play.fail("a")
    assert play.states == {"a": "failed", "b": "skipped", "c": "pending"}


def test_service_faults_become_incidents(calls):
    play = Play(service("a", "tests.no_such_card", **HELD), agent("b"))
    play.tick()
    assert play.incidents == {"a"}
