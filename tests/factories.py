# SPDX-License-Identifier: Apache-2.0
"""State for tests, made through the services that make it in life."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group

from accounts.models import Kind, User
from approvals.models import ActionRequest
from audit.models import Entry
from config import clock
from playbooks import services as playbooks
from playbooks.models import Version
from playbooks.parse import parse_data
from runs import services as runs
from runs.leases import Lease
from runs.models import Run, Task
from tests.runs import actions as _registered  # noqa: F401  service actions that playbooks of tests may call

PERMIT: Mapping[str, Any] = {
    "id": "protest_permit",
    "steps": [
        {"id": "AI-Screen", "role": "agent:validator", "call": "ai_validator.check_form"},
        {"id": "Human-Approve", "role": "human:police_liaison"},
        {"id": "Collect-Fee", "role": "svc:finance"},
    ],
}


def user(name: str, kind: str = Kind.HUMAN, *roles: str, **fields: Any) -> User:
    """A member of the given roles, read back so that nothing is cached. Repeated, the same one."""
    made, _ = User.objects.get_or_create(
        username=name, defaults={"kind": kind, "email": f"{name}@example.org", **fields}
    )
    for role in roles:
        made.groups.add(Group.objects.get_or_create(name=role)[0])
    return User.objects.get(pk=made.pk)


def founder() -> User:
    """Writes, publishes and starts; decides nothing."""
    return user("founder", Kind.HUMAN, is_superuser=True, is_staff=True)


def published(document: Mapping[str, Any] = PERMIT) -> Version:
    """The document as a published version; a further version if its playbook exists."""
    parsed = parse_data(document)
    by = founder()
    if Version.objects.filter(playbook__slug=parsed.definition.id).exists():
        version, _ = playbooks.add_version(actor=by, playbook=parsed.definition.id, parsed=parsed)
    else:
        version = playbooks.create_playbook(actor=by, parsed=parsed)
    playbooks.publish_version(actor=by, playbook=parsed.definition.id, number=version.number)
    return Version.objects.select_related("playbook").get(pk=version.pk)


def steps(*given: Mapping[str, Any], id: str = "story") -> dict[str, Any]:
    return {"id": id, "steps": list(given)}


def started(document: Mapping[str, Any] = PERMIT, *, payload: Mapping[str, Any] | None = None) -> Run:
    version = published(document)
    by = founder()
    return runs.start_run(
        actor=by, playbook=version.playbook.slug, version=version.number, payload=payload or {"form_id": 123}
    )


def claimed(actor: User, role: str = "agent:validator") -> Lease:
    (lease,) = runs.claim_tasks(role=role, actor=actor)
    return lease


def waiting_for_a_person(validator: User, document: Mapping[str, Any] = PERMIT, **kwargs: Any) -> ActionRequest:
    """A run whose agent's step has passed: its request is open."""
    run = started(document, **kwargs)
    lease = claimed(validator)
    runs.complete_task(
        task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS", output={"risk": "low"}
    )
    return ActionRequest.objects.get(run=run)


def reloaded(row: Any) -> Any:
    """The row as the database has it. (Refreshing a row in place would unprotect its state field.)"""
    return type(row)._base_manager.get(pk=row.pk)


def tasks_of(run: Run) -> list[Task]:
    return list(Task.objects.filter(run=run.pk).order_by("id"))


def actions_of(run: Run) -> list[str]:
    return list(Entry.objects.filter(run_id=run.pk).order_by("id").values_list("action", flat=True))


def later(**by: float) -> None:
    """Move time onward."""
    clock.move(timedelta(**by))
