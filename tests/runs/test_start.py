# SPDX-License-Identifier: Apache-2.0
"""Starting a run."""

import pytest

from audit import actions
from audit.models import Entry
from config.errors import Forbidden, Invalid, WrongState
from playbooks import services as playbooks
from runs import services
from runs.models import Priority, Run, Task, TaskState
from tests import factories
from tests.factories import actions_of, founder, published, started, steps, tasks_of

pytestmark = pytest.mark.django_db


def start(actor, **given):
    return services.start_run(actor=actor, **{"playbook": "protest_permit", "payload": {}, **given})


def test_a_run_starts_running_with_its_first_task_ready_for_the_role():
    run = started(payload={"form_id": 123})

    (task,) = tasks_of(run)
    assert (run.state, run.payload) == ("running", {"form_id": 123})
    assert (task.step, task.role, task.state, task.attempt) == ("AI-Screen", "agent:validator", "pending", 1)
    assert task.ready_at is not None
    assert actions_of(run) == [actions.RUN_STARTED]


def test_it_can_be_named_by_number_as_well():
    version = published()

    assert start(founder(), playbook=None, protocol_id=version.playbook_id).version == version


def test_agents_may_start_and_other_people_need_the_permission(validator, staff_member):
    published()

    assert start(validator).started_by == validator
    with pytest.raises(Forbidden):
        start(staff_member)
    assert Run.objects.count() == 1


def test_an_unknown_playbook_is_an_invalid_call_and_starts_nothing():
    with pytest.raises(Invalid, match="no playbook 'protest_permit'"):
        start(founder())


def test_a_draft_does_not_start():
    playbooks.create_playbook(actor=founder(), parsed=factories.parse_data(factories.PERMIT))

    with pytest.raises(WrongState, match="no published version"):
        start(founder())


def test_runs_stay_on_their_version_and_later_starts_take_the_newest(validator):
    first = started(steps({"id": "one", "role": "agent:validator"}, {"id": "two", "role": "agent:validator"}))
    second = started(steps({"id": "uno", "role": "agent:validator"}))

    assert (first.version.number, second.version.number) == (1, 2)
    lease = factories.claimed(validator)
    services.complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")
    assert [task.step for task in tasks_of(first)] == ["one", "two"]
    assert [task.step for task in tasks_of(second)] == ["uno"]


def test_a_retired_version_cannot_start_and_its_runs_go_on(validator):
    run = started(steps({"id": "one", "role": "agent:validator"}))
    playbooks.retire_version(actor=founder(), playbook="story", number=1)

    with pytest.raises(WrongState, match="no published version"):
        start(founder(), playbook="story")
    with pytest.raises(WrongState, match="retired"):
        start(founder(), playbook="story", version=1)
    lease = factories.claimed(validator)
    services.complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")
    assert factories.reloaded(run).state == "completed"


def test_a_payload_that_does_not_fit_the_schema_is_refused_place_by_place():
    schema = {
        "type": "object",
        "required": ["form_id"],
        "properties": {"form_id": {"type": "integer"}, "when": {"type": "string", "format": "date"}},
    }
    published({**factories.PERMIT, "payload_schema": schema})

    with pytest.raises(Invalid) as refused:
        start(founder(), payload={"form_id": "x", "when": "tomorrow"})
    assert [problem.path for problem in refused.value.errors] == ["payload.form_id", "payload.when"]
    assert not Run.objects.exists()


def test_an_urgent_run_is_claimed_first(validator):
    published()
    start(founder())
    urgent = start(founder(), priority=Priority.CRITICAL)

    assert factories.claimed(validator).task.run_id == urgent.pk


def test_a_playbook_may_begin_with_a_person(liaison):
    run = started(steps({"id": "decide", "role": "human:police_liaison"}))

    (task,) = tasks_of(run)
    assert task.state == TaskState.AWAITING_APPROVAL
    assert actions_of(run) == [actions.RUN_STARTED, actions.TASK_AWAITING, actions.REQUEST_CREATED]


def test_the_refused_start_is_in_the_log_and_the_payload_is_not(staff_member):
    published()
    with pytest.raises(Forbidden):
        start(staff_member, payload={"secret": "x"})

    entry = Entry.objects.get(action=actions.RUN_START_DENIED)
    assert (entry.result, entry.actor_name, entry.subject_id) == ("DENIED", "staff_member", "protest_permit")
    assert b"secret" not in bytes(entry.body)
    assert Task.objects.count() == 0
