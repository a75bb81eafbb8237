# SPDX-License-Identifier: Apache-2.0
"""Counting a call must not cost a flush to disk. SQLite has no such tables, and keeps the ordinary one."""

from typing import Any

from django.db import migrations


def set_logging(word: str) -> Any:
    def run(apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"ALTER TABLE accounts_ratecount SET {word}")

    return run


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_rate_counts")]
    operations = [migrations.RunPython(set_logging("UNLOGGED"), set_logging("LOGGED"))]
