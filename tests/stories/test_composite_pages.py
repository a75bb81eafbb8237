# SPDX-License-Identifier: Apache-2.0
"""The playbooks on the pages about composite steps, failure and waiting do what the pages say of them."""

from __future__ import annotations

import shlex

import pytest

from config import clock
from hms_act.cli import _parser
from playbooks.parse import parse, to_document
from runs import incidents, services
from runs.models import Run, Task
from runs.waits import send_signal
from tests.config.web import ROOT
from tests.factories import founder, published, user
from tests.runs.play import Play, agent
from tests.stories.pages import blocks

pytestmark = pytest.mark.django_db

COMPOSE, FAILURE, WAITING = (
    ROOT / "docs/how-to" / name for name in ("compose-steps.md", "handle-failure.md", "wait-and-signal.md")
)


def documents(page):
    """As HMS-ACT reads them. `square.release` stands for an action of the reader's installation."""
    texts = [block.text.replace("square.release", "tests.charge") for block in blocks(page) if block.kind == "yaml"]
    return [to_document(parse(text).definition) for text in texts]


class Story(Play):
    """A play in which agents of any role do what is open."""

    def claim(self, path):
        task = self.task(path)
        worker = user(f"worker-{task.role.partition(':')[2]}", "agent", task.role)
        for lease in services.claim_tasks(role=task.role, actor=worker, limit=20):
            self.leases[lease.task.path] = lease
        self.agent = worker
        return self.leases.pop(path)


def story(page, number=0, *, payload):
    document = documents(page)[number]
    return Story(run=services.start_run(actor=founder(), playbook=published(document).playbook.slug, payload=payload))


# Compose steps --------------------------------------------------------------------------------------------

STREETS = {"streets": ["Main Street", "Mill Lane", "Church Row"]}


def festival(crowd=800, risk="low"):
    play = story(COMPOSE, payload=STREETS)
    play.do("screen", output={"crowd": crowd, "risk": risk})
    return play


def survey(number):
    return f"checks/1/streets[{number}]/survey"


def test_two_streets_are_surveyed_at_once_and_the_third_follows():
    play = festival()
    assert play.open == {"checks", "checks/0/fire", "checks/1/streets", survey(0), survey(1)}
    lease = play.claim(survey(0))
    assert lease.input == {"street": "Main Street", "crowd": 800}
    play.leases[survey(0)] = lease

    play.do(survey(0), output={"closed": True})
    assert survey(2) in play.open


def test_a_large_crowd_is_approved_by_a_person_and_the_letter_knows_all():
    play = festival()
    play.do(survey(0), output={"closed": True})
    play.fail(survey(1))
    play.do(survey(2), output={"closed": False})
    play.do("checks/0/fire")
    assert play.open == {"size", "size/0/plan"}
    play.answer("size/0/plan")

    assert play.states["warn"] == "skipped"
    lease = play.claim("letter")
    surveys = [{"survey": {"closed": True}}, {}, {"survey": {"closed": False}}]
    assert lease.input == {"size": "large", "surveys": surveys}
    play.leases["letter"] = lease
    play.do("letter")
    assert play.state == "completed"
    assert play.task("checks").output == {"passed": 2, "failed": 0}


def test_a_small_and_risky_one_is_not_and_hospitals_are_warned():
    play = festival(crowd=80, risk="high")
    play.do("checks/0/fire", survey(0), survey(1), survey(2))

    assert play.open == {"warn"}
    assert play.task("size").output == {"case": "small"}


def test_the_second_street_that_fails_ends_the_rest():
    play = festival()
    play.fail(survey(0))
    play.fail(survey(1))

    assert play.state == "failed"
    assert play.states["checks/0/fire"] == "cancelled"


# When a step fails ----------------------------------------------------------------------------------------


@pytest.fixture
def stage(monkeypatch, tmp_path):
    monkeypatch.setenv("HMS_ACT_TEST_MARKS", str(tmp_path))
    play = story(FAILURE, payload={})
    play.do("reserve")
    return play


def test_a_rejection_is_told_and_the_square_released(stage):
    stage.answer("approve", "FAIL")
    assert stage.open == {"approve/on_reject/tell"}
    stage.do("approve/on_reject/tell")
    assert stage.open == {"reserve~compensate"}
    stage.tick()
    assert (stage.state, stage.states["reserve~compensate"]) == ("failed", "completed")


def test_what_breaks_three_times_waits_for_an_operator(stage):
    stage.answer("approve")
    for _ in range(3):
        stage.fail("weigh", retryable=True)
        stage.tick(minutes=10)
    assert (stage.state, stage.incidents) == ("running", {"weigh"})

    task = stage.task("weigh").pk
    incidents.resolve_incident(task_id=task, actor=founder(), resolution="skip", reason="x", output={"tonnes": 12})
    assert stage.open == {"announce"}


def test_what_need_not_succeed_lets_the_run_go_on_and_the_last_step_does_not(stage):
    stage.answer("approve")
    stage.do("weigh")
    stage.fail("announce")
    assert stage.open == {"permit"}
    stage.fail("permit")
    stage.tick()
    assert (stage.state, stage.states["reserve~compensate"]) == ("failed", "completed")


# Wait -----------------------------------------------------------------------------------------------------


@pytest.fixture
def stall():
    published(documents(WAITING)[1])
    opens_at = (clock.now().replace(microsecond=0)).isoformat()
    return story(WAITING, payload={"stall": "cheese", "opens_at": opens_at})


def test_a_payment_three_days_and_another_run(stall):
    _, task = send_signal(run_id=stall.run_id, actor=founder(), name="payment-received", data={"amount": "40.00"})
    assert task.path == "paid"
    stall.tick(days=2)
    assert stall.open == {"objections"}
    stall.tick(days=1, seconds=1)
    stall.tick()

    inner = Story(run=Run.objects.get(parent__run=stall.run_id))
    assert inner.run.payload == {"stall": "cheese", "fee": "40.00"}
    inner.do("place", output={"row": 3})
    for _ in range(2):
        stall.tick()
    assert stall.task("stall").output == {"place": {"row": 3}}
    assert stall.open == {"close"}


def test_a_payment_that_does_not_come_files_the_case(stall):
    stall.tick(days=7, seconds=1)

    assert stall.open == {"close"}
    assert Task.objects.get(run=stall.run_id, path="objections").state == "skipped"


# What is typed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [COMPOSE, FAILURE, WAITING], ids=lambda page: page.stem)
def test_every_command_on_the_pages_is_one(page):
    lines = [line for block in blocks(page) if block.kind == "sh" for line in block.text.splitlines()]

    assert lines
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "hms-act"
        assert _parser().parse_args(words).command


def test_what_is_missing_is_told_as_the_page_shows_it():
    (shown,) = (block.text.strip() for block in blocks(COMPOSE) if block.kind == "")
    play = Play(agent("letter", when="payload.crowd > 500"), payload={"streets": []})

    assert play.task("letter").error_message == shown
