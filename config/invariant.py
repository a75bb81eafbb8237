# SPDX-License-Identifier: Apache-2.0
"""What holds of every row of a table, whoever writes it."""

from __future__ import annotations

from typing import Any

from django.db import connection, models


class Invariant(models.CheckConstraint):
    """A check constraint; on PostgreSQL it is held by the table's triggers (`audit.guards.invariants`).

    PostgreSQL reads the text of each check constraint anew, and plans it, in each statement that writes to the table
    (measured: half of what a writing statement costs the server). A trigger's conditions are planned once in a session.
    """

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._unless_by_trigger(schema_editor, super().constraint_sql(model, schema_editor))

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._unless_by_trigger(schema_editor, super().create_sql(model, schema_editor))

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._unless_by_trigger(schema_editor, super().remove_sql(model, schema_editor))

    @staticmethod
    def _unless_by_trigger(schema_editor: Any, sql: Any) -> Any:
        return None if schema_editor.connection.vendor == "postgresql" else sql

    def condition_sql(self, model: type[models.Model], row: str) -> str:
        """The condition of one row, with its values written out: columns of `model` as those of `row`."""

        query = models.sql.Query(model)
        where = query.build_where(self.condition)  # type: ignore[arg-type]  # as Django itself does
        sql, values = where.as_sql(query.get_compiler(connection=connection), connection)
        editor = connection.SchemaEditorClass(connection)
        written: str = sql % tuple(editor.quote_value(value) for value in values)
        return written.replace(f'"{model._meta.db_table}".', f"{row}.")
