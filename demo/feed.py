# SPDX-License-Identifier: Apache-2.0
"""The action log as lines for a terminal: when, which run, which step, what, by whom, why."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterable, Iterator

from audit import actions
from audit.models import Entry

# What is left out says nothing that the next line does not say better.
QUIET = frozenset(
    {
        actions.TASK_HEARTBEAT,
        actions.TASK_RENEWED,
        actions.TASK_AWAITING,
        actions.TASK_APPROVED,
        actions.EFFECT_INTENDED,
    }
)
WORDS = {
    actions.RUN_STARTED: "started",
    actions.RUN_COMPLETED: "COMPLETED",
    actions.RUN_FAILED: "ended FAILED",
    actions.TASK_CLAIMED: "claimed",
    actions.TASK_COMPLETED: "done",
    actions.TASK_FAILED: "failed",
    actions.TASK_AWAITING: "waits for a person",
    actions.TASK_REJECTED: "rejected",
    actions.EFFECT_CONFIRMED: "took effect",
    actions.EFFECT_REUSED: "had taken effect already",
    actions.REQUEST_CREATED: "a person is asked",
    actions.REQUEST_FULFILLED: "approved",
    actions.REQUEST_REJECTED: "rejected",
    actions.USER_LOGGED_IN: "logged in",
    actions.USER_LOGGED_OUT: "logged out",
}
NARROWEST = 60


class Feed:
    """Entries since the feed was opened, each once."""

    def __init__(self) -> None:
        newest = Entry.objects.order_by("-id").values_list("id", flat=True).first()
        self._seen = newest or 0

    def new_lines(self) -> Iterator[str]:
        entries = Entry.objects.filter(id__gt=self._seen).select_related("disclosure").order_by("id")
        for entry in entries:
            self._seen = entry.pk
            if entry.action not in QUIET:
                yield line_of(entry)[: _columns()]


def line_of(entry: Entry) -> str:
    """One line. Notes are other people's words: nothing in them reaches the terminal as such."""
    subject = f"run {entry.run_id}" if entry.run_id else entry.subject_type
    word = WORDS.get(entry.action) or entry.action.rpartition(".")[2].replace("_", " ")
    outcome = str(entry.data.get("outcome") or "")
    what = f"{word}: {outcome}" if outcome else word
    if entry.result == "DENIED":
        what = f"REFUSED ({entry.data.get('code', '')})"
    by = "" if entry.actor_name == "system" else entry.actor_name
    note = " ".join(entry.note.split())
    line = f"  {entry.at:%H:%M:%S}  {subject:<9} {entry.step:<14} {what:<24} {by:<13} {note}"
    return "".join(_shown(letter) for letter in line).rstrip()


def table(entries: Iterable[Entry]) -> str:
    """The whole log of a run, the quiet lines too, and nothing cut."""
    head = f"  {'UTC':<8}  {'':<9} {'step':<14} {'what':<24} {'by':<13} why"
    return "\n".join([head, *(line_of(entry) for entry in entries)])


def _columns() -> int:
    return max(NARROWEST, shutil.get_terminal_size((120, 24)).columns)


def _shown(letter: str) -> str:
    return "�" if unicodedata.category(letter)[0] == "C" else letter
