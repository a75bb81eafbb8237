# SPDX-License-Identifier: Apache-2.0
"""What runs, approvals and playbooks keep as evidence stays as it was, by raw SQL too.

Each attack is tried twice: the trigger refuses it, and without the trigger it would have succeeded.
"""

import pytest
from django.db import IntegrityError

from approvals import policies
from approvals.models import ActionRequest, Notification, PolicyVersion, Vote
from approvals.services import decide
from audit import guards
from playbooks import services as playbooks
from playbooks.models import Version
from runs import services as runs
from runs.models import Effect, Run, Task
from tests import factories
from tests.audit.lines import assert_refused_by, execute, settle

pytestmark = pytest.mark.django_db

ONLY_POSTGRESQL = pytest.mark.postgresql
ONLY_SQLITE = pytest.mark.sqlite


@pytest.fixture
def request_made(liaison, validator):
    """An open request, of which the liaison is mailed; its run and task are open, the step before it has ended."""
    return factories.waiting_for_a_person(validator)


@pytest.fixture
def decided(request_made, liaison):
    return decide(request_id=request_made.pk, actor=liaison, outcome="FAIL", reason="The square is taken.")


@pytest.fixture
def effect(request_made):
    """One that has been confirmed."""
    task = Task.objects.get(run=request_made.run, step="AI-Screen")
    return Effect.objects.create(
        key="0" * 64, run=task.run, task=task, action="hms_ach.charge", state="confirmed", result={"paid": 40},
        intended_at=task.created_at, confirmed_at=task.created_at,
    )  # fmt: skip


def other_value(model, field):
    """SQL for a value that the column may hold and does not."""
    kind = model._meta.get_field(field).get_internal_type()
    column = model._meta.get_field(field).column
    if kind in {"ForeignKey", "BigAutoField", "PositiveIntegerField", "PositiveSmallIntegerField", "FloatField"}:
        return f"COALESCE({column}, 0) + 1" if kind != "ForeignKey" else "NULL"
    if kind == "DateTimeField":
        return "'2001-01-01 00:00:00+00'"
    return """'{"other": 1}'""" if kind == "JSONField" else "'other'"


def updates(model, pk, *fields):
    for field in fields:
        column = model._meta.get_field(field).column
        yield f"UPDATE {model._meta.db_table} SET {column} = {other_value(model, field)} WHERE {pk}"


def assert_each_refused_by(trigger, statements):
    for statement in statements:
        settle()
        with pytest.raises(IntegrityError, match=trigger):
            execute(statement)


# Nothing of it goes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Run, Task, Effect, ActionRequest, Vote, Notification])
def test_no_row_is_deleted(model, decided, effect):
    assert model.objects.exists()

    assert_each_refused_by(f"act_{model._meta.db_table}_no_delete", [f"DELETE FROM {model._meta.db_table}"])


@ONLY_POSTGRESQL
@pytest.mark.parametrize("model", [Version, Run, Task, Effect, ActionRequest, Vote, Notification])
def test_no_table_is_truncated(model, decided):
    assert_each_refused_by("_no_truncate", [f"TRUNCATE {model._meta.db_table} CASCADE"])


@ONLY_SQLITE
@pytest.mark.parametrize("model", [Effect, Vote, Notification])
def test_no_row_is_overwritten_by_an_insert(model, decided, effect):
    table = model._meta.db_table

    assert_refused_by(f"act_{table}_no_replace", f"REPLACE INTO {table} SELECT * FROM {table}")


@ONLY_SQLITE
@pytest.mark.parametrize("model", [Run, Task, ActionRequest])
def test_no_open_row_is_overwritten_by_an_insert(model, request_made):
    table = model._meta.db_table

    assert_refused_by(
        f"act_{table}_no_replace", f"REPLACE INTO {table} SELECT * FROM {table} WHERE state <> 'completed'"
    )


@ONLY_SQLITE
def test_a_published_version_is_not_overwritten_by_a_draft():
    version = factories.published()
    columns = [field.column for field in Version._meta.concrete_fields]
    draft = {"state": "'draft'", "published_at": "NULL", "published_by_id": "NULL"}
    picked = ", ".join(draft.get(column, column) for column in columns)

    assert_refused_by(
        "act_playbooks_version_no_replace",
        f"REPLACE INTO playbooks_version ({', '.join(columns)}) SELECT {picked} FROM playbooks_version "
        f"WHERE id = {version.pk}",
    )


@ONLY_SQLITE
def test_an_open_task_does_not_replace_the_open_task_on_its_path(request_made):
    columns = [field.column for field in Task._meta.concrete_fields]
    picked = [{"id": "id + 100", "attempt": "attempt + 1"}.get(name, name) for name in columns]
    names = ", ".join(columns)

    assert_refused_by(
        "act_runs_task_no_replace",
        f"REPLACE INTO runs_task ({names}) SELECT {', '.join(picked)} FROM runs_task WHERE id = {request_made.task_id}",
    )


@ONLY_SQLITE
def test_an_open_request_does_not_replace_the_open_request_of_its_task(request_made):
    columns = [field.column for field in ActionRequest._meta.concrete_fields]
    picked = ["'har_000000000000'" if name == "id" else name for name in columns]
    table = "approvals_actionrequest"

    with pytest.raises(IntegrityError, match="act_approvals_actionrequest_no_replace"):
        execute(f"REPLACE INTO {table} ({', '.join(columns)}) SELECT {', '.join(picked)} FROM {table}")


# What it is stays what it is -------------------------------------------------------------------------------


def test_what_a_run_executes_never_changes(request_made):
    fields = ("id", "payload", "created_at")

    assert_each_refused_by("act_runs_run_identity", updates(Run, f"id = {request_made.run_id}", *fields))


def test_where_a_task_stands_never_changes(request_made):
    fields = ("id", "step", "path", "attempt", "kind", "created_at")

    assert_each_refused_by("act_runs_task_identity", updates(Task, f"id = {request_made.task_id}", *fields))


def test_what_a_request_is_about_never_changes(request_made):
    fields = ("id", "request_type", "created_at", "task", "run")

    assert_each_refused_by(
        "act_approvals_actionrequest_identity", updates(ActionRequest, f"id = '{request_made.pk}'", *fields)
    )


def test_what_is_asked_changes_only_with_its_revision(request_made):
    fields = ("title", "description", "asked", "form", "options", "policy", "digest", "severity", "required_fields")
    revised = f"UPDATE approvals_actionrequest SET revision = 2, title = 'Revised' WHERE id = '{request_made.pk}'"

    assert_each_refused_by(
        "act_approvals_actionrequest_asked", updates(ActionRequest, f"id = '{request_made.pk}'", *fields)
    )
    execute(revised)
    assert_refused_by("act_approvals_actionrequest_asked", revised.replace("revision = 2", "revision = 1"))


def test_a_vote_never_changes(decided):
    assert_refused_by("act_approvals_vote_no_update", "UPDATE approvals_vote SET outcome = 'PASS'")


def test_what_an_effect_is_never_changes(effect):
    fields = ("key", "action", "intended_at")

    assert_each_refused_by("act_runs_effect_identity", updates(Effect, f"key = '{effect.pk}'", *fields))


# What has ended rests --------------------------------------------------------------------------------------


def test_an_ended_task_keeps_its_answer(request_made):
    ended = Task.objects.get(run=request_made.run, step="AI-Screen")
    fields = (
        "outcome", "output", "note", "answer_digest", "approval", "error_type", "error_message", "retry_reason",
        "retry_delay_seconds", "assignee", "credential", "lease_losses", "ended_at",
    )  # fmt: skip

    assert_each_refused_by("act_runs_task_ended", updates(Task, f"id = {ended.pk}", *fields))


def test_an_ended_run_keeps_its_end(decided):
    fields = ("ended_at", "ended_by_step")

    assert_each_refused_by("act_runs_run_ended", updates(Run, f"id = {decided.run_id}", *fields))


def test_a_decision_stays_as_it_was_made(decided):
    fields = (
        "outcome", "decided_by", "decided_at", "response_data", "notes", "rejection_reason", "claimed_decider",
        "revision", "asked", "digest",
    )  # fmt: skip
    triggers = "act_approvals_actionrequest_(closed|asked)"

    assert_each_refused_by(triggers, updates(ActionRequest, f"id = '{decided.pk}'", *fields))


def test_a_confirmed_effect_keeps_its_result(effect):
    statements = [
        *updates(Effect, f"key = '{effect.pk}'", "result", "confirmed_at"),
        "UPDATE runs_effect SET state = 'intended', confirmed_at = NULL",
    ]

    assert_each_refused_by("act_runs_effect_confirmed", statements)


def test_a_sent_mail_is_not_unsent(request_made):
    sent = "UPDATE approvals_notification SET state = 'sent', sent_at = due_at"
    assert_refused_by(
        "act_approvals_notification_sent", sent, "UPDATE approvals_notification SET state = 'due', sent_at = NULL"
    )


# Fences ----------------------------------------------------------------------------------------------------


def test_a_fence_never_falls(validator):
    factories.started()
    first = factories.claimed(validator)
    runs.release_task(task_id=first.task.pk, actor=validator, token=first.token)
    task = factories.claimed(validator).task

    assert_refused_by("act_runs_task_fence", f"UPDATE runs_task SET fence = fence - 1 WHERE id = {task.pk}")


def test_a_task_is_not_claimed_under_the_old_fence(validator):
    factories.started()
    lease = factories.claimed(validator)
    runs.release_task(task_id=lease.task.pk, actor=validator, token=lease.token)

    assert_refused_by(
        "act_runs_task_fence",
        f"UPDATE runs_task SET state = 'running', ready_at = NULL, token_hash = 'x', lease_expires_at = claimed_at "
        f"WHERE id = {lease.task.pk}",
    )


# Versions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["published", "retired"])
def test_a_version_that_was_published_never_changes(state):
    version = factories.published()
    if state == "retired":
        playbooks.retire_version(actor=factories.founder(), playbook="protest_permit", number=1)
    frozen = ("document", "digest", "published_at")

    assert_each_refused_by("act_playbooks_version_published", updates(Version, f"id = {version.pk}", *frozen))
    assert_each_refused_by("act_playbooks_version_identity", updates(Version, f"id = {version.pk}", "number"))
    assert_refused_by(
        "act_playbooks_version_no_delete", "DELETE FROM playbooks_version_roles", "DELETE FROM playbooks_version"
    )


@pytest.mark.parametrize("state", ["published", "retired"])
def test_a_version_of_a_policy_that_was_published_never_changes(administrator, state):
    policies.create_policy(actor=administrator, slug="plans", title="Plans", document="{}")
    policies.publish_version(actor=administrator, slug="plans", number=1)
    settled = ["document", "digest", "published_at", "published_by"]
    if state == "retired":
        policies.retire_version(actor=administrator, slug="plans", number=1)
        assert_each_refused_by("_retired", updates(PolicyVersion, "TRUE", "retired_at"))

    assert_each_refused_by("act_approvals_policyversion_published", updates(PolicyVersion, "TRUE", *settled))
    assert_each_refused_by("act_approvals_policyversion_identity", updates(PolicyVersion, "TRUE", "number"))
    assert_refused_by("act_approvals_policyversion_no_delete", "DELETE FROM approvals_policyversion")


def test_a_draft_may_be_edited_and_deleted():
    factories.published()
    draft = playbooks.clone_version(actor=factories.founder(), playbook="protest_permit", number=1)

    execute(f"UPDATE playbooks_version SET digest = 'other' WHERE id = {draft.pk}")
    execute(f"DELETE FROM playbooks_version WHERE id = {draft.pk}")

    assert not Version.objects.filter(pk=draft.pk).exists()


def test_a_word_with_a_quote_in_it_does_not_become_sql():
    with pytest.raises(AssertionError):
        guards.sql_words(["it's"])
