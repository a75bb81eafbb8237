# SPDX-License-Identifier: Apache-2.0
"""What the hot acts cost, in statements to the database: pinned, so that a change of it is a decision.

PostgreSQL reads once and writes once, and needs no transaction around a single write; SQLite writes each table in
turn. NOTIFY comes after the commit and is not counted, since these tests never commit.
"""

import re
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from approvals import services as approvals
from approvals.models import ActionRequest
from runs import due, jobs, services
from tests.factories import PERMIT, claimed, founder, published, reloaded, started, steps, waiting_for_a_person

pytestmark = pytest.mark.django_db

SAVEPOINT = 2  # of these tests

TWO = steps({"id": "one", "role": "agent:validator"}, {"id": "two", "role": "agent:validator"})


def on(*, postgresql: int, sqlite: int) -> int:
    return {"postgresql": postgresql, "sqlite": sqlite}[connection.vendor]


def cost(act: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as queries:
        act()
    return len(queries) - SAVEPOINT


def test_a_start_reads_the_version_with_the_right_to_it_and_writes_run_task_entry_and_disclosure(validator):
    version = published(TWO)
    starter = User.objects.get(pk=validator.pk)  # of whom no permission is known yet

    def start():
        return services.start_run(actor=starter, playbook=version.playbook.slug, payload={"form_id": 1})

    assert cost(start) == on(postgresql=2, sqlite=5)


def test_a_claim_reads_role_task_and_earlier_outputs_at_once_and_writes_task_entry_and_disclosure(validator):
    started(TWO)
    unread = User.objects.get(pk=validator.pk)  # of whom no role is known yet

    assert cost(lambda: services.claim_tasks(role="agent:validator", actor=unread)) == on(postgresql=2, sqlite=4)


def test_a_completion_reads_once_and_writes_run_task_next_task_entry_and_disclosure(validator):
    started(TWO)
    lease = claimed(validator)
    held = {"task_id": lease.task.pk, "actor": validator, "token": lease.token}

    complete = lambda: services.complete_task(**held, outcome="PASS", output={"risk": "low"})  # noqa: E731
    assert cost(complete) == on(postgresql=2, sqlite=6)


def test_a_heartbeat_is_a_read_and_a_write(validator):
    started(TWO)
    lease = claimed(validator)

    beat = lambda: services.extend_lease(task_id=lease.task.pk, actor=validator, token=lease.token)  # noqa: E731
    assert cost(beat) == 2


def test_a_decision_reads_request_and_person_and_writes_run_task_request_vote_receipt_its_use_and_entries(
    validator, liaison
):
    request = waiting_for_a_person(validator)
    assert not liaison.has_perm("runs.view")
    assert liaison.roles  # with the permission, three statements once a request

    def decide():
        approvals.decide(request_id=request.pk, actor=liaison, outcome="PASS", reason="fine")

    assert cost(decide) == on(postgresql=3, sqlite=12)
    assert ActionRequest.objects.get().state == "fulfilled"


def test_a_decision_makes_at_most_half_as_many_statements_again_as_the_completion_that_asked_for_it(validator, liaison):
    started()
    lease = claimed(validator)
    held = {"task_id": lease.task.pk, "actor": validator, "token": lease.token}
    assert liaison.roles

    asking = cost(lambda: services.complete_task(**held, outcome="PASS", output={"risk": "low"}))
    request = ActionRequest.objects.get()
    deciding = cost(lambda: approvals.decide(request_id=request.pk, actor=liaison, outcome="PASS", reason="fine"))

    assert deciding <= 1.5 * asking


@pytest.mark.django_db(transaction=True)
def test_a_run_of_agent_person_and_service_is_six_transactions_that_write(validator, liaison, tmp_path, monkeypatch):
    """Start; claim and completion by the agent; the decision; claim and completion by our worker."""
    monkeypatch.setenv("HMS_ACT_TEST_MARKS", str(tmp_path))
    pay = {"id": "pay", "role": "svc:finance", "call": "tests.charge $40"}
    version, starter = published({**PERMIT, "steps": [*PERMIT["steps"][:2], pay]}), founder()
    with CaptureQueriesContext(connection) as queries:
        run = services.start_run(actor=starter, playbook=version.playbook.slug, payload={"form_id": 1})
        lease = claimed(validator)
        services.complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")
        approvals.decide(request_id=ActionRequest.objects.get().pk, actor=liaison, outcome="PASS", reason="fine")
        for source, row_id in due.look().tickets:
            if source == "task":
                jobs.perform(source, row_id)

    assert reloaded(run).state == "completed"
    assert writing_transactions([query["sql"] for query in queries]) == 6


def writing_transactions(sent: list[str]) -> int:
    """Of statements in their order: each outermost transaction counts once, if something in it writes."""
    found, within, writes = 0, False, False
    for sql in sent:
        if sql.startswith("BEGIN"):
            within, writes = True, False
        writes = writes or re.search(r"\b(INSERT INTO|UPDATE|DELETE FROM) \"", sql) is not None
        if sql.startswith("COMMIT") or not within:
            found, within, writes = found + writes, False, False
    return found


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


def test_over_http_the_key_and_the_rate_count_are_one_statement_each(validator, api_for):
    started(TWO)
    api = api_for(validator)
    api.get("/acts/tasks")  # the key's use is noted once in a minute
    lease = claimed(validator)
    body = {"token": lease.token, "outcome": "PASS", "output": {"risk": "low"}}

    def complete():
        assert api.post(f"/acts/tasks/{lease.task.pk}/complete", data=body).status_code == 200

    with CaptureQueriesContext(connection) as queries:
        complete()
    sent = [query["sql"] for query in queries if "SAVEPOINT" not in (query["sql"] or "")]
    assert len(sent) == on(postgresql=4, sqlite=8), "\n".join(str(sql)[:100] for sql in sent)
