# SPDX-License-Identifier: Apache-2.0
"""What the hot acts cost, in statements to the database: pinned, so that a change of it is a decision.

BEGIN and COMMIT are counted where they are sent; NOTIFY comes after the commit and is not, since these tests
never commit. PostgreSQL pays one statement for the clock where it could not ride on another.
"""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import services as approvals
from approvals.models import ActionRequest
from runs import services
from tests.factories import claimed, founder, published, started, steps, waiting_for_a_person

pytestmark = pytest.mark.django_db

SAVEPOINT = 2  # stands for BEGIN and COMMIT
CLOCK = {"postgresql": 1, "sqlite": 0}

TWO = steps({"id": "one", "role": "agent:validator"}, {"id": "two", "role": "agent:validator"})


def cost(act: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as queries:
        act()
    return len(queries) - SAVEPOINT


def test_a_start_reads_the_version_and_writes_run_task_entry_and_disclosure():
    version = published(TWO)
    starter = founder()
    starter.has_perm("runs.start")

    def start():
        return services.start_run(actor=starter, playbook=version.playbook.slug, payload={"form_id": 1})

    assert cost(start) == 5 + CLOCK[connection.vendor]


def test_a_claim_reads_the_task_and_earlier_outputs_and_writes_task_entry_and_disclosure(validator):
    started(TWO)
    assert "agent:validator" in validator.roles

    assert cost(lambda: services.claim_tasks(role="agent:validator", actor=validator)) == 5


def test_a_completion_reads_once_and_writes_run_task_next_task_entry_and_disclosure(validator):
    started(TWO)
    lease = claimed(validator)
    held = {"task_id": lease.task.pk, "actor": validator, "token": lease.token}

    assert cost(lambda: services.complete_task(**held, outcome="PASS", output={"risk": "low"})) == 6


def test_a_heartbeat_is_a_read_and_a_write(validator):
    started(TWO)
    lease = claimed(validator)

    beat = lambda: services.extend_lease(task_id=lease.task.pk, actor=validator, token=lease.token)  # noqa: E731
    assert cost(beat) == 2


def test_a_decision_locks_run_task_and_request_and_reads_the_person(validator, liaison):
    request = waiting_for_a_person(validator)
    assert not liaison.has_perm("runs.view")
    assert liaison.roles  # with the permission, three statements once a request

    def decide():
        approvals.decide(request_id=request.pk, actor=liaison, outcome="PASS", reason="fine")

    assert cost(decide) == 13 + CLOCK[connection.vendor]
    assert ActionRequest.objects.get().state == "fulfilled"


def test_no_act_costs_more_in_a_longer_run(validator):
    costs = []
    for length in (3, 30):
        story = steps(*({"id": f"s{n}", "role": "agent:validator"} for n in range(length)), id=f"story{length}")
        started(story)
        for _ in range(length - 1):
            lease = claimed(validator)
            held = {"task_id": lease.task.pk, "actor": validator, "token": lease.token}
            last = cost(lambda held=held: services.complete_task(**held, outcome="PASS", output={"n": 1}))
        costs.append(last)
        last = claimed(validator)
        services.complete_task(task_id=last.task.pk, actor=validator, token=last.token, outcome="PASS")

    assert costs[0] == costs[1]
