# SPDX-License-Identifier: Apache-2.0
"""A governance step, done by our worker: what the run has come to is held against the rules in force.

No outside call is made, so doing it again after a crash finds what it finds then. PASS and FAIL end the task; where a
rule wants a person, the task's finding is put before people, whose approval ends it with PASS.
"""

from __future__ import annotations

from typing import Any

from accounts.models import User
from audit import actions
from audit.models import Result
from audit.services import Line
from config import clock
from config.errors import Invalid
from playbooks import governance, rule_services
from playbooks.definition import Governance
from playbooks.governance import Finding
from playbooks.rules import ASK_HUMAN, FAIL
from runs.asking import request_approval
from runs.inputs import Known
from runs.leases import Lease
from runs.models import Task
from runs.services import complete_task, fail_task, kept_of

MAX_TOLD = 200  # of the rules that fired, in the entry; the finding has them all
MAX_REASON = 2000  # characters


def govern(lease: Lease, actor: User) -> None:
    """Check, and end the task with what was found, or ask people. Raises LeaseLost."""
    task = lease.task
    finding = check(lease)
    held: dict[str, Any] = {"task_id": task.pk, "actor": actor, "token": lease.token}
    told = _entry(task, finding, actor)
    try:
        if finding.result == ASK_HUMAN:
            kept_of(task, finding.as_json(), Known(task.run, task))  # or people would be asked for nothing
            context = {"finding": finding.as_json()}
            request_approval(**held, reason=_question(finding), context=context, role=task.role, first=[told])
        else:
            note = finding.because[:MAX_REASON]
            complete_task(**held, outcome=finding.result, output=finding.as_json(), note=note, first=[told])
    except Invalid as fault:  # the step's own `output` cannot use the finding
        fail_task(**held, error_type="Invalid", message=fault.detail[:MAX_REASON], retryable=False)


def check(lease: Lease) -> Finding:
    """Hold the rules in force now against what the run knows."""
    task = lease.task
    shape = task.definition.shape
    assert isinstance(shape, Governance), "only a governance step is checked"
    rule_sets, missing = rule_services.in_force(shape.rules)
    there = Known(task.run).names(task.path)
    known = governance.names(
        payload=there["payload"],
        data=there["data"],
        steps=there["steps"],
        run=there["run"],
        input=lease.input,
        mapped=task.input is not None,
    )
    return governance.check(rule_sets, known, missing)


def _entry(task: Task, finding: Finding, actor: User) -> Line:
    """What was checked, by version and digest, and what came of it; the evidence itself is disclosed with care."""
    fired = finding.fired_rules()
    facts = {
        "outcome": finding.result,
        "rule_sets": finding.rule_sets(),
        "fired": fired[:MAX_TOLD],
        "fired_count": len(fired),
    }
    return Line(
        actions.GOVERNANCE_CHECKED,
        task.audit_subject(),
        actor,
        clock.now(),
        result=Result.FAIL if finding.result == FAIL else Result.SUCCESS,
        data=facts,
        private={"finding": finding.as_json()},
    )


def _question(finding: Finding) -> str:
    """The first reason in a line, which titles the request; all of them where there are more."""
    reasons = [fired.because for fired in finding.fired]
    return " ".join(["May it go on?", *dict.fromkeys(reasons)])[:MAX_REASON]
