# SPDX-License-Identifier: Apache-2.0
from django.db import migrations


class Migration(migrations.Migration):
    """Users have a manager of their own; the database stays as it is."""

    dependencies = [("accounts", "0004_rate_counts_are_not_logged")]

    operations = [migrations.AlterModelManagers(name="user", managers=[])]
