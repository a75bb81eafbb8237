# SPDX-License-Identifier: Apache-2.0
"""The pages of a run of composite steps, and of an incident, in a browser: by day, by night, and at 320 px."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from runs.models import Task
from tests.browser.visitor import NARROW, WIDE, Visitor
from tests.factories import later, published
from tests.runs.play import Play, agent, child, foreach, human, parallel, switch, wait

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

HELD = {"on_exhausted": "INCIDENT"}


@pytest.fixture
def play() -> Play:
    published({"id": "inner", "steps": [agent("work")]})
    play = Play(
        agent("screen", title="Read the application", compensate="tests.charge"),
        parallel(
            "check",
            [foreach("regions", "payload.regions", agent("survey", title="Survey the region", retries=1, **HELD))],
            [switch("size", {"key": "big", "when": "payload.crowd > 500", "steps": [human("plan")]}, {"steps": []})],
            [wait("payment", signal="paid", timeout="2d"), agent("receipt")],
            [wait("rest", duration="1h")],
            [child("hearing", "inner")],
        ),
        agent("permit", on_failure={"steps": [agent("tell")], "then": "FAIL_RUN"}),
        id="demonstration",
        title="Permit for a demonstration",
        payload={"regions": [{"name": f"region {number}"} for number in range(30)], "crowd": 800},
    )
    play.do("screen", output={"risk": "low"})
    play.do(*(f"check/0/regions[{number}]/survey" for number in range(8)), output={"roads": 3})
    play.fail("check/0/regions[9]/survey", error_type="NoAnswer", message="The road office did not answer.")
    play.tick()
    play.late = Play(child("sub", "inner"))
    later(seconds=70)  # its message is late, and shown as stuck
    return play


def incident_of(play: Play) -> str:
    return f"/admin/runs/incident/{Task.objects.filter(run=play.run_id).unresolved().get().pk}/resolve/"


@pytest.fixture
def operator(visitor, client_for, administrator) -> Visitor:
    visitor.come_in_as(client_for(administrator))
    return visitor


def test_no_page_of_a_run_or_an_incident_is_hard_to_read(operator, play):
    faults = []
    for name, path in {
        "run": f"/admin/runs/run/{play.run_id}/change/",
        "terminate": f"/admin/runs/run/{play.run_id}/terminate/",
        "signal": f"/admin/runs/run/{play.run_id}/signal/",
        "incidents": "/admin/runs/incident/",
        "incident": incident_of(play),
        "health": "/admin/runs/workerhost/",
    }.items():
        operator.open(path)
        faults += operator.faults_by_day_and_night()
        photograph(operator, name)

    assert faults == []


def photograph(visitor: Visitor, name: str) -> None:
    """For whoever wants to look: HMS_ACT_SCREENSHOTS names a folder."""
    folder = os.environ.get("HMS_ACT_SCREENSHOTS")
    if not folder:
        return
    for size, view in (("wide", WIDE), ("narrow", NARROW)):
        visitor.page.set_viewport_size(view)
        visitor.page.screenshot(path=str(Path(folder) / f"{name}-{size}.png"), full_page=True)
    visitor.page.set_viewport_size(WIDE)


def test_an_incident_is_resolved_by_keyboard(operator, play):
    operator.open("/admin/runs/incident/")
    operator.enter(operator.page.get_by_role("link", name="check/0/regions[9]/survey"))
    operator.press("Let it fail", status=422)
    expect(operator.page.get_by_text("Nothing was changed yet.")).to_be_visible()
    operator.page.get_by_label("Reason").press_sequentially("Asked by telephone.")
    operator.page.get_by_label("Output").press_sequentially('{"roads": 2}')
    operator.enter(operator.page.get_by_role("button", name="Leave it out"))

    expect(operator.page.get_by_text("check/0/regions[9]/survey was left out; the run goes on.")).to_be_visible()
    assert play.task("check/0/regions[9]/survey").output == {"roads": 2}
