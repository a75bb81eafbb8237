# SPDX-License-Identifier: Apache-2.0
"""One row of every kind that a path can name, and callers who get far: refusals by permission would hide faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from accounts import seeds
from accounts.models import User
from approvals.models import ActionRequest
from runs.models import Run, Task
from tests.factories import claimed, published, started
from tests.people import Api, person


@pytest.fixture
def everybody(db: None) -> User:
    """A person of every group and role."""
    groups = (seeds.STAFF, seeds.AUTHOR, seeds.ADMINISTRATOR, "human:police_liaison")
    return person("everybody", *groups, is_superuser=True)


@pytest.fixture
def ids(validator: User) -> dict[str, Any]:
    """What the places in a path may be filled with."""
    waiting = started()
    lease = claimed(validator)
    assert lease.task.run_id == waiting.pk
    request = _request_of(validator)
    return {
        "run_id": waiting.pk,
        "task_id": lease.task.pk,
        "request_id": request.pk,
        "attachment_id": _attached_to(request, validator),
        "slug": "protest_permit",
        "number": 1,
        "signal": "paid",
        "rule_set": "privacy",
        "system": "clearance",
        "token": lease.token,
    }


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
    published()
    before = _content()
    yield
    assert _content() == before


def _content() -> list[Any]:
    return [list(model._base_manager.order_by("pk").values_list("pk", "state")) for model in (Run, Task, ActionRequest)]
