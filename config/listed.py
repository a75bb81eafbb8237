# SPDX-License-Identifier: Apache-2.0
"""Rows of another table, read with the row that they belong to: one statement instead of two."""

from __future__ import annotations

from typing import Any

from django.db.models import JSONField, QuerySet, Subquery


class Listed(Subquery):
    """The rows of `found.values_list(…)`, in their order, as a list of lists; empty or None if there are none.

    `found` may name the outer row by `OuterRef`. What it lists are texts, numbers and JSON.
    """

    output_field = JSONField()

    def __init__(self, found: QuerySet[Any, Any], *names: str) -> None:
        super().__init__(found.values_list(*names))
        self._columns = [(found.model._meta.get_field(name).column, _is_json(found, name)) for name in names]

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        columns = ", ".join(f'listed."{name}"' for name, _ in self._columns)
        return self._listing(compiler, connection, f"jsonb_agg(jsonb_build_array({columns}))")

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        columns = ", ".join(f'json(listed."{name}")' if json else f'listed."{name}"' for name, json in self._columns)
        return self._listing(compiler, connection, f"json_group_array(json_array({columns}))")

    def _listing(self, compiler: Any, connection: Any, rows: str) -> Any:
        template = f"(SELECT {rows} FROM (%(subquery)s) AS listed)"  # noqa: S608  names of columns
        return super().as_sql(compiler, connection, template=template)


def _is_json(found: QuerySet[Any, Any], name: str) -> bool:
    return isinstance(found.model._meta.get_field(name), JSONField)
