# SPDX-License-Identifier: Apache-2.0
"""Parallel, foreach and switch steps in the database: what opens, who is closed, what is kept of it."""

import pytest

from audit import actions
from audit.services import record
from config.errors import LeaseLost
from runs import services
from runs.models import Task, TaskState
from tests.runs.play import Play, agent, foreach, human, parallel, switch

pytestmark = pytest.mark.django_db


def test_branches_run_side_by_side_and_the_last_goes_on():
    play = Play(parallel("check", [agent("fire")], [agent("police"), agent("report")]), agent("end"))
    assert play.open == {"check", "check/0/fire", "check/1/police"}

    play.do("check/0/fire", "check/1/police")
    assert play.open == {"check", "check/1/report"}
    play.do("check/1/report")

    assert play.open == {"end"}
    assert play.task("check").output == {"passed": 2, "failed": 0}
    play.do("end")
    assert play.state == "completed"


def test_each_branch_knows_what_was_done_before_and_all_of_it_is_known_after():
    play = Play(
        agent("first"), parallel("check", [agent("fire")], [agent("police")]), agent("end"), payload={"crowd": 5}
    )
    play.do("first", output={"n": 0})
    assert play.claim("check/0/fire").input == {"crowd": 5, "data": {"first": {"n": 0}}}
    play.do("check/1/police", output={"n": 2})

    lease = services.claim_tasks(role="agent:validator", actor=play.agent)
    assert lease == []
    assert play.task("check/1/police").state == "completed"


@pytest.mark.parametrize(("join", "needed"), [("ANY", 1), (2, 2), ("ALL", 3), ("ALL_DONE", 3)])
def test_a_join_closes_the_losers_in_the_move_that_decides_it(join, needed):
    branches = [[agent(name)] for name in ("a", "b", "c")]
    play = Play(parallel("check", *branches, join=join), agent("end"))
    paths = ["check/0/a", "check/1/b", "check/2/c"]
    held = play.claim(paths[2]) if needed < 3 else None

    play.do(*paths[:needed])

    assert play.open == {"end"}
    losers = {path: play.states[path] for path in paths[needed:]}
    assert set(losers.values()) <= {TaskState.CANCELLED}
    if held is not None:
        with pytest.raises(LeaseLost):
            services.complete_task(task_id=held.task.pk, actor=play.agent, token=held.token, outcome="PASS")


def test_a_branch_that_fails_fails_the_step_at_once_and_the_others_are_closed():
    play = Play(parallel("check", [agent("a")], [human("b")], [agent("c")]))
    question = play.question("check/1/b")

    play.fail("check/0/a")

    assert play.state == "failed"
    assert play.run.ended_by_step == "a"
    assert play.states == {
        "check": "failed", "check/0/a": "failed", "check/1/b": "cancelled", "check/2/c": "cancelled",
    }  # fmt: skip
    question.refresh_from_db(fields=["outcome"])
    assert type(question).objects.get(pk=question.pk).state == "not_required"
    assert "1 of 3 branches of check failed" in play.task("check").error_message


def test_one_may_wait_for_all_before_it_fails():
    play = Play(parallel("check", [agent("a")], [agent("b")], on_branch_failure="WAIT_ALL"))
    play.fail("check/0/a")
    assert play.state == "running"
    play.do("check/1/b")
    assert play.state == "failed"


def test_people_answer_in_branches_too():
    play = Play(parallel("check", [human("a")], [human("b")]), agent("end"))
    play.answer("check/0/a")
    play.answer("check/1/b")
    assert play.open == {"end"}


# Foreach --------------------------------------------------------------------------------------------------


def test_each_item_has_its_own_steps_and_they_know_their_item_and_no_other():
    play = Play(
        foreach(
            "regions",
            "payload.regions",
            agent("survey"),
            agent("report", input={"of": "item.name", "n": "data.survey.n"}),
        ),
        agent("end"),
        payload={"regions": [{"name": "north"}, {"name": "south"}]},
    )
    assert play.open == {"regions", "regions[0]/survey", "regions[1]/survey"}
    assert play.claim("regions[1]/survey").input["item"] == {"name": "south"}
    play.leases.clear()


def test_items_one_by_one():
    play = Play(
        foreach(
            "regions", "payload.regions", agent("survey", input={"name": "item"}), agent("report"), max_concurrency=1
        ),
        agent("end", input={"all": "data.regions.map(r, r.survey.n)"}),
        payload={"regions": ["north", "south"]},
    )
    assert play.open == {"regions", "regions[0]/survey"}
    assert play.claim("regions[0]/survey").input == {"name": "north"}
    play.leases = {}
    play.tick(minutes=2)
    play.do("regions[0]/survey", output={"n": 1})
    lease = play.claim("regions[0]/report")
    assert lease.input == {"regions": ["north", "south"], "item": "north", "data": {"survey": {"n": 1}}}
    play.give_back(lease)
    play.do("regions[0]/report")
    assert play.open == {"regions", "regions[1]/survey"}
    assert play.task("regions[1]/survey").input == {"name": "south"}
    play.do("regions[1]/survey", output={"n": 2})
    play.do("regions[1]/report")

    assert play.task("regions").output == [{"survey": {"n": 1}}, {"survey": {"n": 2}}]
    assert play.claim("end").input == {"all": [1, 2]}


def test_items_within_items():
    inner = foreach("towns", "item.towns", agent("visit", input={"town": "item"}))
    play = Play(
        foreach("regions", "payload.regions", inner),
        payload={"regions": [{"towns": ["a", "b"]}, {"towns": ["c"]}]},
    )
    assert play.open == {
        "regions", "regions[0]/towns", "regions[1]/towns",
        "regions[0]/towns[0]/visit", "regions[0]/towns[1]/visit", "regions[1]/towns[0]/visit",
    }  # fmt: skip
    assert play.task("regions[1]/towns[0]/visit").input == {"town": "c"}
    play.do("regions[0]/towns[0]/visit", "regions[0]/towns[1]/visit", output=1)
    play.do("regions[1]/towns[0]/visit", output=2)
    assert play.state == "completed"
    assert play.task("regions").output == [{"towns": [{"visit": 1}, {"visit": 1}]}, {"towns": [{"visit": 2}]}]


def test_nothing_to_do_for_no_items():
    play = Play(foreach("regions", "payload.regions", agent("survey")), agent("end"), payload={"regions": []})
    assert play.open == {"end"}
    assert play.task("regions").output == []


def test_some_items_may_fail():
    play = Play(
        foreach("regions", "payload.regions", agent("survey"), tolerated_failure_percentage=50), agent("end"),
        payload={"regions": [1, 2]},
    )  # fmt: skip
    play.fail("regions[0]/survey")
    play.do("regions[1]/survey", output=2)
    assert play.open == {"end"}
    assert play.task("regions").output == [{}, {"survey": 2}]


def test_a_thousand_items_are_opened_by_one_act():
    play = Play(foreach("regions", "payload.regions", agent("survey")), payload={"regions": list(range(1000))})
    assert len(play.open) == 1001
    (begun,) = play.entries(actions.RUN_STARTED)
    assert begun.data["opened_count"] == 1001
    assert len(begun.data["opened"]) == 50


# Switch ---------------------------------------------------------------------------------------------------


def test_the_first_case_that_holds_runs():
    play = Play(
        switch(
            "size",
            {"when": "payload.crowd > 500", "steps": [human("big")]},
            {"key": "small", "steps": [agent("small")]},
        ),
        agent("end", input={"case": "data.size.case"}),
        payload={"crowd": 20},
    )
    assert play.open == {"size", "size/1/small"}
    play.do("size/1/small")
    assert play.claim("end").input == {"case": "small"}


def test_what_a_person_chose_is_the_case():
    play = Play(
        human("ask", options=["approve", "defer"]),
        switch("which", {"case": "defer", "steps": [agent("later")]}, {"steps": [agent("now")]}, on="ask"),
    )
    play.answer("ask", "defer")
    assert play.open == {"which", "which/0/later"}


# Conditions, and data that is missing --------------------------------------------------------------------


def test_a_step_whose_condition_is_false_is_left_out_and_shown():
    play = Play(agent("a"), agent("b", when='steps["a"].outcome == "FAIL"'), agent("c", when="data.a.n > 1"))
    play.do("a", output={"n": 2})
    assert play.states == {"a": "completed", "b": "skipped", "c": "pending"}
    assert [entry.step for entry in play.entries(actions.TASK_SKIPPED)] == ["b"]


@pytest.mark.parametrize("fields", [{"when": "payload.crowd > 1"}, {"input": {"n": "payload.crowd"}}])
def test_missing_data_fails_closed_and_says_what_was_there(fields):
    play = Play(agent("a"), agent("b", **fields), payload={"place": "market"})
    play.do("a")
    assert play.state == "failed"
    assert play.states["b"] == "failed"
    said = play.task("b").error_message
    assert "payload.crowd" in said
    assert "at b" in said
    assert "payload has place" in said


def test_missing_data_can_wait_for_an_operator():
    play = Play(agent("a", when="payload.crowd > 1", on_exhausted="INCIDENT"), payload={"place": "market"})
    assert play.state == "running"
    assert play.incidents == {"a"}


def test_what_is_kept_of_an_output_is_mapped_and_an_output_that_does_not_fit_is_refused():
    from config.errors import Invalid

    schema = {"type": "object", "required": ["risk"], "properties": {"risk": {"type": "number"}}}
    play = Play(
        agent("a", output={"risk": "output.risk", "crowd": "payload.crowd"}, output_schema=schema), payload={"crowd": 3}
    )
    lease = play.claim("a")
    for output, why in (({}, "schema of a"), ({"risk": "high"}, "schema of a")):
        with pytest.raises(Invalid, match=why):
            services.complete_task(
                task_id=lease.task.pk, actor=play.agent, token=lease.token, outcome="PASS", output=output
            )
    play.give_back(lease)
    play.do("a", output={"risk": 0.5, "long": "text"})
    assert play.task("a").output == {"risk": 0.5, "crowd": 3}


def test_every_task_that_was_opened_is_told_in_the_log():
    play = Play(parallel("check", [agent("a")], [foreach("each", "[1, 2]", agent("b"))]), agent("end"))
    play.do("check/0/a", "check/1/each[0]/b", "check/1/each[1]/b", "end")
    told = [line["path"] for entry in play.run.tasks.model._meta.apps.get_model("audit", "Entry").objects.filter(
        run_id=play.run_id) for line in entry.data.get("opened", [])]  # fmt: skip
    assert sorted(told) == sorted(Task.objects.filter(run=play.run_id).values_list("path", flat=True))
    assert record is not None
