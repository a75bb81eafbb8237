# SPDX-License-Identifier: Apache-2.0
"""What has been decided so far was decided by people."""

from django.db import migrations


def by_people(apps, schema_editor):
    apps.get_model("approvals", "ActionRequest").objects.filter(decided_by__isnull=False).update(decided_how="person")


class Migration(migrations.Migration):
    dependencies = [("approvals", "0003_policies_and_revisions")]
    operations = [migrations.RunPython(by_people, migrations.RunPython.noop)]
