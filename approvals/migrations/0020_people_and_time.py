# SPDX-License-Identifier: Apache-2.0

import config.invariant
import django.db.models.deletion
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0010_receipts'),
        ('runs', '0005_incident_proxy'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Calendar',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.SlugField(max_length=60, unique=True, verbose_name='id')),
                ('title', models.CharField(max_length=200)),
                ('zone', models.CharField(max_length=64, verbose_name='time zone')),
                ('hours', models.JSONField()),
                ('holidays', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['slug'],
                'permissions': [('manage_calendars', 'May make and change calendars')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Delegation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(blank=True, max_length=110)),
                ('request_type', models.CharField(blank=True, choices=[('api_key', 'Api Key'), ('account_creation', 'Account Creation'), ('legal_document', 'Legal Document'), ('payment_authorization', 'Payment Authorization'), ('business_setup', 'Business Setup'), ('strategic_decision', 'Strategic Decision'), ('custom', 'Custom')], max_length=24)),
                ('max_severity', models.CharField(choices=[('low', 'Low'), ('medium', 'Medium'), ('high', 'High'), ('critical', 'Critical')], default='critical', max_length=8)),
                ('is_away', models.BooleanField(default=False, verbose_name='out of office')),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('starts_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField()),
                ('made_at', models.DateTimeField()),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['-starts_at', '-id'],
                'permissions': [('manage_delegations', 'May delegate for others, and revoke their delegations')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='HistoricalCalendar',
            fields=[
                ('id', models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name='ID')),
                ('slug', models.SlugField(max_length=60, verbose_name='id')),
                ('title', models.CharField(max_length=200)),
                ('zone', models.CharField(max_length=64, verbose_name='time zone')),
                ('hours', models.JSONField()),
                ('holidays', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField()),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_change_reason', models.CharField(max_length=100, null=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
            ],
            options={
                'verbose_name': 'historical calendar',
                'verbose_name_plural': 'historical calendars',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.AlterModelOptions(
            name='actionrequest',
            options={'default_permissions': ('view',), 'ordering': ['-created_at', '-id'], 'permissions': [('assign_request', 'May ask one person by name to see to a request'), ('extend_request', "May move a request's deadlines")]},
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='extended_seconds',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='timetable',
            field=models.JSONField(default=dict),
        ),
        migrations.AddConstraint(
            model_name='actionrequest',
            constraint=config.invariant.Invariant(condition=models.Q(('decided_by__isnull', True), ('expires_at__isnull', True), ('decided_at__lt', models.F('expires_at')), _connector='OR'), name='request_decided_in_time'),
        ),
        migrations.AddConstraint(
            model_name='calendar',
            constraint=config.invariant.Invariant(condition=models.Q(('zone', ''), _negated=True), name='calendar_has_a_zone'),
        ),
        migrations.AddField(
            model_name='delegation',
            name='delegate',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='delegations_received', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='delegation',
            name='giver',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='delegations_given', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='delegation',
            name='made_by',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='delegation',
            name='request',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='delegations', to='approvals.actionrequest'),
        ),
        migrations.AddField(
            model_name='delegation',
            name='revoked_by',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='historicalcalendar',
            name='history_user',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='delegation',
            constraint=config.invariant.Invariant(condition=models.Q(('ends_at__gt', models.F('starts_at'))), name='delegation_ends_after_it_starts'),
        ),
        migrations.AddConstraint(
            model_name='delegation',
            constraint=config.invariant.Invariant(condition=models.Q(('delegate', models.F('giver')), _negated=True), name='delegation_to_somebody_else'),
        ),
        migrations.AddConstraint(
            model_name='delegation',
            constraint=config.invariant.Invariant(condition=models.Q(('max_severity__in', ['low', 'medium', 'high', 'critical'])), name='delegation_severity_known'),
        ),
        migrations.AddConstraint(
            model_name='delegation',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('revoked_at__isnull', True), ('revoked_by__isnull', True)), models.Q(('revoked_at__isnull', False), ('revoked_by__isnull', False)), _connector='OR'), name='delegation_revoked_iff_by_somebody'),
        ),
    ]
