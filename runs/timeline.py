# SPDX-License-Identifier: Apache-2.0
"""The entries of a run as sentences: when, who, did what, and why.

Every registered action has words here; one that has none yet is shown by its name. Text of others is shown with
nothing hidden in it; the page escapes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit import actions
from audit.models import Entry, Result
from audit.shown import made_visible
from audit.visibility import entries_of_run

LINES_SHOWN = 200  # of the newest entries; all of them stand in the action log

WORDS: Mapping[str, str] = {
    actions.RUN_STARTED: "started the run",
    actions.RUN_DEQUEUED: "let the run go ahead",
    actions.RUN_COMPLETED: "completed the run",
    actions.RUN_FAILED: "ended the run as failed",
    actions.RUN_CANCELLING: "asked for the run to be cancelled",
    actions.RUN_CANCELLED: "closed the run as cancelled",
    actions.RUN_TERMINATED: "terminated the run",
    actions.RUN_SIGNALLED: "sent the run a signal",
    actions.INCIDENT_RESOLVED: "resolved the incident at",
    actions.INCIDENT_CLOSED: "closed, no longer needed, the incident at",
    actions.TASK_SKIPPED: "left out",
    actions.TASK_CLAIMED: "took up",
    actions.TASK_RENEWED: "kept hold of",
    actions.TASK_RELEASED: "gave back",
    actions.TASK_LEASE_LOST: "took back, its lease having run out,",
    actions.TASK_COMPLETED: "completed",
    actions.TASK_FAILED: "reported a fault in",
    actions.TASK_TIMED_OUT: "ended, a clock having run out,",
    actions.TASK_STALLED: "flagged as stalled",
    actions.TASK_RESUMED: "resumed",
    actions.TASK_NOT_RESUMED: "offered again, nobody having resumed it,",
    actions.TASK_INCIDENT: "gave up and called for an operator at",
    actions.TASK_CANCELLED: "closed without doing",
    actions.TASK_AWAITING: "put to people",
    actions.TASK_APPROVED: "approved",
    actions.TASK_REJECTED: "rejected",
    actions.GOVERNANCE_CHECKED: "held against the rules",
    actions.EFFECT_INTENDED: "set out on the effect of",
    actions.EFFECT_CONFIRMED: "confirmed the effect of",
    actions.EFFECT_REUSED: "found the effect already confirmed, and used its result, in",
    actions.REQUEST_CREATED: "opened the request for",
    actions.REQUEST_VIEWED: "first looked at the request for",
    actions.REQUEST_CLAIMED: "took up the request for",
    actions.REQUEST_RELEASED: "gave back the request for",
    actions.REQUEST_CLAIM_RENEWED: "kept hold of the request for",
    actions.REQUEST_CLAIM_EXPIRED: "took back, the claim having run out, the request for",
    actions.REQUEST_VOTED: "gave one of several approvals to the request for",
    actions.REQUEST_FULFILLED: "closed, with approval, the request for",
    actions.REQUEST_REJECTED: "closed, with a rejection, the request for",
    actions.REQUEST_CANCELLED: "took back the request for",
    actions.REQUEST_EXPIRED: "closed, nobody having answered in time, the request for",
    actions.REQUEST_NOT_REQUIRED: "closed, no longer needed, the request for",
    actions.RUN_START_DENIED: "was refused to start a run",
    actions.RUN_CANCEL_DENIED: "was refused to cancel the run",
    actions.RUN_TERMINATE_DENIED: "was refused to terminate the run",
    actions.RUN_SIGNAL_DENIED: "was refused to signal the run",
    actions.INCIDENT_RESOLVE_DENIED: "was refused to resolve the incident at",
    actions.TASK_CLAIM_DENIED: "was refused to take up",
    actions.TASK_COMPLETE_DENIED: "was refused to complete",
    actions.TASK_FAIL_DENIED: "was refused to report a fault in",
    actions.TASK_RENEW_DENIED: "was refused to keep hold of",
    actions.TASK_RELEASE_DENIED: "was refused to give back",
    actions.TASK_ASK_DENIED: "was refused to ask a person about",
    actions.TASK_RESUME_DENIED: "was refused to resume",
    actions.REQUEST_CREATE_DENIED: "was refused to ask about",
    actions.REQUEST_VIEW_DENIED: "was refused to look at the request for",
    actions.REQUEST_CLAIM_DENIED: "was refused to take up the request for",
    actions.REQUEST_DECIDE_DENIED: "was refused to decide",
    actions.REQUEST_DIVERGED: "opened the votes, which differ, on the request for",
    actions.REQUEST_INFO_REQUESTED: "asked something back about the request for",
    actions.REQUEST_INFO_ANSWERED: "answered what was asked back about the request for",
    actions.REQUEST_CHANGES_REQUESTED: "wanted otherwise the request for",
    actions.REQUEST_REVISED: "changed the request for",
    actions.REQUEST_UNSATISFIABLE: "found too few people for the request for",
    actions.REQUEST_GLASS_BROKEN: "decided alone, in an emergency, the request for",
    actions.REQUEST_SUPERSEDED: "replaced the request for",
    actions.REQUEST_REVISE_DENIED: "was refused to change the request for",
    actions.REQUEST_TALK_DENIED: "was refused to talk about the request for",
    actions.LINK_DENIED: "was refused to decide by a link",
    actions.OUTSIDE_DENIED: "was refused to decide from outside",
    actions.RECEIPT_EXPIRED: "closed, its time being over, the approval of",
    actions.RECEIPT_RELEASE_DENIED: "was refused to carry out the approval of",
    actions.RECEIPT_RELEASED: "carried out, its hold being over, the approval of",
    actions.RECEIPT_REVOKE_DENIED: "was refused to take back the approval of",
    actions.RECEIPT_REVOKED: "took back the approval of",
    actions.RECEIPT_SPEND_DENIED: "was refused to use the approval of",
    actions.RECEIPT_SPENT: "used up the approval of",
    actions.RECEIPT_USED: "used the approval of",
    actions.REQUEST_ASSIGN_DENIED: "was refused to assign the request for",
    actions.REQUEST_ASSIGNED: "assigned the request for",
    actions.REQUEST_ATTACHED: "attached a file to the request for",
    actions.REQUEST_CANCEL_DENIED: "was refused to take back the request for",
    actions.REQUEST_COMMENTED: "commented on the request for",
    actions.REQUEST_DELEGATED: "let somebody else decide the request for",
    actions.REQUEST_ESCALATED: "asked more people about the request for",
    actions.REQUEST_EXTEND_DENIED: "was refused to give more time to the request for",
    actions.REQUEST_EXTENDED: "gave more time to the request for",
    actions.REQUEST_REASSIGNED: "assigned to somebody else the request for",
    actions.REQUEST_REMINDED: "reminded people of the request for",
    actions.REQUEST_REPEATED: "asked once more the request for",
    actions.REQUEST_REROUTED: "put to others the request for",
    actions.REQUEST_TAKEN_OVER: "took over the request for",
    actions.REQUEST_UNDO_DENIED: "was refused to undo the approval of",
    actions.SECRET_CHANGE_DENIED: "was refused to change a secret given to",
    actions.SECRET_EXPIRED: "destroyed, nobody having fetched it, a secret given to",
    actions.SECRET_REPLACED: "replaced a secret given to",
    actions.SECRET_REVOKED: "revoked a secret given to",
    actions.SECRET_REWRAPPED: "sealed anew a secret given to",
    actions.SECRET_UNWRAP_DENIED: "was refused a secret given to",
    actions.SECRET_UNWRAPPED: "fetched a secret given to",
    actions.SECRET_WITHDRAWN: "took back a secret given to",
}


@dataclass(frozen=True, slots=True)
class LineShown:
    number: int  # of the entry
    at: datetime
    who: str
    kind: str  # human, agent, service, system
    words: str
    step: str
    outcome: str
    why: tuple[str, ...]
    action: str
    tone: str  # good, bad, refused or ""


def timeline_of(run_id: int) -> tuple[list[LineShown], bool]:
    """(the newest lines, oldest first; whether there are older ones). The caller has checked who asks."""
    newest = list(entries_of_run(run_id).order_by("-id")[: LINES_SHOWN + 1])
    lines = [line_of(entry) for entry in reversed(newest[:LINES_SHOWN])]
    return lines, len(newest) > LINES_SHOWN


def line_of(entry: Entry) -> LineShown:
    outcome = str(entry.data.get("outcome", ""))
    return LineShown(
        number=entry.pk,
        at=entry.at,
        who=made_visible(entry.actor_name),
        kind=entry.actor_type,
        words=WORDS.get(entry.action, entry.action.replace(".", " ").replace("_", " ")),
        step=made_visible(_step(entry)),
        outcome=made_visible(outcome),
        why=tuple(made_visible(text) for text in _why(entry) if text),
        action=entry.action,
        tone=_tone(entry),
    )


def _step(entry: Entry) -> str:
    """By its path where the id would not tell which task it was: one of several items, or what undoes the step."""
    subject = entry.content["subject"]
    path, attempt = str(subject.get("path", "")), subject.get("attempt", 1)
    name = path if entry.step and ("]" in path or "~" in path) else entry.step
    return f"{name}, attempt {attempt}" if name and attempt != 1 else name


def _why(entry: Entry) -> list[str]:
    told = [entry.note, _fault(entry.disclosed), _clock(entry.data), _retry(entry.data), _call(entry), _rules(entry)]
    return [*told, _signal(entry.data), RESOLUTIONS.get(entry.data.get("resolution", ""), "")]


def _fault(disclosed: Mapping[str, Any]) -> str:
    """What the performer reported."""
    parts = [str(disclosed[name]) for name in ("error_type", "message") if disclosed.get(name)]
    return ": ".join(parts)


def _clock(data: Mapping[str, Any]) -> str:
    """Which clock ran out, of those that only flag."""
    return f"{data['clock']}, since {data['since']}" if "clock" in data else ""


def _retry(data: Mapping[str, Any]) -> str:
    if "retry" not in data:
        return ""
    if data["retry"]:
        return f"Tried again after {seconds_in_words(data['delay_seconds'] or 0)}: {sentence(data['reason'])}"
    return f"Not tried again: {sentence(data['reason'])}"


def _call(entry: Entry) -> str:
    return str(entry.data.get("call", "")) if entry.action.startswith("effect.") else ""


def _rules(entry: Entry) -> str:
    """Which rules fired, of which versions."""
    if entry.action != actions.GOVERNANCE_CHECKED:
        return ""
    fired, count = list(entry.data["fired"]), entry.data["fired_count"]
    more = [f"and {count - len(fired)} more"] if count > len(fired) else []
    checked = ", ".join(f"{each['rule_set']}@{each['version']}" for each in entry.data["rule_sets"])
    return f"Fired: {', '.join([*fired, *more])}." if fired else f"Checked: {checked}. No rule fired."


RESOLUTIONS = {"retry": "To be tried again.", "skip": "To be left out.", "fail": "To be let fail."}


def _signal(data: Mapping[str, Any]) -> str:
    """Which one was sent, or got by a step that waited for it."""
    return f"The signal {data['signal']}." if "signal" in data else ""


def _tone(entry: Entry) -> str:
    if entry.result == Result.DENIED:
        return "refused"
    if entry.result == Result.FAIL:
        return "bad"
    return "good" if entry.action in {actions.RUN_COMPLETED, actions.TASK_COMPLETED} else ""


def sentence(text: str) -> str:
    """The text with a full stop at its end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def seconds_in_words(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `4 days 3 h`: two units, the smaller left out where it is zero."""
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    units = ((86400, " days"), (3600, " h"), (60, " min"), (1, " s"))
    whole = round(seconds)
    place = next(i for i, (size, _) in enumerate(units) if whole >= size)
    size, name = units[place]
    count, rest = divmod(whole, size)
    text = f"{count}{name}".replace("1 days", "1 day") if count == 1 else f"{count}{name}"
    if place + 1 < len(units) and (smaller := rest // units[place + 1][0]):
        text += f" {smaller}{units[place + 1][1]}"
    return text
