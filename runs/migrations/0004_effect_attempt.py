# SPDX-License-Identifier: Apache-2.0

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0003_composite_steps'),
    ]

    operations = [
        migrations.AddField(
            model_name='effect',
            name='attempt',
            field=models.PositiveIntegerField(default=1),
        ),
    ]
