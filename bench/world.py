# SPDX-License-Identifier: Apache-2.0
"""What every case measures on: a migrated database, the people of a permit, and rows in plenty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import connection

from accounts.models import ApiKey, Kind, User
from audit import actions
from audit.canonical import leaf_hash
from audit.models import Entry
from bench import actions as _actions  # noqa: F401  the service actions that the playbooks name
from config import clock
from playbooks import services as playbooks
from playbooks.models import Version
from playbooks.parse import parse_data
from runs.engine import ROOT
from runs.leases import hashed
from runs.models import LOOK_AGAIN, Run, Task, TaskState

AGENT, HUMAN, SERVICE = "agent:validator", "human:police_liaison", "svc:finance"
PAYLOAD = {"form_id": 123}
OUTPUT = {"risk": "low"}
TOKEN = "lease_of_the_bench"  # every prepared lease's
INSERT_ROWS = 1000  # in one statement

PERMIT3: Mapping[str, Any] = {
    "id": "permit3",
    "steps": [
        {"id": "AI-Screen", "role": AGENT},
        {"id": "Human-Approve", "role": HUMAN},
        {"id": "Collect-Fee", "role": SERVICE, "call": "bench.charge"},
    ],
}
TWO_AGENTS: Mapping[str, Any] = {
    "id": "two_agents",
    "steps": [{"id": "AI-Screen", "role": AGENT}, {"id": "AI-Check", "role": "agent:checker"}],
}


@dataclass(frozen=True)
class World:
    starter: User
    validator: User
    liaison: User
    worker: User


def migrate() -> None:
    call_command("migrate", verbosity=0)


def people() -> World:
    """Make the people of the permit in a migrated database."""
    _user("starter", Kind.AGENT).user_permissions.add(
        Permission.objects.get(content_type__app_label="runs", codename="start")
    )
    _user("validator", Kind.AGENT, AGENT)
    _user("liaison", Kind.HUMAN, HUMAN)
    _user("author", Kind.HUMAN, is_staff=True, is_superuser=True)
    return known()


def known() -> World:
    """Those that `people` made in this database, with what is read once of each."""
    found = World(*(User.objects.get(username=name) for name in ("starter", "validator", "liaison", "worker")))
    for user in (found.starter, found.validator, found.liaison):
        assert user.has_perm("runs.start") or user.roles, f"{user} may do nothing here"  # both are kept with the user
    return found


def _user(name: str, kind: str, role: str = "", **fields: Any) -> User:
    user = User.objects.create(username=name, kind=kind, **fields)  # nobody has an address: peers send no mail either
    user.set_unusable_password()
    user.save()
    if role:
        user.groups.add(Group.objects.get_or_create(name=role)[0])
    return user


def publish(document: Mapping[str, Any]) -> Version:
    author = User.objects.get(username="author")
    version = playbooks.create_playbook(actor=author, parsed=parse_data(document))
    playbooks.publish_version(actor=author, playbook=str(document["id"]), number=version.number)
    return Version.objects.select_related("playbook").get(pk=version.pk)


def key_of(user: User) -> str:
    """A bearer token of the API."""
    _, token = ApiKey.make(user=user, name="bench", at=clock.now(), lifetime=timedelta(days=1))
    return token


def waiting(version: Version, starter: User, count: int) -> list[Task]:
    """So many runs whose first task may be claimed, written in bulk and without entries."""
    at, step = clock.now(), version.definition.steps[0]
    runs = [
        Run(
            version=version,
            payload=PAYLOAD,
            position={ROOT: 0},
            started_by=starter,
            created_at=at,
            next_check_at=at + LOOK_AGAIN,
        )
        for _ in range(count)
    ]
    Run.objects.bulk_create(runs, batch_size=INSERT_ROWS)
    tasks = [
        Task(
            run=run,
            step=step.id,
            path=step.id,
            kind=step.kind.value,
            role=step.role,
            created_at=at,
            scheduled_at=at,
            ready_at=at,
            next_check_at=at + LOOK_AGAIN,
        )
        for run in runs
    ]
    return Task.objects.bulk_create(tasks, batch_size=INSERT_ROWS)


def leased(version: Version, holder: User, count: int) -> list[int]:
    """The same, and `holder` has claimed each task a moment ago under `TOKEN`: the numbers of the tasks, in order."""
    numbers = [task.pk for task in waiting(version, holder, count)]
    until = clock.now() + timedelta(hours=2)
    Task.objects.filter(pk__gte=numbers[0], state=TaskState.PENDING).update(
        state=TaskState.RUNNING,
        assignee=holder,
        token_hash=hashed(TOKEN),
        fence=1,
        claimed_at=clock.now(),
        lease_expires_at=until,
        next_check_at=until,
        ready_at=None,
    )
    _log(count)
    analyze()
    return numbers


def _log(count: int) -> None:
    """So many entries. Where a table was empty when PostgreSQL looked last, and is not any more, it reads it from end
    to end at each check of a foreign key, until it looks again a minute later; no log in use is like that."""
    at, bodies = clock.now(), [b'{"n":%d}' % number for number in range(count)]
    before = {"at": at, "action": actions.TASK_CLAIMED, "result": "SUCCESS", "actor_type": "agent"}
    rows = (Entry(body=body, entry_hash=leaf_hash(body), channel="bench", **before) for body in bodies)
    Entry.objects.bulk_create(rows, batch_size=INSERT_ROWS)


def analyze() -> None:
    """Let the planner know what the tables hold, as autovacuum would in time."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def entries(action: str, document: Mapping[str, Any]) -> int:
    """How often this act stands in the log of the document's runs."""
    runs = Run.objects.filter(version__playbook__slug=document["id"])
    return Entry.objects.filter(action=action, run_id__in=runs.values("pk")).count()
