# SPDX-License-Identifier: Apache-2.0
"""The arrows that the models declare, the triggers and the invariants say the same of every state.

Tried on real rows by raw SQL: from every state to every other one, with all that is not an arrow out of the way.
"""

from contextlib import contextmanager

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from approvals.models import ActionRequest, RequestState
from audit import actions, guards
from audit.guards import arrows_of
from playbooks.models import RuleSetVersion, Version, VersionState
from runs.models import Run, RunState, Task, TaskState
from tests import factories
from tests.audit.lines import execute, triggers_only, undone, without_triggers

pytestmark = pytest.mark.django_db

MODELS = [Version, RuleSetVersion, Run, Task, ActionRequest]
STATES = {
    Version: VersionState,
    RuleSetVersion: VersionState,
    Run: RunState,
    Task: TaskState,
    ActionRequest: RequestState,
}

# Moves of several arrows that an act makes in memory and writes by one statement; each arrow leaves its entry.
AT_ONCE = {
    Run: {("queued", "cancelled"), ("running", "cancelled")},
    Task: {("awaiting_approval", "completed"), ("running", "cancelled")},
}
BORN = {
    Version: {"draft"},
    RuleSetVersion: {"draft"},
    Run: {"queued", "running", "completed", "failed"},  # one in which nobody has anything to do has ended at once
    # A human step's question is asked by the statement that makes it, and what our worker goes on with is claimed by
    # it; a step that is left out, that cannot begin, or whose branches need nobody, has ended when its row is made.
    Task: {"pending", "running", "awaiting_approval", "skipped", "completed", "failed", "incident"},
    ActionRequest: {"pending"},
}
# What a copy of a row must not share with the row.
FRESH = {
    Version: {"id": "id + 100", "number": "number + 100"},
    RuleSetVersion: {"id": "id + 100", "number": "number + 100"},
    Run: {"id": "id + 100"},
    Task: {"id": "id + 100", "path": "'elsewhere'"},
    ActionRequest: {"id": "'har_000000000000'", "task_id": "NULL"},
}


@pytest.fixture
def rows(validator):
    request = factories.waiting_for_a_person(validator)
    rules = RuleSetVersion.objects.get(rule_set__slug="privacy")
    return {
        Version: request.run.version,
        RuleSetVersion: rules,
        Run: request.run,
        Task: request.task,
        ActionRequest: request,
    }


@contextmanager
def nothing_but_arrows(model):
    """Without invariants, whatever is done inside being undone."""
    invariant = {trigger.name for trigger in guards.invariants(model._meta.app_label)}
    with undone(), triggers_only(lambda trigger: trigger.name not in invariant):
        if connection.vendor == "sqlite":
            execute("PRAGMA ignore_check_constraints = ON")
        try:
            yield
        finally:
            if connection.vendor == "sqlite":
                execute("PRAGMA ignore_check_constraints = OFF")


@contextmanager
def nothing_but_invariants(model):
    invariant = {trigger.name for trigger in guards.invariants(model._meta.app_label)}
    with undone(), triggers_only(lambda trigger: trigger.name in invariant):
        yield


def refusing_trigger(statement):
    """The name of the trigger that refuses the statement; "" if the statement goes through. It is undone."""
    try:
        with undone():
            execute(statement)
    except IntegrityError as refused:
        return str(refused).partition(":")[0]
    return ""


def put(row, state):
    with without_triggers():
        execute(f"UPDATE {row._meta.db_table} SET state = '{state}' WHERE id = '{row.pk}'")


def moved(row, state):
    claimed = ", fence = fence + 1" if (type(row), state) == (Task, "running") else ""
    return f"UPDATE {row._meta.db_table} SET state = '{state}'{claimed} WHERE id = '{row.pk}'"


@pytest.mark.parametrize("model", MODELS)
def test_the_database_lets_a_state_move_along_declared_arrows_only(model, rows):
    row, states = rows[model], STATES[model].values
    possible, refusals = set(), set()

    with nothing_but_arrows(model):
        for source in states:
            put(row, source)
            outcomes = {target: refusing_trigger(moved(row, target)) for target in states if target != source}
            possible |= {(source, target) for target, refused_by in outcomes.items() if not refused_by}
            refusals |= set(outcomes.values()) - {""}

    declared = {(source, target) for source, target in arrows_of(model) if source != target}
    assert possible == declared | AT_ONCE.get(model, set())
    assert {refused_by.rpartition("_")[2] for refused_by in refusals} <= {"arrows", "ended"}


@pytest.mark.parametrize("model", MODELS)
def test_rows_are_born_in_their_first_states_only(model, rows):
    row, table = rows[model], model._meta.db_table
    columns = [field.column for field in model._meta.concrete_fields]

    def insert(state):
        values = {**FRESH[model], "state": f"'{state}'"}
        picked = ", ".join(values.get(column, column) for column in columns)
        return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {picked} FROM {table} WHERE id = '{row.pk}'"

    with nothing_but_arrows(model):
        outcomes = {state: refusing_trigger(insert(state)) for state in STATES[model].values}

    assert {state for state, refused_by in outcomes.items() if not refused_by} == BORN[model]
    assert set(outcomes.values()) == {"", f"act_{table}_starts"}


@pytest.mark.parametrize("model", MODELS)
def test_states_are_the_words_of_the_model_and_no_others(model, rows):
    known = {check.condition for check in model._meta.constraints if check.name.endswith("_state_known")}
    assert known == {Q(state__in=STATES[model].values)}
    assert {state for arrow in arrows_of(model) for state in arrow} <= set(STATES[model].values)

    ended = {Task: ", next_check_at = NULL, ended_at = created_at", ActionRequest: ", next_check_at = NULL"}
    unknown = f"UPDATE {model._meta.db_table} SET state = 'asleep'{ended.get(model, '')} WHERE id = '{rows[model].pk}'"
    with nothing_but_invariants(model), pytest.raises(IntegrityError, match="_state_known"), transaction.atomic():
        execute(unknown)


@pytest.mark.parametrize("model", MODELS)
def test_no_arrow_leaves_an_ended_state(model):
    ended = {
        Version: {"retired"},
        RuleSetVersion: {"retired"},
        Run: {"completed", "failed", "cancelled", "terminated"},
        Task: {"completed", "failed", "cancelled", "rejected", "skipped", "incident"},
        # An approval that has had no effect yet can be taken back.
        ActionRequest: {"rejected", "cancelled", "expired", "superseded", "not_required"},
    }

    assert {source for source, _ in arrows_of(model)}.isdisjoint(ended[model])


@pytest.mark.parametrize("model", MODELS)
def test_every_arrow_names_the_entry_it_leaves(model):
    declared = model._meta.get_field("state").get_all_transitions(model)

    named = {arrow.custom.get("action") for arrow in declared}

    assert named
    assert named <= actions.ALL
