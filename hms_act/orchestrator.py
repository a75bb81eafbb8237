# SPDX-License-Identifier: Apache-2.0
"""Workflows in files, run to their end: `Orchestrator().load_workflow("x.json")`, then `.start("X", {…})`.

The server does the work and keeps it; this waits for the end and sums it up. A run goes on, whoever waits or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from hms_act import shortcuts
from hms_act.answers import Json, Run, Version
from hms_act.client import Client
from hms_act.playbook import content_type_of, document_id, save_document

SUCCESS, FAILED, CANCELLED = "success", "failed", "cancelled"
WORDS = {"completed": SUCCESS, "cancelled": CANCELLED}  # of a run's status; every other end is a failure


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What came of one step. As text, a line."""

    name: str
    status: str  # success, failed, cancelled; or that of the step, which the end of the run has left where it was
    outcome: str = ""
    output: Any = None

    def __str__(self) -> str:
        outcome = f" ({self.outcome})" if self.outcome and self.outcome not in ("PASS", "FAIL") else ""
        return f"{self.name}: {self.status}{outcome}"


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended: `success`, `failed` or `cancelled`, and a line for each step that had begun."""

    status: str
    tasks: tuple[TaskResult, ...]
    run: Run

    def __str__(self) -> str:
        return "\n".join([self.status, *(f"  {task}" for task in self.tasks)])


class Orchestrator:
    def __init__(self, client: Client | None = None) -> None:
        self._client = client

    @property
    def client(self) -> Client:
        return self._client or shortcuts.default_client()

    def load_workflow(self, path: str | PathLike[str]) -> Version:
        """Store and publish the workflow in a JSON or YAML file; a file that says the same makes no new version.

        Raises Invalid with every error of a document that cannot be published, and OSError.
        """
        content_type, text = content_type_of(str(path)), Path(path).read_text(encoding="utf-8")
        name = document_id(text, content_type) or Path(path).stem
        return save_document(name, text, content_type=content_type, client=self.client)

    def start(self, workflow: str | int, params: Json | None = None, *, timeout: float | None = None) -> Result:
        """Run a workflow with these parameters, and wait for its end.

        Raises TimeoutError after `timeout` seconds; the run goes on, and `client.wait_for_run` waits for it again.
        """
        run = self.client.start_run(workflow, payload=params)
        ended = self.client.wait_for_run(run.id, timeout=timeout)
        tasks = tuple(_task_result(name, step) for name, step in ended.steps.items())
        return Result(WORDS.get(ended.status, FAILED), tasks, ended)


def _task_result(name: str, step: Mapping[str, Any]) -> TaskResult:
    state, outcome = str(step.get("status") or ""), str(step.get("outcome") or "")
    status = {"completed": SUCCESS, "rejected": FAILED, "incident": FAILED}.get(state, state)
    return TaskResult(name, FAILED if outcome == "FAIL" else status, outcome, step.get("output"))
