# SPDX-License-Identifier: Apache-2.0
"""What cannot be said of a row is refused on both databases, to whoever writes it."""

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, models, transaction

from audit import triggers
from config.invariant import Invariant
from runs.models import Run
from tests.factories import started, steps

pytestmark = pytest.mark.django_db


@pytest.fixture
def run():
    return started(steps({"id": "one", "role": "agent:validator"}))


def refused(invariant):
    return pytest.raises(IntegrityError, match=invariant)


def test_a_row_that_changes_is_held_to_it(run):
    with refused("run_open_iff_checked_again"), transaction.atomic():
        Run.objects.filter(pk=run.pk).update(next_check_at=None)


def test_a_new_row_is_held_to_it(run):
    with refused("run_open_iff_checked_again"), transaction.atomic():
        Run.objects.create(
            version=run.version, started_by=run.started_by, created_at=run.created_at, position={}, next_check_at=None
        )


def test_a_form_knows_of_it_before_the_database_does(run):
    run.next_check_at = None

    with pytest.raises(ValidationError, match="run_open_iff_checked_again"):
        run.validate_constraints()


def test_no_table_of_ours_has_another_kind_of_check():
    ours = [model for label in ("accounts", "playbooks", "runs", "approvals", "audit") for model in _models(label)]
    checks = [each for model in ours for each in model._meta.constraints if isinstance(each, models.CheckConstraint)]

    assert {type(each) for each in checks} == {Invariant}
    if connection.vendor == "postgresql":
        held = {rule.name for made in triggers.declared("postgresql") for rule in made.rules}
        assert {f"act_{each.name}{event}" for each in checks for event in ("", "_on_update")} <= held


def _models(label):
    return apps.get_app_config(label).get_models()
