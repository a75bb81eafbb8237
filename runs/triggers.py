# SPDX-License-Identifier: Apache-2.0
"""Runs, tasks and effects are evidence: they stay, move along their arrows, and rest once they have ended."""

from audit.guards import arrows, frozen, no_delete, refuse, sql_words, starts_in
from config.mail import MailState
from runs.models import (
    ENDED_RUNS,
    OPEN_TASKS,
    Effect,
    EffectState,
    Notice,
    Run,
    RunMessage,
    RunState,
    Signal,
    Task,
    TaskState,
)

OPEN = sql_words(OPEN_TASKS)
ENDED_RUN = f'OLD."state" IN ({sql_words(ENDED_RUNS)})'
ENDED_TASK = f'OLD."state" NOT IN ({OPEN})'
SENT = f"OLD.\"state\" = '{MailState.SENT}'"
CONFIRMED = f"OLD.\"state\" = '{EffectState.CONFIRMED}'"
SAME_PATH_OPEN = f'"run_id" = NEW."run_id" AND "path" = NEW."path" AND "state" IN ({OPEN})'
CLAIMED = f"NEW.\"state\" = '{TaskState.RUNNING}' AND OLD.\"state\" <> '{TaskState.RUNNING}'"

IDENTITY = ("id", "run", "step", "path", "scope", "attempt", "kind", "created_at", "scheduled_at", "input", "item")
# A step that is left out, or cannot begin, and one whose branches need nobody, have ended when their row is made; what
# our worker goes on with is claimed by then.
STARTS = (
    TaskState.PENDING, TaskState.RUNNING, TaskState.AWAITING_APPROVAL,
    TaskState.SKIPPED, TaskState.COMPLETED, TaskState.FAILED, TaskState.INCIDENT,
)  # fmt: skip
ANSWER = ("outcome", "output", "note", "answer_digest", "approval")
FAULT = ("error_type", "error_message", "retry_reason", "retry_delay_seconds")
HOLDER = ("assignee", "credential", "fence", "lease_losses", "ended_at")

RUN_CANCELLED_AT_ONCE = [
    (RunState.QUEUED, RunState.CANCELLING, RunState.CANCELLED),
    (RunState.RUNNING, RunState.CANCELLING, RunState.CANCELLED),
]

TASK_AT_ONCE = [
    (TaskState.AWAITING_APPROVAL, TaskState.APPROVED, TaskState.COMPLETED),
    (TaskState.RUNNING, TaskState.PENDING, TaskState.CANCELLED),  # let go in a run that is being cancelled
]

TRIGGERS = [
    *no_delete(Run),
    arrows(Run, at_once=RUN_CANCELLED_AT_ONCE),
    starts_in(
        Run, RunState.QUEUED, RunState.RUNNING, RunState.COMPLETED, RunState.FAILED
    ),  # if nobody has to do anything
    frozen(Run, "id", "version", "root", "parent", "depth", "payload", "started_by", "created_at", rule="identity"),
    frozen(Run, "ended_at", "ended_by_step", when=ENDED_RUN, rule="ended"),
    *no_delete(Task, unique=[SAME_PATH_OPEN]),
    # One write approves and concludes a human step, and another makes it with its question asked already.
    arrows(Task, at_once=TASK_AT_ONCE),
    starts_in(Task, *STARTS),
    frozen(Task, *IDENTITY, rule="identity"),
    frozen(Task, "resolution", "resolved_at", when='OLD."resolved_at" IS NOT NULL', rule="resolved"),
    frozen(Task, *ANSWER, *FAULT, *HOLDER, when=ENDED_TASK, rule="ended"),
    refuse(
        Task,
        "fence",
        "UPDATE",
        f'NEW."fence" < OLD."fence" OR ({CLAIMED} AND NEW."fence" = OLD."fence")',
        "its fence rises with each claim and never falls",
    ),
    *no_delete(Signal),
    frozen(Signal, "id", "run", "name", "data", "sent_by", "sent_at", rule="identity"),
    frozen(Signal, "task", when='OLD."task_id" IS NOT NULL', rule="got"),
    *no_delete(RunMessage),
    frozen(RunMessage, "id", "word", "task", "note", "sent_at", rule="identity"),
    *no_delete(Effect),
    frozen(Effect, "key", "run", "task", "action", "intended_at", rule="identity"),
    frozen(Effect, "state", "result", "confirmed_at", when=CONFIRMED, rule="confirmed"),
    *no_delete(Notice),
    frozen(Notice, "id", "run", "task", "recipient", "purpose", rule="identity"),
    frozen(Notice, "state", "sent_at", when=SENT, rule="sent"),
]
