# SPDX-License-Identifier: Apache-2.0
"""Who loses their access while holding a lease loses the lease at once."""

import pytest

from accounts import services as accounts
from runs import services
from runs.models import TaskState
from tests.factories import claimed, reloaded, started, steps
from tests.people import Api, key_of

pytestmark = pytest.mark.django_db

ROLE = {"role": "agent:validator"}


def test_a_revoked_key_loses_its_leases_and_only_its_own(validator, administrator):
    started(), started()
    key, token = key_of(validator)
    with_key = Api()
    with_key.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    task_id = with_key.post("/acts/tasks/next", ROLE).json()["task"]["id"]
    kept = claimed(validator)

    accounts.revoke_key(token_key=key.token_key, actor=administrator, reason="leaked")

    assert with_key.post("/acts/tasks/next", ROLE).status_code == 401
    task = services.Task.objects.get(pk=task_id)
    assert (task.state, task.lease_losses) == (TaskState.PENDING, 1)
    assert reloaded(kept.task).state == TaskState.RUNNING
    assert claimed(validator).task.pk == task_id


def test_a_deactivated_user_loses_every_lease(validator, administrator):
    started()
    lease = claimed(validator)

    accounts.deactivate_user(user_id=validator.pk, actor=administrator, reason="compromised")

    assert reloaded(lease.task).state == TaskState.PENDING


def test_who_leaves_a_role_loses_the_leases_of_that_role(validator, administrator):
    started()
    started(steps({"id": "one", "role": "agent:clerk"}))
    accounts.change_roles(user_id=validator.pk, roles=["agent:validator", "agent:clerk"], actor=administrator)
    validator = reloaded(validator)
    left, kept = claimed(validator), claimed(validator, "agent:clerk")

    accounts.change_roles(user_id=validator.pk, roles=["agent:clerk"], actor=administrator)

    assert reloaded(left.task).state == TaskState.PENDING
    assert reloaded(kept.task).state == TaskState.RUNNING
