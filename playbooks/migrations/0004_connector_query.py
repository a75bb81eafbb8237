# SPDX-License-Identifier: Apache-2.0

import config.invariant
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('playbooks', '0003_rule_sets'),
    ]

    operations = [
        migrations.AddField(
            model_name='connector',
            name='query_url',
            field=models.CharField(blank=True, max_length=500, verbose_name='address to ask at'),
        ),
        migrations.AddField(
            model_name='historicalconnector',
            name='query_url',
            field=models.CharField(blank=True, max_length=500, verbose_name='address to ask at'),
        ),
        migrations.AddConstraint(
            model_name='connector',
            constraint=config.invariant.Invariant(condition=models.Q(('query_url', ''), models.Q(('query_url__startswith', 'http'), ('query_url__contains', '{key}')), _connector='OR'), name='connector_asks_by_key'),
        ),
    ]
