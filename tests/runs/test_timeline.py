# SPDX-License-Identifier: Apache-2.0
"""The log of a run as sentences."""

from __future__ import annotations

import pytest

from approvals.services import decide
from audit import actions
from runs import due
from runs import services as runs
from runs.timeline import LINES_SHOWN, WORDS, seconds_in_words, sentence, timeline_of
from tests.factories import claimed, later, started, steps, waiting_for_a_person

OF_A_RUN = ("run.", "task.", "incident.", "governance.", "effect.", "hitl.")


def told(run_id: int) -> list[str]:
    lines, _ = timeline_of(run_id)
    return [" ".join(part for part in (line.who, line.words, line.step, line.outcome) if part) for line in lines]


def test_every_action_of_runs_tasks_effects_and_requests_has_words():
    of_runs = {name for name in actions.ALL if name.startswith(OF_A_RUN)}

    assert of_runs - WORDS.keys() <= {actions.TASK_HEARTBEAT}


def test_the_way_of_a_run_reads_as_a_story(validator, liaison):
    request = waiting_for_a_person(validator)
    decide(request_id=request.pk, actor=liaison, outcome="PASS", reason="the plan holds")

    story = told(request.run_id)

    assert story[:3] == [
        "founder started the run",
        "validator took up AI-Screen",
        "validator completed AI-Screen PASS",
    ]
    assert "liaison approved Human-Approve" in story
    (approved,) = [line for line in timeline_of(request.run_id)[0] if line.action == actions.TASK_APPROVED]
    assert "the plan holds" in approved.why


def test_a_fault_says_what_it_was_and_why_and_when_it_is_tried_again(validator):
    run = started(steps({"id": "check", "role": "agent:validator", "retries": {"jitter": "none"}}))
    lease = claimed(validator)
    runs.fail_task(task_id=lease.task.pk, actor=validator, token=lease.token, error_type="Busy", message="line engaged")

    line = timeline_of(run.pk)[0][-1]

    assert line.words == "reported a fault in"
    assert line.tone == "bad"
    assert line.why == ("Busy: line engaged", "Tried again after 1 s: attempt 1 of 4 failed with Busy.")


def test_a_last_fault_says_why_it_is_not_tried_again(validator):
    run = started(steps({"id": "check", "role": "agent:validator", "retries": 0}))
    lease = claimed(validator)
    runs.fail_task(task_id=lease.task.pk, actor=validator, token=lease.token, error_type="Busy")

    lines = timeline_of(run.pk)[0]
    (line,) = [each for each in lines if each.action == actions.TASK_FAILED]

    assert line.why == ("Busy", "Not tried again: attempt 1 of 1 was the last.")


def test_later_attempts_are_numbered(validator):
    run = started(steps({"id": "check", "role": "agent:validator"}))
    lease = claimed(validator)
    runs.fail_task(task_id=lease.task.pk, actor=validator, token=lease.token, error_type="Busy")
    later(minutes=5)
    due.sweep()
    claimed(validator)

    assert told(run.pk)[-1] == "validator took up check, attempt 2"


def test_what_the_eye_cannot_see_is_made_visible(validator):
    run = started(steps({"id": "check", "role": "agent:validator", "retries": 0}))
    lease = claimed(validator)
    runs.fail_task(task_id=lease.task.pk, actor=validator, token=lease.token, error_type="E", message="gnp\u202e.exe")

    (line,) = [each for each in timeline_of(run.pk)[0] if each.action == actions.TASK_FAILED]

    assert line.why[0] == "E: gnp<U+202E>.exe"


def test_a_long_story_is_told_from_its_end(validator, django_assert_num_queries):
    run = started(steps({"id": "check", "role": "agent:validator"}))
    for _ in range(LINES_SHOWN // 2 + 5):
        lease = claimed(validator)
        runs.release_task(task_id=lease.task.pk, actor=validator, token=lease.token)

    with django_assert_num_queries(1):
        lines, has_older = timeline_of(run.pk)

    assert has_older
    assert len(lines) == LINES_SHOWN
    assert lines[-1].action == actions.TASK_RELEASED
    assert [line.number for line in lines] == sorted(line.number for line in lines)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (0.44, "0.4 s"),
        (9.99, "10 s"),
        (10.4, "10 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (3660, "1 h 1 min"),
        (86400, "1 day"),
        (90000, "1 day 1 h"),
        (3 * 86400 + 3601, "3 days 1 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds, words):
    assert seconds_in_words(seconds) == words


def test_a_sentence_ends_once():
    assert [sentence(text) for text in ("later", "later.", "now!")] == ["later.", "later.", "now!"]
