# SPDX-License-Identifier: Apache-2.0
"""A draft may say more than this version of HMS-ACT can carry out; publishing refuses the rest in plain words."""

import pytest

from playbooks.parse import parse, parse_data, publish_problems
from tests.playbooks.test_parse_stories import CENSUS, LICENCE, PERMIT

KNOWN = ["fetch_data", "deploy", "hms_ach.charge"]


def problems_of(*steps):
    return publish_problems(parse_data({"id": "p", "steps": list(steps)}).definition, known_calls=KNOWN)


@pytest.mark.parametrize(("document", "default_id"), [(LICENCE, "licence"), (str(PERMIT).replace("'", '"'), "")])
def test_stories_whose_actions_are_installed_can_be_published(document, default_id):
    definition = parse(document, default_id=default_id).definition

    assert publish_problems(definition, known_calls=KNOWN) == []


def test_the_census_story_waits_for_its_services():
    parsed = parse(CENSUS)
    problems = publish_problems(parsed.definition, known_calls=["ResponseService.fetchnew"], lines=parsed.lines)

    assert [(problem.path, problem.line) for problem in problems] == [
        ("steps[0].call", 4),
        ("steps[3].call", 7),
        ("steps[4].call", 8),
    ]
    assert problems[0].message == (
        'No service offers the action "ResponseService.fetchNew", which the step "CollectResponses" calls.'
    )
    assert problems[0].remedy.startswith("Did you mean `ResponseService.fetchnew`?")


def test_words_for_agents_and_people_need_no_service():
    assert problems_of({"id": "a", "role": "agent:a", "call": "think.hard"}, {"id": "b", "role": "human:b"}) == []


def test_a_step_for_a_client_of_a_role_needs_no_service():
    assert problems_of({"id": "a", "role": "svc:finance"}) == []


def test_a_playbook_without_steps():
    (problem,) = problems_of()

    assert (problem.path, problem.message) == ("steps", "The playbook has no steps.")


def test_fields_that_say_their_default_are_no_problem():
    defaults = {"on_failure": "FAIL_RUN", "on_reject": "FAIL_RUN", "on_exhausted": "FAIL"}

    assert problems_of({"id": "s", "type": "agent", **defaults}) == []


def test_every_step_within_a_step_is_looked_at_and_found_by_its_path_in_the_normal_form():
    group = {
        "type": "parallel",
        "tasks": [
            {"type": "foreach", "items": "payload.x", "steps": [{"id": "a", "type": "script", "call": "un.known"}]},
            {"type": "switch", "cases": [{"steps": [{"id": "b", "type": "script", "call": "un.known"}]}]},
        ],
    }

    assert [problem.path for problem in problems_of(group) if "un.known" in problem.message] == [
        "steps[0].branches[0].steps[0].steps[0].call",
        "steps[0].branches[1].steps[0].cases[0].steps[0].call",
    ]


def test_a_call_that_undoes_a_step_has_to_be_offered_too():
    problems = problems_of({"id": "s", "type": "agent", "compensate": "hms_ach.chargge"})

    assert ("steps[0].compensate", "Did you mean `hms_ach.charge`? See which actions are installed.") in [
        (problem.path, problem.remedy) for problem in problems
    ]


def test_steps_after_a_failure_are_looked_at():
    handled = {"steps": [{"id": "a", "type": "script", "call": "un.known"}]}

    assert "steps[0].on_failure.steps[0].call" in [
        problem.path for problem in problems_of({"id": "s", "type": "agent", "on_failure": handled})
    ]


def test_retries_without_end_need_an_end_in_time():
    endless = {"id": "s", "type": "agent", "retries": {"maximum_attempts": 0}}

    (problem,) = problems_of(endless)
    assert problem.path == "steps[0].retries"
    assert problems_of({**endless, "timeouts": {"schedule_to_close": "1h"}}) == []
