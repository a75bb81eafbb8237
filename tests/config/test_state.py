# SPDX-License-Identifier: Apache-2.0
"""The field of a state: moved by transitions alone, and a plain text to migrations."""

import pytest
from django.apps import apps
from django.db import models
from django.db.migrations.loader import MigrationLoader
from django_fsm import FSMFieldMixin

from config.state import StateField
from runs.models import Run, RunState


def test_a_state_is_not_set_by_hand():
    with pytest.raises(AttributeError, match="Direct state modification"):
        Run().state = RunState.COMPLETED


def test_migrations_know_it_as_a_text_so_that_none_of_their_models_listens_to_all_that_follow():
    _, path, _, options = StateField(choices=RunState, default=RunState.RUNNING).deconstruct()

    assert path == "django.db.models.CharField"
    assert options.keys() == {"choices", "default", "max_length"}
    fields = [
        field
        for model in MigrationLoader(None).project_state().models.values()
        for field in model.fields.values()
    ]  # fmt: skip
    assert not any(isinstance(field, FSMFieldMixin) for field in fields)


def test_every_state_that_transitions_move_is_such_a_field():
    moved = [
        field for model in apps.get_models() for field in model._meta.local_fields if isinstance(field, FSMFieldMixin)
    ]

    assert moved
    assert all(type(field) is StateField and isinstance(field, models.CharField) for field in moved)
