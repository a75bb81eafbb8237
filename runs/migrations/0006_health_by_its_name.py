# SPDX-License-Identifier: Apache-2.0
"""The page that shows the workers is about health, and is listed by that name."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("runs", "0005_incident_proxy")]
    operations = [
        migrations.AlterModelOptions(
            name="workerhost",
            options={"default_permissions": ("view",), "verbose_name_plural": "health"},
        ),
    ]
