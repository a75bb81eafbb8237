# SPDX-License-Identifier: Apache-2.0
"""One row of every kind that a path can name, and callers who get far: refusals by permission would hide faults.

They are made once for a module, and each test has them as they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from accounts import seeds
from accounts.models import User
from approvals.models import ActionRequest
from runs.models import Run, Task
from tests.factories import claimed, published, reloaded, started
from tests.people import Api, agent, person


@pytest.fixture(scope="module")
def shared_everybody(shared_db: None) -> User:
    groups = (seeds.STAFF, seeds.AUTHOR, seeds.ADMINISTRATOR, "human:police_liaison")
    return person("everybody", *groups, is_superuser=True)


@pytest.fixture(scope="module")
def shared_validator(shared_db: None) -> User:
    return agent("validator", "agent:validator")


@pytest.fixture(scope="module")
def shared_ids(shared_validator: User) -> dict[str, Any]:
    waiting = started()
    lease = claimed(shared_validator)
    assert lease.task.run_id == waiting.pk
    published()  # a further version
    request = _request_of(shared_validator)
    return {
        "run_id": waiting.pk,
        "task_id": lease.task.pk,
        "request_id": request.pk,
        "attachment_id": _attached_to(request, shared_validator),
        "slug": "protest_permit",
        "number": 1,
        "signal": "paid",
        "rule_set": "privacy",
        "system": "clearance",
        "token": lease.token,
    }


@pytest.fixture
def everybody(shared_everybody: User, db: None) -> User:
    """A person of every group and role."""
    return reloaded(shared_everybody)


@pytest.fixture
def validator(shared_validator: User, db: None) -> User:
    return reloaded(shared_validator)


@pytest.fixture
def ids(shared_ids: dict[str, Any], db: None) -> dict[str, Any]:
    """What the places in a path may be filled with."""
    return {**shared_ids}


def _request_of(validator: User) -> ActionRequest:
    from approvals.asking import create_request

    return create_request(actor=validator, title="May I?", role="human:police_liaison")


def _attached_to(request: ActionRequest, by: User) -> int:
    from approvals.talk import attach

    return attach(request_id=request.pk, actor=by, name="notes.txt", content=b"notes")[0].pk


@pytest.fixture
def caller(api_for: Callable[[User], Api], everybody: User) -> Api:
    return api_for(everybody)


@pytest.fixture
def nothing_moved(ids: dict[str, Any]) -> Iterator[None]:
    """What hostile calls must leave as it was."""
    before = _content()
    yield
    assert _content() == before


def _content() -> list[Any]:
    return [list(model._base_manager.order_by("pk").values_list("pk", "state")) for model in (Run, Task, ActionRequest)]
