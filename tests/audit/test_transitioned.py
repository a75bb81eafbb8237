# SPDX-License-Identifier: Apache-2.0
"""Every declared transition of run, task, request and version leaves exactly the entry it declares."""

import inspect

import pytest

from approvals.models import ActionRequest
from audit import actions
from audit.models import Entry
from audit.services import SYSTEM, record, transitioned
from config import clock
from config.errors import WrongState
from playbooks.models import Version
from runs.models import Run, Task
from tests import factories

pytestmark = pytest.mark.django_db


def declared():
    """(model, method, from, to, action) of every arrow."""
    for model in (Version, Run, Task, ActionRequest):
        for arrow in model._meta.get_field("state").get_all_transitions(model):
            yield pytest.param(
                model, arrow.name, str(arrow.source), str(arrow.target), arrow.custom["action"],
                id=f"{model.__name__}-{arrow.name}-from-{arrow.source}",
            )  # fmt: skip


@pytest.fixture
def rows(validator):
    request = factories.waiting_for_a_person(validator)
    return {Version: request.run.version, Run: request.run, Task: request.task, ActionRequest: request}


def in_state(row, state):
    """The same row in memory, in another state."""
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    return type(row)(**{**values, "state": state})


def arguments_of(method, at):
    """Something for each further argument of the transition."""
    fillers = {
        "by": factories.founder(),
        "until": at,
        "delay": 1.0,
        "approval": {},
        "output": {},
        "response_data": {},
        "changes": {},
    }
    names = inspect.signature(method).parameters
    return {name: fillers.get(name, "word") for name in names if name not in {"self", "at"}}


@pytest.mark.parametrize(("model", "name", "source", "target", "action"), list(declared()))
def test_a_transition_leaves_exactly_its_entry(rows, model, name, source, target, action):
    row, at = in_state(rows[model], source), clock.now()
    if source == "info_requested":
        row.paused_at = at
    method, before = getattr(row, name), Entry.objects.count()

    record([transitioned(method, arguments_of(method, at), actor=SYSTEM, at=at, note="because")])

    assert Entry.objects.count() == before + 1
    entry = Entry.objects.order_by("-id")[0]
    assert (entry.action, entry.from_state, entry.to_state) == (action, source, target)
    assert (entry.subject_type, entry.at, entry.note) == (row.audit_subject().type, at, "because")
    assert str(row.state) == target


def test_a_transition_from_a_state_it_does_not_leave_is_refused_and_changes_nothing(rows):
    row = in_state(rows[Run], "completed")

    with pytest.raises(WrongState, match="It is completed") as refused:
        transitioned(row.cancel, actor=SYSTEM, at=clock.now())

    assert refused.value.subject is row
    assert row.state == "completed"


def test_two_arrows_of_one_method_say_where_each_began(rows):
    made = [transitioned(in_state(rows[Run], s).cancel, actor=SYSTEM, at=clock.now()) for s in ("queued", "running")]

    assert [(line.action, line.from_state) for line in made] == [
        (actions.RUN_CANCELLING, "queued"),
        (actions.RUN_CANCELLING, "running"),
    ]
