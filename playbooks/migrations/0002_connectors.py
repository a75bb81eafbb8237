# SPDX-License-Identifier: Apache-2.0

import config.invariant
import django.db.models.deletion
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('playbooks', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Connector',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200, unique=True)),
                ('title', models.CharField(blank=True, max_length=200)),
                ('method', models.CharField(choices=[('POST', 'POST'), ('PUT', 'PUT'), ('PATCH', 'PATCH')], default='POST', max_length=5)),
                ('url', models.CharField(max_length=500, verbose_name='address')),
                ('headers', models.JSONField(blank=True, default=dict)),
                ('connect_seconds', models.PositiveSmallIntegerField(default=5)),
                ('read_seconds', models.PositiveSmallIntegerField(default=20)),
                ('total_seconds', models.PositiveSmallIntegerField(default=30)),
                ('verdict_statuses', models.JSONField(blank=True, default=list)),
                ('secret_ref', models.CharField(blank=True, max_length=300, verbose_name='secret')),
                ('secret_header', models.CharField(default='Authorization', max_length=100)),
                ('signing_ref', models.CharField(blank=True, max_length=300, verbose_name='signing secret')),
                ('is_enabled', models.BooleanField(default=True, verbose_name='enabled')),
                ('created_at', models.DateTimeField()),
                ('changed_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['name'],
                'permissions': [('manage_connectors', 'May make, change and disable connectors')],
                'default_permissions': ('view',),
                'constraints': [config.invariant.Invariant(condition=models.Q(('method__in', ['POST', 'PUT', 'PATCH'])), name='connector_method_known'), config.invariant.Invariant(condition=models.Q(('url__startswith', 'https://'), ('url__startswith', 'http://'), _connector='OR'), name='connector_speaks_http'), config.invariant.Invariant(condition=models.Q(('connect_seconds__gte', 1), ('read_seconds__gte', 1), ('total_seconds__gte', models.F('connect_seconds')), ('total_seconds__gte', models.F('read_seconds'))), name='connector_times_fit'), config.invariant.Invariant(condition=models.Q(('secret_ref', ''), ('secret_ref__startswith', 'env:'), ('secret_ref__startswith', 'file:/'), _connector='OR'), name='connector_names_its_secret'), config.invariant.Invariant(condition=models.Q(('signing_ref', ''), ('signing_ref__startswith', 'env:'), ('signing_ref__startswith', 'file:/'), _connector='OR'), name='connector_names_its_signing_secret')],
            },
        ),
        migrations.CreateModel(
            name='HistoricalConnector',
            fields=[
                ('id', models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name='ID')),
                ('name', models.CharField(db_index=True, max_length=200)),
                ('title', models.CharField(blank=True, max_length=200)),
                ('method', models.CharField(choices=[('POST', 'POST'), ('PUT', 'PUT'), ('PATCH', 'PATCH')], default='POST', max_length=5)),
                ('url', models.CharField(max_length=500, verbose_name='address')),
                ('headers', models.JSONField(blank=True, default=dict)),
                ('connect_seconds', models.PositiveSmallIntegerField(default=5)),
                ('read_seconds', models.PositiveSmallIntegerField(default=20)),
                ('total_seconds', models.PositiveSmallIntegerField(default=30)),
                ('verdict_statuses', models.JSONField(blank=True, default=list)),
                ('secret_ref', models.CharField(blank=True, max_length=300, verbose_name='secret')),
                ('secret_header', models.CharField(default='Authorization', max_length=100)),
                ('signing_ref', models.CharField(blank=True, max_length=300, verbose_name='signing secret')),
                ('is_enabled', models.BooleanField(default=True, verbose_name='enabled')),
                ('created_at', models.DateTimeField()),
                ('changed_at', models.DateTimeField()),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_change_reason', models.CharField(max_length=100, null=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
                ('history_user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'historical connector',
                'verbose_name_plural': 'historical connectors',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
    ]
