# SPDX-License-Identifier: Apache-2.0
"""What rooms say about their tables, in the words of triggers: only added to, never deleted, frozen, arrows."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from django.apps import apps
from django.db import connection, models
from django_fsm import FSMFieldMixin

from audit.triggers import PREFIX, Event, Trigger
from config.invariant import Invariant

Model = type[models.Model]


def append_only(model: Model, *, unique: Iterable[str] = ()) -> list[Trigger]:
    """Rows are added, and never change or go."""
    return [
        _trigger(model, "no_update", "UPDATE", "TRUE", "its rows never change"),
        *no_delete(model, unique=unique),
    ]


def no_delete(model: Model, *, unique: Iterable[str] = ()) -> list[Trigger]:
    """Rows never go, by REPLACE neither: SQLite deletes the row in the way without asking delete triggers.

    `unique` adds conditions, over NEW, that find the row in the way of a conditional unique constraint.
    """
    return [
        _trigger(model, "no_delete", "DELETE", "TRUE", "its rows are never deleted"),
        no_truncate(model),
        no_replace(model, unique=unique),
    ]


def no_truncate(model: Model) -> Trigger:
    message = "its rows are never deleted"
    return _trigger(model, "no_truncate", "TRUNCATE", "TRUE", message, vendors=("postgresql",))


def no_replace(model: Model, *, unique: Iterable[str] = ()) -> Trigger:
    """On SQLite, refuse to insert over an existing row. An honest insert would fail just there, by its constraint."""
    keys = [" AND ".join(f"{column} = NEW.{column}" for column in key) for key in _unique_keys(model)]
    in_the_way = " OR ".join(f"({condition})" for condition in [*keys, *unique])
    condition = f'EXISTS (SELECT 1 FROM "{model._meta.db_table}" WHERE {in_the_way})'  # noqa: S608 names of our own
    return _trigger(model, "no_replace", "INSERT", condition, "its rows are never replaced", vendors=("sqlite",))


def frozen(model: Model, *fields: str, when: str = "TRUE", rule: str = "frozen") -> Trigger:
    """The fields keep their values while `when` (SQL over OLD and NEW) holds; by default, for ever."""
    condition = f"({when}) AND ({changed(model, *fields)})"
    return _trigger(model, rule, "UPDATE", condition, "what it says stays as it is")


def arrows(model: Model, field: str = "state", *, at_once: Iterable[tuple[str, ...]] = ()) -> Trigger:
    """The state moves only along the transitions that the model declares.

    `at_once` names paths of several transitions that an act makes in memory and writes by one statement.
    """
    column = _column(model, field)
    moves = arrows_of(model, field) | {_ends_of(path, arrows_of(model, field)) for path in at_once}
    declared = sql_words(f"{source}>{target}" for source, target in sorted(moves))
    condition = f"NEW.{column} <> OLD.{column} AND (OLD.{column} || '>' || NEW.{column}) NOT IN ({declared})"
    return _trigger(model, "arrows", "UPDATE", condition, "its state does not move this way")


def arrows_of(model: Model, field: str = "state") -> set[tuple[str, str]]:
    """(from, to) of every declared transition."""
    state = model._meta.get_field(field)
    assert isinstance(state, FSMFieldMixin)
    return {(str(arrow.source), str(arrow.target)) for arrow in state.get_all_transitions(model)}


def _ends_of(path: tuple[str, ...], declared: set[tuple[str, str]]) -> tuple[str, str]:
    states = [str(state) for state in path]
    assert set(pairwise(states)) <= declared, f"{path} leaves the declared transitions"
    return states[0], states[-1]


def starts_in(model: Model, *states: str, field: str = "state") -> Trigger:
    """Rows are born in one of these states."""
    condition = f"NEW.{_column(model, field)} NOT IN ({sql_words(states)})"
    return _trigger(model, "starts", "INSERT", condition, "no row begins in this state")


def invariants(app_label: str) -> list[Trigger]:
    """What each model of an app declares of every row, where no check constraint holds it (`config/invariant.py`)."""
    if connection.vendor != "postgresql":
        return []
    events: tuple[tuple[Event, str], ...] = (("INSERT", ""), ("UPDATE", "_on_update"))
    return [
        Trigger(
            f"{PREFIX}{each.name}{ending}", model._meta.db_table, event,
            f"NOT ({each.condition_sql(model, 'NEW')})", "its row would say what cannot be", ("postgresql",),
        )
        for model in apps.get_app_config(app_label).get_models()
        for each in model._meta.constraints
        if isinstance(each, Invariant)
        for event, ending in events
    ]  # fmt: skip


def changed(model: Model, *fields: str) -> str:
    """SQL: some of the fields would get another value."""
    columns = [_column(model, field) for field in fields]
    return " OR ".join(f"NEW.{column} IS DISTINCT FROM OLD.{column}" for column in columns)


def sql_words(words: Iterable[str]) -> str:
    """Words of our own as SQL literals. They are codes; a quote in one is a fault of ours."""
    plain = [str(word) for word in words]
    assert not any("'" in word for word in plain), plain
    return ", ".join(f"'{word}'" for word in plain)


def refuse(model: Model, rule: str, event: Event, condition: str, message: str) -> Trigger:
    """A rule of one table that has no common name."""
    return _trigger(model, rule, event, condition, message)


def _trigger(
    model: Model,
    rule: str,
    event: Event,
    condition: str,
    message: str,
    vendors: tuple[str, ...] = ("postgresql", "sqlite"),
) -> Trigger:
    table = model._meta.db_table
    return Trigger(f"{PREFIX}{table}_{rule}", table, event, condition, message, vendors)


def _column(model: Model, field: str) -> str:
    return f'"{model._meta.get_field(field).column}"'  # type: ignore[union-attr]


def _unique_keys(model: Model) -> list[list[str]]:
    """Columns of the primary key and of every unconditional unique constraint."""
    singles = [[_column(model, field.name)] for field in model._meta.concrete_fields if field.unique]
    several = [
        [_column(model, name) for name in constraint.fields]
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint) and constraint.condition is None
    ]
    return singles + several
