# SPDX-License-Identifier: Apache-2.0
"""The page of a run of any kind of step: what it shows of each, and how a run is terminated and signalled from it."""

from __future__ import annotations

import pytest
from django.db import connection

from runs.incidents import resolve_incident
from runs.models import Run, RunState
from runs.services import start_run
from runs.waits import send_signal
from tests.factories import founder, published
from tests.runs.play import Play, agent, child, foreach, human, parallel, switch, wait
from tests.runs.test_admin_runs import text_of

pytestmark = pytest.mark.django_db

HELD = {"on_exhausted": "INCIDENT"}


def address(play: Play, page: str = "change") -> str:
    return f"/admin/runs/run/{play.run_id}/{page}/"


@pytest.fixture
def shown(client_for, administrator):
    """(what a reader sees, the steps by id) of the page of a run."""

    def open_page(play: Play):
        page = client_for(administrator).get(address(play))
        return text_of(page), {each.step.id: each for each in page.context["shown"].steps}

    return open_page


# What it shows --------------------------------------------------------------------------------------------


def test_steps_stand_beneath_the_one_they_are_in(shown):
    play = Play(
        parallel("check", [agent("fire")], [switch("size", {"key": "big", "when": "true", "steps": [agent("plan")]})]),
        agent("end", on_failure={"steps": [agent("tell")], "then": "FAIL_RUN"}),
    )

    text, steps = shown(play)

    assert [(id, each.depth, each.within) for id, each in steps.items()] == [
        ("check", 0, ""),
        ("fire", 1, "branch-1"),
        ("size", 1, "branch-2"),
        ("plan", 2, "case big: true"),
        ("end", 0, ""),
        ("tell", 1, "when it has failed"),
    ]
    assert "It took the case big." in text
    assert "Its 2 branches are under way." in text
    assert "Current step fire, plan" in text
    assert "tell not reached" in text


def test_a_wait_says_what_it_waits_for_and_until_when(shown):
    play = Play(
        parallel("all", [wait("rest", duration="1h")], [wait("payment", signal="paid")], [wait("word", signal="go",
                 timeout="2h")]),
    )  # fmt: skip
    text, _ = shown(play)

    assert f"Waits until {play.task('all/0/rest').wake_at:%Y-%m-%d %H:%M:%S} UTC." in text
    assert "Waits for the signal paid." in text
    assert (
        f"Waits for the signal go, until {play.task('all/2/word').wake_at:%Y-%m-%d %H:%M:%S} UTC at the latest." in text
    )


def test_signals_that_nobody_has_waited_for_are_told(shown):
    play = Play(agent("a"), wait("payment", signal="paid"))
    for _ in range(2):
        send_signal(run_id=play.run_id, actor=founder(), name="paid")

    assert "Signals nobody has waited for yet paid (2)" in shown(play)[0]


def test_items_are_counted_and_those_that_failed_come_first(shown):
    play = Play(
        foreach("each", "payload.n", agent("look", **HELD), tolerated_failure_count=30), payload={"n": list(range(30))}
    )
    play.do("each[0]/look", "each[1]/look")
    play.fail("each[29]/look")

    text, steps = shown(play)

    look = steps["look"]
    counts = {each.state: each.count for each in look.counts}
    assert (counts["incident"], counts["completed"], sum(counts.values())) == (1, 2, 30)
    assert look.items[0].task.path == "each[29]/look"
    assert len(look.items) == 20
    assert look.items_left_out == 10
    assert "20 of them, those that need looking at first" in text
    assert "For 30 items." in text


def test_parent_and_child_lead_to_each_other(client_for, administrator):
    published({"id": "inner", "steps": [agent("work")]})
    play = Play(child("sub", "inner"))
    client = client_for(administrator)
    assert "Its run is about to be started." in text_of(client.get(address(play)))
    play.tick()
    inner = Play(run=Run.objects.get(parent__run=play.run_id))

    page = client.get(address(play))
    assert address(inner) in page.content.decode()
    assert f"It started run {inner.run_id} , which is running." in text_of(page)
    page = client.get(address(inner))
    assert address(play) in page.content.decode()
    assert f"Started by the step sub of run {play.run_id}" in text_of(page)


def test_what_undoes_a_step_stands_beneath_it(shown, monkeypatch, tmp_path):
    monkeypatch.setenv("HMS_ACT_TEST_MARKS", str(tmp_path))
    play = Play(agent("a", compensate="tests.no_such_card"), agent("b"))
    play.do("a", output={"id": 1})
    play.fail("b")
    text, steps = shown(play)
    assert steps["a"].last.task.state == "completed"
    assert [each.task.path for each in steps["a"].undoing] == ["a~compensate"]
    assert "What was done is being undone." in text
    assert "Undone by tests.no_such_card" in text

    play.tick()
    text, steps = shown(play)
    assert steps["a"].undoing[0].task.is_unresolved
    assert "Resolve it" in text


def test_an_incident_leads_to_the_page_on_which_it_is_resolved(client_for, administrator, auditor):
    play = Play(agent("a", **HELD))
    play.fail("a")
    link = f"/admin/runs/incident/{play.task('a').pk}/resolve/"

    page = client_for(administrator).get(address(play))
    assert link in page.content.decode()
    assert "a: Waits for an operator." in text_of(page)
    assert link not in client_for(auditor).get(address(play)).content.decode()


def test_labels_of_any_name_are_shown(client_for, administrator):
    version = published({"id": "plain", "steps": [agent("a")]})
    run = start_run(actor=founder(), playbook=version.playbook.slug, payload={}, labels={"items": "x"})

    assert "items: x" in text_of(client_for(administrator).get(address(Play(run=run))))


def test_the_summary_of_many_branches_is_short(shown):
    play = Play(parallel("all", *([human(f"ask-{number}")] for number in range(9))))

    text, _ = shown(play)

    assert "And 4 more." in text


def test_a_run_of_many_items_is_one_page_in_as_many_queries_as_one_of_few(
    client_for, administrator, django_assert_num_queries, django_assert_max_num_queries
):
    published({"id": "inner", "steps": [agent("work")]})

    def run_of(items: int) -> Play:
        play = Play(
            foreach(
                "each", "payload.n", agent("look", compensate="tests.charge"), human("ask"), child("sub", "inner"),
                tolerated_failure_count=items,
            ),
            wait("payment", signal="paid"),
            payload={"n": list(range(items))},
        )  # fmt: skip
        play.do("each[0]/look", "each[1]/look", output={"text": "x" * 1000})
        play.answer("each[0]/ask")
        play.fail("each[2]/look")
        return play

    few, many = run_of(4), run_of(1000)
    client = client_for(administrator)
    client.get(address(few))

    asks_the_clock = connection.vendor == "postgresql"
    with django_assert_max_num_queries(19 + asks_the_clock) as counted:
        client.get(address(few))
    with django_assert_num_queries(len(counted)):
        page = client.get(address(many))

    assert len(page.content) < 250_000


# Terminating ----------------------------------------------------------------------------------------------


def test_a_run_is_terminated_with_a_reason_and_its_number(client_for, administrator):
    play = Play(agent("a"))
    client = client_for(administrator)
    assert client.get(address(play, "terminate")).status_code == 200
    assert play.state == RunState.RUNNING

    answer = client.post(address(play, "terminate"), {"reason": "A mistake.", "number": f" {play.run_id} "})

    assert answer["Location"] == address(play)
    assert play.state == RunState.TERMINATED
    (entry,) = play.entries("run.terminated")
    assert (entry.note, entry.actor_name) == ("A mistake.", "administrator")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"number": "1", "reason": ""}, "This field is required."),
        ({"number": "", "reason": "A mistake."}, "This field is required."),
        ({"number": "7777", "reason": "A mistake."}, "That is not the number of this run"),
    ],
)
def test_without_a_reason_or_with_another_number_nothing_happens(client_for, administrator, body, sentence):
    play = Play(agent("a"))

    answer = client_for(administrator).post(address(play, "terminate"), body)

    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert body["reason"] in answer.content.decode()
    assert play.state == RunState.RUNNING


def test_who_may_not_terminate_is_not_offered_it_and_refused(client_for, auditor):
    play = Play(agent("a"))
    client = client_for(auditor)

    assert address(play, "terminate") not in client.get(address(play)).content.decode()
    body = {"reason": "I want to.", "number": str(play.run_id)}
    answer = client.post(address(play, "terminate"), body)
    assert (answer.status_code, play.state) == (403, RunState.RUNNING)


# Signals --------------------------------------------------------------------------------------------------


def test_a_signal_is_sent_to_the_step_that_waits(client_for, administrator):
    play = Play(wait("payment", signal="paid"), agent("end"))
    client = client_for(administrator)
    assert address(play, "signal") in client.get(address(play)).content.decode()

    body = {"name": "paid", "content": '{"amount": "40.00"}'}
    answer = client.post(address(play, "signal"), body, follow=True)

    assert "The signal paid was sent to payment." in text_of(answer)
    assert play.open == {"end"}
    assert play.task("payment").output == {"amount": "40.00"}


def test_the_log_tells_which_signal_came_which_item_it_was_and_what_the_operator_chose(client_for, administrator):
    play = Play(foreach("each", "[1, 2]", agent("look", **HELD)), wait("payment", signal="paid"))
    play.fail("each[1]/look")
    resolve_incident(task_id=play.task("each[1]/look").pk, actor=founder(), resolution="skip", reason="Seen to.")
    send_signal(run_id=play.run_id, actor=founder(), name="paid")

    lines = client_for(administrator).get(address(play)).context["shown"].lines

    told = {line.action: (line.step, *line.why) for line in lines}
    assert told["incident.resolved"] == ("each[1]/look", "Seen to.", "To be left out.")
    assert told["run.signalled"] == ("", "The signal paid.")


def test_a_signal_that_comes_early_is_kept(client_for, administrator):
    play = Play(agent("a"), wait("payment", signal="paid"))

    answer = client_for(administrator).post(address(play, "signal"), {"name": "paid"}, follow=True)

    assert "The signal paid is kept for the next step that waits for it." in text_of(answer)


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"name": "other", "content": "{}"}, 422, "other is not one of the available choices"),
        ({"name": "paid", "content": "{"}, 422, "The text is not JSON"),
        ({"name": "paid", "content": '{"sum": 1}'}, 422, "amount"),
    ],
)
def test_a_signal_that_cannot_be_used_comes_back_as_it_was_typed(client_for, administrator, body, status, sentence):
    play = Play(wait("payment", signal="paid", output={"amount": "output.amount"}))

    answer = client_for(administrator).post(address(play, "signal"), body)

    assert answer.status_code == status
    assert sentence in text_of(answer)
    assert play.open == {"payment"}


def test_a_run_that_waits_for_no_signal_offers_none(client_for, administrator):
    play = Play(agent("a"))

    assert address(play, "signal") not in client_for(administrator).get(address(play)).content.decode()
    assert client_for(administrator).get(address(play, "signal")).status_code == 404
