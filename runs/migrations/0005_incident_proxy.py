# SPDX-License-Identifier: Apache-2.0
"""Incidents have a list of their own in the admin."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("runs", "0004_effect_attempt")]

    operations = [
        migrations.CreateModel(
            name="Incident",
            fields=[],
            options={"proxy": True, "default_permissions": (), "indexes": [], "constraints": []},
            bases=("runs.task",),
        ),
    ]
