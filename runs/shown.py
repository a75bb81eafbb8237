# SPDX-License-Identifier: Apache-2.0
"""A run as its page shows it: where it stands and why, each step with its attempts, in a fixed number of statements.

Reads only. Whoever calls has checked that the reader may see the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit.shown import made_visible
from config import clock
from playbooks.definition import Wait
from runs import steps_shown
from runs.models import Effect, Run, RunState, TaskState
from runs.steps_shown import AttemptShown, StepShown
from runs.timeline import LineShown, seconds_in_words, sentence, timeline_of

TOLD = 5  # steps in the summary
LISTED = 20  # current steps, requests and effects

RUN_TONES: Mapping[str, str] = {
    RunState.COMPLETED: "good",
    RunState.FAILED: "bad",
    RunState.TERMINATED: "bad",
    RunState.CANCELLED: "off",
    RunState.CANCELLING: "off",
}


@dataclass(frozen=True, slots=True)
class RunShown:
    run: Run
    summary: str
    took: str
    current_steps: tuple[str, ...]
    steps: tuple[StepShown, ...]
    requests: Sequence[Any]  # open action requests
    labels: Sequence[tuple[str, Any]]  # pairs, because a template would look for `items` among the keys first
    signals: Sequence[tuple[str, int]]  # that came and nobody has waited for yet: name, how many
    effects: Sequence[Effect]
    lines: Sequence[LineShown]
    has_older_lines: bool

    @property
    def tone(self) -> str:
        return RUN_TONES.get(self.run.state, "busy")


def shown(run: Run) -> RunShown:
    now = clock.now()
    steps = steps_shown.read(run, now=now).steps(run)
    asked = run.requests.filter(task__state=TaskState.AWAITING_APPROVAL).select_related("claimed_by")
    lines, has_older = timeline_of(run.pk)
    return RunShown(
        run=run,
        summary=_summary(run, steps),
        took=seconds_in_words(((run.ended_at or now) - run.created_at).total_seconds()),
        current_steps=tuple(each.step.id for each in steps if each.is_current)[:LISTED],
        steps=steps,
        requests=[each for each in asked.order_by("created_at")[:LISTED] if each.is_open],
        labels=list(run.labels.items()),
        signals=_signals(run),
        effects=list(run.effects.select_related("task").order_by("-intended_at")[:LISTED]),
        lines=lines,
        has_older_lines=has_older,
    )


def _signals(run: Run) -> Sequence[tuple[str, int]]:
    if not any(isinstance(step.shape, Wait) for step in run.version.definition.walk()):
        return ()
    return Counter(run.signals.filter(task=None).order_by("id").values_list("name", flat=True)).most_common()


def _summary(run: Run, steps: Sequence[StepShown]) -> str:
    """Where the run stands, and why, in one sentence or two."""
    ended_by = next((each for each in steps if each.step.id == run.ended_by_step), None)
    match run.state:
        case RunState.COMPLETED:
            return "Every step has been done."
        case RunState.FAILED if ended_by is not None and ended_by.last is not None:
            return f"It ended at {ended_by.step.id}: {_verdict(ended_by.last)}"
        case RunState.FAILED if ended_by is not None:
            return f"It ended at {ended_by.step.id}."
        case RunState.FAILED:
            return "It took longer than it may; the log says which clock ran out."
        case RunState.TERMINATED:
            return "It was terminated; the log says by whom and why."
        case RunState.CANCELLING:
            return "It is being cancelled: what runs may still finish, and then what was done is undone."
        case RunState.CANCELLED:
            return "It was cancelled; the log says by whom."
        case RunState.QUEUED:
            return "A limit holds it back."
    waiting = [each for each in steps if each.now and (each.is_leaf or each.is_stuck)]
    told = [f"{each.step.id}: {each.now}" for each in waiting[:TOLD]]
    more = [f"And {len(waiting) - TOLD} more."] if len(waiting) > TOLD else []
    undone = ["What was done is being undone."] if "undoing" in run.position else []
    return " ".join([*undone, *told, *more])


def _verdict(attempt: AttemptShown) -> str:
    task = attempt.task
    if attempt.fault:
        return f"{sentence(attempt.fault)} {attempt.afterwards}".strip()
    by = f" by {attempt.who}" if attempt.who else ""
    word = "rejected" if task.state == TaskState.REJECTED else f"answered {made_visible(task.outcome)}"
    return f"{word}{by}. {made_visible(task.note)}".strip()
