# SPDX-License-Identifier: Apache-2.0
"""Incidents in the admin: the list of what waits for an operator, and the page on which one is resolved."""

from __future__ import annotations

import pytest

from audit.models import Entry
from runs import incidents, stopping
from runs.models import Task
from tests.factories import founder
from tests.runs.play import Play, agent, foreach, service
from tests.runs.test_admin_runs import text_of

pytestmark = pytest.mark.django_db

LIST = "/admin/runs/incident/"
HELD = {"on_exhausted": "INCIDENT"}


def stuck(**document) -> Play:
    play = Play(agent("weigh", retries=1, **HELD), agent("end"), payload={"form": 7}, **document)
    play.fail("weigh", error_type="Timeout", message="No answer from the scales.", retryable=True)
    play.tick(minutes=5)
    play.fail("weigh", error_type="Broken", message="The scales are broken.", retryable=True)
    return play


def page_of(play: Play, path: str = "weigh") -> str:
    task = Task.objects.filter(run=play.run_id, path=path, state="incident").latest("pk")
    return f"{LIST}{task.pk}/resolve/"


def paths_in(response) -> list[str]:
    return [incident.path for incident in response.context["cl"].result_list]


# The list -------------------------------------------------------------------------------------------------


def test_the_list_says_what_waits_where_why_and_since_when_newest_first(client_for, auditor):
    stuck(id="weighs")
    play = Play(foreach("each", "[1, 2]", agent("look", **HELD)))
    play.fail("each[1]/look")
    page = client_for(auditor).get(LIST)

    assert paths_in(page) == ["each[1]/look", "weigh"]
    text = text_of(page)
    for part in ("weighs v1", f"run {play.run_id}", "agent:validator", "Broken: The scales are broken."):
        assert part in text


def test_what_is_resolved_is_gone_from_the_list(client_for, auditor):
    play = stuck()
    incidents.resolve_incident(task_id=play.task("weigh").pk, actor=founder(), resolution="skip", reason="by hand")

    assert paths_in(client_for(auditor).get(LIST)) == []


def test_the_list_is_narrowed_by_playbook_role_and_number(client_for, auditor, monkeypatch, tmp_path):
    monkeypatch.setenv("HMS_ACT_TEST_MARKS", str(tmp_path))
    stuck(id="weighs")
    play = Play(service("pay", "tests.no_such_card", **HELD), id="pays")
    play.tick()
    client = client_for(auditor)

    assert paths_in(client.get(f"{LIST}?playbook=weighs")) == ["weigh"]
    assert paths_in(client.get(f"{LIST}?role=svc:finance")) == ["pay"]
    assert paths_in(client.get(f"{LIST}?q={play.task('pay').pk}")) == ["pay"]
    assert paths_in(client.get(f"{LIST}?q=nothing")) == []


def test_the_list_is_for_those_who_see_or_control_runs(client_for, auditor, liaison, administrator):
    assert client_for(auditor).get(LIST).status_code == 200
    assert client_for(administrator).get(LIST).status_code == 200
    assert client_for(liaison).get(LIST).status_code == 403


def test_the_list_makes_as_many_queries_for_many_incidents_as_for_one(
    client_for, auditor, django_assert_num_queries, django_assert_max_num_queries
):
    client = client_for(auditor)
    stuck(id="first")
    client.get(LIST)
    with django_assert_max_num_queries(9) as few:
        client.get(LIST)
    play = Play(foreach("each", "payload.n", agent("look", **HELD)), payload={"n": list(range(12))})
    for number in range(12):
        play.fail(f"each[{number}]/look")
    with django_assert_num_queries(len(few)):
        assert len(paths_in(client.get(LIST))) == 13


def test_the_sidebar_and_the_dashboard_count_them(client_for, auditor, liaison):
    def badge(user):
        groups = client_for(user).get("/admin/").context["sidebar_navigation"]
        return {item["title"]: item.get("badge", "") for group in groups for item in group["items"]}.get("Incidents")

    assert (badge(auditor), badge(liaison)) == ("", None)
    stuck()

    assert badge(auditor) == "1"
    tiles = {tile.title: tile for tile in client_for(auditor).get("/admin/").context["tiles"]}
    assert (tiles["Incidents"].number, tiles["Incidents"].link) == ("1", LIST)


# The page of one ------------------------------------------------------------------------------------------


def test_the_page_tells_what_is_wrong_what_was_tried_and_how_the_run_stands(client_for, auditor):
    play = stuck()
    text = text_of(client_for(auditor).get(page_of(play)))

    for part in (
        f"run {play.run_id} (running)",
        "Broken: The scales are broken.",
        "attempt 1: failed",
        "Timeout: No answer from the scales.",
        "attempt 2: incident",
        "Only holders of runs.control resolve incidents.",
    ):
        assert part in text


def test_the_address_of_a_row_leads_to_the_page(client_for, administrator):
    task = stuck().task("weigh")

    answer = client_for(administrator).get(f"{LIST}{task.pk}/change/")

    assert answer["Location"] == f"{LIST}{task.pk}/resolve/"


def test_looking_changes_nothing(client_for, administrator):
    play = stuck()

    assert client_for(administrator).get(page_of(play)).status_code == 200
    assert play.incidents == {"weigh"}


@pytest.mark.parametrize(
    ("resolution", "open", "said"),
    [
        ("retry", {"weigh"}, "weigh is tried again."),
        ("skip", {"end"}, "weigh was left out; the run goes on."),
        ("fail", set(), "weigh was let fail."),
    ],
)
def test_each_button_resolves_it_in_its_way_and_leads_to_the_run(client_for, administrator, resolution, open, said):
    play = stuck()

    answer = client_for(administrator).post(
        page_of(play), {"resolution": resolution, "reason": "Weighed by hand."}, follow=True
    )

    assert answer.redirect_chain[0][0] == f"/admin/runs/run/{play.run_id}/change/"
    assert said in text_of(answer)
    assert play.open == open
    entry = Entry.objects.get(run_id=play.run_id, action="incident.resolved")
    assert (entry.actor_name, entry.note, entry.data) == (
        "administrator",
        "Weighed by hand.",
        {"resolution": resolution},
    )


def test_what_is_left_out_may_be_given_an_output(client_for, administrator):
    play = stuck()
    body = {"resolution": "skip", "reason": "Weighed by hand.", "output": '{"kilos": 12}'}

    client_for(administrator).post(page_of(play), body)

    assert play.task("weigh").output == {"kilos": 12}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"resolution": "skip", "output": "[1]"}, "Reason: This field is required."),
        ({"reason": "Weighed.", "output": "[1]"}, "Press one of the three buttons."),
        ({"resolution": "closed", "reason": "Weighed.", "output": "[1]"}, "Press one of the buttons."),
        ({"resolution": "skip", "reason": "Weighed.", "output": "[1"}, "Output: The text is not JSON"),
        ({"resolution": "retry", "reason": "Weighed.", "output": "[1]"}, "Only a step that is skipped"),
    ],
)
def test_what_is_not_valid_comes_back_with_what_was_typed(client_for, administrator, body, sentence):
    play = stuck()

    answer = client_for(administrator).post(page_of(play), body)

    assert answer.status_code == 422
    assert sentence in text_of(answer)
    for typed in (body.get("reason", ""), body["output"]):
        assert typed in answer.content.decode()
    assert play.incidents == {"weigh"}


def test_a_page_that_was_open_too_long_is_refused_politely(client_for, administrator):
    play = stuck()
    address = page_of(play)
    incidents.resolve_incident(task_id=play.task("weigh").pk, actor=founder(), resolution="retry", reason="mended")

    answer = client_for(administrator).post(address, {"resolution": "fail", "reason": "It is hopeless."})

    assert answer.status_code == 409
    text = text_of(answer)
    assert "It is resolved already. An operator had it tried again." in text
    assert "It is hopeless." in text
    assert play.open == {"weigh"}


def test_an_incident_of_a_run_that_has_ended_says_so(client_for, administrator):
    play = stuck()
    address = page_of(play)
    stopping.terminate_run(run_id=play.run_id, actor=founder(), reason="over")

    assert "Nobody needs it any more." in text_of(client_for(administrator).get(address))


def test_who_may_not_resolve_it_is_refused_and_it_is_recorded(client_for, auditor, staff_member):
    play = stuck()
    body = {"resolution": "skip", "reason": "I want to."}

    answer = client_for(auditor).post(page_of(play), body)

    assert answer.status_code == 403
    assert "I want to." in answer.content.decode()
    assert play.incidents == {"weigh"}
    assert client_for(staff_member).post(page_of(play), body).status_code == 404
    assert [entry.code for entry in play.entries("incident.resolve_denied")] == ["forbidden"]


def test_a_task_that_is_no_incident_has_no_such_page(client_for, administrator):
    play = Play(agent("a"))

    assert client_for(administrator).get(f"{LIST}{play.task('a').pk}/resolve/").status_code == 404


def test_text_of_others_is_shown_and_never_obeyed(client_for, administrator):
    play = Play(agent("weigh", **HELD))
    play.fail("weigh", error_type="<b>x</b>", message="gnp\u202e.exe <script>alert(1)</script>")

    for address in (LIST, page_of(play)):
        page = client_for(administrator).get(address).content.decode()
        assert "<script>alert(1)</script>" not in page
        assert "gnp&lt;U+202E&gt;.exe" in page
