# SPDX-License-Identifier: Apache-2.0
"""Steps that wait: for a while, until a moment, for a signal that may come early, late or never."""

import pytest

from audit import actions
from config import clock
from config.errors import Forbidden, Invalid, NotFound, WrongState
from runs.models import Signal
from runs.waits import KEPT, send_signal
from tests.factories import founder, user
from tests.runs.play import Play, agent, foreach, parallel, wait

pytestmark = pytest.mark.django_db


def send(play, name="paid", data=None, by=None):
    return send_signal(run_id=play.run_id, actor=by or founder(), name=name, data=data)


def test_a_wait_is_over_when_its_time_has_passed():
    play = Play(wait("rest", duration="10m"), agent("end"))
    play.tick(minutes=9)
    assert play.open == {"rest"}
    play.tick(minutes=2)
    assert play.open == {"end"}


def test_a_wait_of_days_is_looked_at_now_and_then_and_ends_in_time():
    play = Play(wait("rest", duration="10d"), agent("end"))
    for _ in range(9):
        play.tick(days=1)
    assert play.open == {"rest"}
    play.tick(days=1, seconds=1)
    assert play.open == {"end"}


def test_a_moment_may_have_passed_already():
    play = Play(wait("until", until="payload.at"), agent("end"), payload={"at": "2020-01-01T00:00:00+00:00"})
    play.tick()
    assert play.open == {"end"}


def test_a_moment_to_come():
    at = clock.now().replace(microsecond=0)
    play = Play(wait("until", until='run.created_at + duration("1h")'), agent("end"))
    assert play.task("until").wake_at >= at
    play.tick(minutes=59)
    assert play.open == {"until"}
    play.tick(minutes=2)
    assert play.open == {"end"}


def test_a_signal_ends_the_wait_and_hands_its_data_on():
    play = Play(wait("payment", signal="paid"), agent("end", input={"amount": "data.payment.amount"}))
    play.tick(hours=30)
    run, task = send(play, data={"amount": "40.00"})
    assert task.path == "payment"
    assert play.claim("end").input == {"amount": "40.00"}
    assert [entry.action for entry in play.entries(actions.RUN_SIGNALLED)] == [actions.RUN_SIGNALLED]
    assert run.pk == play.run_id


def test_a_signal_that_comes_early_is_kept_and_got_once():
    play = Play(agent("a"), wait("first", signal="paid"), wait("second", signal="paid"), agent("end"))
    _, nobody = send(play, data=1)
    assert nobody is None
    play.do("a")
    play.tick()
    assert play.open == {"second"}
    send(play, data=2)
    assert play.open == {"end"}
    assert [play.task(step).output for step in ("first", "second")] == [1, 2]
    assert Signal.objects.filter(task=None).count() == 0


def test_each_signal_is_got_by_the_one_that_has_waited_longest():
    play = Play(foreach("each", "[1, 2]", wait("payment", signal="paid")), agent("end"))
    _, task = send(play)
    assert task.path == "each[0]/payment"
    assert play.open == {"each", "each[1]/payment"}
    send(play)
    assert play.open == {"end"}


def test_a_signal_that_does_not_come_in_time_is_a_failure():
    play = Play(wait("payment", signal="paid", timeout="1h"))
    play.tick(minutes=61)
    assert play.state == "failed"
    assert play.task("payment").error_type == "SignalTimeout"


def test_or_an_incident():
    play = Play(wait("payment", signal="paid", timeout="1h", on_exhausted="INCIDENT"))
    play.tick(minutes=61)
    assert play.state == "running"
    assert play.incidents == {"payment"}


def test_a_wait_that_lost_is_closed_and_its_signal_is_kept_for_another():
    play = Play(parallel("either", [wait("payment", signal="paid")], [agent("waive")], join="ANY"), agent("end"))
    play.do("either/1/waive")
    assert play.states["either/0/payment"] == "cancelled"
    _, task = send(play)
    assert task is None


def test_data_that_the_step_cannot_use_is_refused_and_nothing_is_kept():
    play = Play(wait("payment", signal="paid", output={"amount": "output.amount"}))
    with pytest.raises(Invalid, match="amount"):
        send(play, data={"sum": 1})
    assert not Signal.objects.exists()
    send(play, data={"amount": 1})
    assert play.state == "completed"


def test_who_may_signal():
    play = Play(agent("a"), wait("payment", signal="paid"))
    send(play, by=play.agent)
    with pytest.raises(NotFound):
        send(play, by=user("stranger", "agent", "agent:other"))
    viewer = user("viewer")
    from django.contrib.auth.models import Permission

    viewer.user_permissions.add(Permission.objects.get(codename="view", content_type__app_label="runs"))
    with pytest.raises(Forbidden):
        send(play, by=user("viewer"))


@pytest.mark.parametrize("name", ["", "two words", "é", "x" * 101])
def test_a_bad_name_is_refused(name):
    with pytest.raises(Invalid):
        send(Play(agent("a")), name=name)


def test_an_ended_run_takes_none():
    play = Play(agent("a"))
    play.do("a")
    with pytest.raises(WrongState):
        send(play)


def test_a_run_keeps_so_many_and_no_more(monkeypatch):
    monkeypatch.setattr("runs.waits.KEPT", 2)
    play = Play(agent("a"))
    send(play)
    send(play)
    with pytest.raises(WrongState, match="takes no more"):
        send(play)
    assert KEPT == 1000
