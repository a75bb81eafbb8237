# SPDX-License-Identifier: Apache-2.0
import config.invariant
import datetime

import django.db.models.deletion
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0040_secrets_and_talk'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Broadcast',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('purpose', models.CharField(max_length=20)),
                ('state', models.CharField(choices=[('due', 'Due'), ('sent', 'Sent'), ('failed', 'Failed'), ('not_needed', 'Not Needed')], default='due', max_length=10)),
                ('due_at', models.DateTimeField()),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.TextField(blank=True)),
                ('revision', models.PositiveIntegerField()),
                ('told_at', models.DateTimeField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='HistoricalPreference',
            fields=[
                ('zone', models.CharField(default='UTC', max_length=64, verbose_name='time zone')),
                ('quiet_from', models.TimeField(blank=True, null=True)),
                ('quiet_until', models.TimeField(blank=True, null=True)),
                ('reach', models.CharField(choices=[('mail', 'mail'), ('slack', 'slack'), ('both', 'both')], default='mail', max_length=8, verbose_name='channel')),
                ('rhythm', models.CharField(choices=[('at_once', 'at once'), ('hourly', 'hourly'), ('daily', 'daily')], default='at_once', max_length=8, verbose_name='mails')),
                ('summary_at', models.TimeField(default=datetime.time(9, 0), verbose_name='daily summary at')),
                ('changed_at', models.DateTimeField()),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_change_reason', models.CharField(max_length=100, null=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
            ],
            options={
                'verbose_name': 'historical preference',
                'verbose_name_plural': 'historical preferences',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name='MailLink',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('revision', models.PositiveIntegerField()),
                ('purpose', models.CharField(max_length=20)),
                ('token_hash', models.CharField(max_length=64, unique=True)),
                ('created_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('used_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Preference',
            fields=[
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='notification_preference', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('zone', models.CharField(default='UTC', max_length=64, verbose_name='time zone')),
                ('quiet_from', models.TimeField(blank=True, null=True)),
                ('quiet_until', models.TimeField(blank=True, null=True)),
                ('reach', models.CharField(choices=[('mail', 'mail'), ('slack', 'slack'), ('both', 'both')], default='mail', max_length=8, verbose_name='channel')),
                ('rhythm', models.CharField(choices=[('at_once', 'at once'), ('hourly', 'hourly'), ('daily', 'daily')], default='at_once', max_length=8, verbose_name='mails')),
                ('summary_at', models.TimeField(default=datetime.time(9, 0), verbose_name='daily summary at')),
                ('changed_at', models.DateTimeField()),
            ],
            options={
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Summary',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('purpose', models.CharField(max_length=20)),
                ('state', models.CharField(choices=[('due', 'Due'), ('sent', 'Sent'), ('failed', 'Failed'), ('not_needed', 'Not Needed')], default='due', max_length=10)),
                ('due_at', models.DateTimeField()),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.TextField(blank=True)),
                ('slot_at', models.DateTimeField()),
            ],
            options={
                'verbose_name_plural': 'summaries',
                'default_permissions': ('view',),
            },
        ),
        migrations.AlterModelOptions(
            name='notification',
            options={'default_permissions': ('view',), 'permissions': [('resend_notification', 'May send messages again that were given up')]},
        ),
        migrations.RemoveConstraint(
            model_name='notification',
            name='notification_once',
        ),
        migrations.AddField(
            model_name='notification',
            name='channel',
            field=models.CharField(choices=[('mail', 'Mail'), ('slack', 'Slack')], default='mail', max_length=8),
        ),
        migrations.AddField(
            model_name='notification',
            name='is_routed',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='notification',
            name='reference',
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name='notification',
            name='told_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='broadcast',
            name='request',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='broadcasts', to='approvals.actionrequest'),
        ),
        migrations.AddField(
            model_name='historicalpreference',
            name='history_user',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='historicalpreference',
            name='user',
            field=models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='maillink',
            name='recipient',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='maillink',
            name='request',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='mail_links', to='approvals.actionrequest'),
        ),
        migrations.AddConstraint(
            model_name='preference',
            constraint=config.invariant.Invariant(condition=models.Q(('reach__in', ['mail', 'slack', 'both'])), name='preference_reach_known'),
        ),
        migrations.AddConstraint(
            model_name='preference',
            constraint=config.invariant.Invariant(condition=models.Q(('rhythm__in', ['at_once', 'hourly', 'daily'])), name='preference_rhythm_known'),
        ),
        migrations.AddConstraint(
            model_name='preference',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('quiet_from__isnull', True), ('quiet_until__isnull', True)), models.Q(('quiet_from__isnull', False), ('quiet_until__isnull', False)), _connector='OR'), name='preference_quiet_has_both_ends'),
        ),
        migrations.AddField(
            model_name='summary',
            name='recipient',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='notification',
            name='summary',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='notifications', to='approvals.summary'),
        ),
        migrations.AddIndex(
            model_name='notification',
            index=models.Index(fields=['request', 'recipient'], name='notification_of_request'),
        ),
        migrations.AddConstraint(
            model_name='notification',
            constraint=models.UniqueConstraint(fields=('request', 'recipient', 'channel', 'purpose', 'told_at'), name='notification_once_and_told'),
        ),
        migrations.AddConstraint(
            model_name='notification',
            constraint=config.invariant.Invariant(condition=models.Q(('channel__in', ['mail', 'slack'])), name='notification_channel_known'),
        ),
        migrations.AddConstraint(
            model_name='notification',
            constraint=config.invariant.Invariant(condition=models.Q(('summary__isnull', True), ('channel', 'mail'), _connector='OR'), name='notification_summaries_are_mails'),
        ),
        migrations.AddIndex(
            model_name='broadcast',
            index=models.Index(condition=models.Q(('state', 'due')), fields=['due_at'], name='broadcast_due'),
        ),
        migrations.AddConstraint(
            model_name='broadcast',
            constraint=config.invariant.Invariant(condition=models.Q(('state__in', ['due', 'sent', 'failed', 'not_needed'])), name='broadcast_state_known'),
        ),
        migrations.AddConstraint(
            model_name='broadcast',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('sent_at__isnull', False), ('state', 'sent')), models.Q(models.Q(('state', 'sent'), _negated=True), ('sent_at__isnull', True)), _connector='OR'), name='broadcast_sent_iff_at'),
        ),
        migrations.AddConstraint(
            model_name='maillink',
            constraint=config.invariant.Invariant(condition=models.Q(('expires_at__gt', models.F('created_at'))), name='mail_link_ends_later'),
        ),
        migrations.AddConstraint(
            model_name='maillink',
            constraint=config.invariant.Invariant(condition=models.Q(('used_at__isnull', True), ('revoked_at__isnull', True), _connector='OR'), name='mail_link_used_or_revoked'),
        ),
        migrations.AddIndex(
            model_name='summary',
            index=models.Index(condition=models.Q(('state', 'due')), fields=['due_at'], name='summary_due'),
        ),
        migrations.AddConstraint(
            model_name='summary',
            constraint=models.UniqueConstraint(fields=('recipient', 'slot_at'), name='summary_once'),
        ),
        migrations.AddConstraint(
            model_name='summary',
            constraint=config.invariant.Invariant(condition=models.Q(('state__in', ['due', 'sent', 'failed', 'not_needed'])), name='summary_state_known'),
        ),
        migrations.AddConstraint(
            model_name='summary',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('sent_at__isnull', False), ('state', 'sent')), models.Q(models.Q(('state', 'sent'), _negated=True), ('sent_at__isnull', True)), _connector='OR'), name='summary_sent_iff_at'),
        ),
    ]
