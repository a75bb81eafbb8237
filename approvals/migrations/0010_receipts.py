# SPDX-License-Identifier: Apache-2.0

import config.invariant
import approvals.models.receipts
import django.db.models.deletion
import django_fsm
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0005_decided_how'),
        ('runs', '0005_incident_proxy'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='SigningKey',
            fields=[
                ('id', models.CharField(editable=False, max_length=16, primary_key=True, serialize=False)),
                ('public_key', models.CharField(max_length=44)),
                ('created_at', models.DateTimeField()),
                ('distrusted_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['-created_at'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Receipt',
            fields=[
                ('id', models.CharField(default=approvals.models.receipts.new_receipt_id, editable=False, max_length=16, primary_key=True, serialize=False)),
                ('revision', models.PositiveIntegerField()),
                ('executor', models.CharField(choices=[('engine', 'this installation starts it'), ('step', 'the step of a run that asked'), ('caller', 'whoever asked, outside')], max_length=8)),
                ('action', models.JSONField()),
                ('digest', models.CharField(max_length=64)),
                ('proposed_digest', models.CharField(max_length=64)),
                ('content_digest', models.CharField(max_length=64)),
                ('outcome', models.CharField(max_length=64)),
                ('voters', models.JSONField(default=list)),
                ('constraints', models.JSONField(blank=True, default=dict)),
                ('uses_allowed', models.PositiveIntegerField(default=1)),
                ('nonce', models.CharField(default=approvals.models.receipts.new_nonce, editable=False, max_length=32, unique=True)),
                ('minted_at', models.DateTimeField()),
                ('not_before', models.DateTimeField()),
                ('not_after', models.DateTimeField(blank=True, null=True)),
                ('key_id', models.CharField(max_length=16)),
                ('signature', models.CharField(max_length=88)),
                ('state', models.CharField(choices=[('held', 'Held'), ('ready', 'Ready'), ('spent', 'Spent'), ('revoked', 'Revoked'), ('expired', 'Expired')], default='ready', max_length=50)),
                ('uses', models.PositiveIntegerField(default=0)),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('next_check_at', models.DateTimeField(null=True)),
                ('request', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='receipts', to='approvals.actionrequest')),
            ],
            options={
                'ordering': ['-minted_at', '-id'],
                'permissions': [('spend', 'May spend receipts of requests that others made')],
                'default_permissions': ('view',),
            },
            bases=(django_fsm.FSMModelMixin, models.Model),
        ),
        migrations.CreateModel(
            name='ReceiptAlert',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('purpose', models.CharField(max_length=20)),
                ('state', models.CharField(choices=[('due', 'Due'), ('sent', 'Sent'), ('failed', 'Failed'), ('not_needed', 'Not Needed')], default='due', max_length=10)),
                ('due_at', models.DateTimeField()),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.TextField(blank=True)),
                ('receipt', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='alerts', to='approvals.receipt')),
                ('recipient', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Spending',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('action', models.JSONField()),
                ('digest', models.CharField(max_length=64)),
                ('spent_at', models.DateTimeField()),
                ('receipt', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='spendings', to='approvals.receipt')),
                ('run', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='spendings', to='runs.run')),
                ('spent_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('task', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='runs.task')),
            ],
            options={
                'ordering': ['receipt', 'number'],
                'default_permissions': ('view',),
            },
        ),
        migrations.AddIndex(
            model_name='receipt',
            index=models.Index(condition=models.Q(('next_check_at__isnull', False)), fields=['next_check_at'], name='receipt_due_check'),
        ),
        migrations.AddConstraint(
            model_name='receipt',
            constraint=config.invariant.Invariant(condition=models.Q(('state__in', ['held', 'ready', 'spent', 'revoked', 'expired'])), name='receipt_state_known'),
        ),
        migrations.AddConstraint(
            model_name='receipt',
            constraint=config.invariant.Invariant(condition=models.Q(('executor__in', ['engine', 'step', 'caller'])), name='receipt_executor_known'),
        ),
        migrations.AddConstraint(
            model_name='receipt',
            constraint=config.invariant.Invariant(condition=models.Q(('uses_allowed__gte', 1), ('uses__lte', models.F('uses_allowed'))), name='receipt_uses_within'),
        ),
        migrations.AddConstraint(
            model_name='receipt',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('state', 'spent'), ('uses', models.F('uses_allowed'))), models.Q(models.Q(('state', 'spent'), _negated=True), ('uses__lt', models.F('uses_allowed'))), _connector='OR'), name='receipt_spent_iff_used_up'),
        ),
        migrations.AddConstraint(
            model_name='receipt',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('closed_at__isnull', True), ('next_check_at__isnull', False), ('state__in', ('held', 'ready'))), models.Q(models.Q(('state__in', ('held', 'ready')), _negated=True), ('closed_at__isnull', False), ('next_check_at__isnull', True)), _connector='OR'), name='receipt_open_iff_checked_again'),
        ),
        migrations.AddConstraint(
            model_name='receipt',
            constraint=config.invariant.Invariant(condition=models.Q(('not_after__isnull', True), ('not_after__gt', models.F('not_before')), _connector='OR'), name='receipt_window_is_one'),
        ),
        migrations.AddConstraint(
            model_name='receipt',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ('held', 'ready'))), fields=('request',), name='receipt_one_open_per_request'),
        ),
        migrations.AddIndex(
            model_name='receiptalert',
            index=models.Index(condition=models.Q(('state', 'due')), fields=['due_at'], name='receipt_alert_due'),
        ),
        migrations.AddConstraint(
            model_name='receiptalert',
            constraint=models.UniqueConstraint(fields=('receipt', 'recipient', 'purpose'), name='receipt_alert_once'),
        ),
        migrations.AddConstraint(
            model_name='receiptalert',
            constraint=config.invariant.Invariant(condition=models.Q(('state__in', ['due', 'sent', 'failed', 'not_needed'])), name='receipt_alert_state_known'),
        ),
        migrations.AddConstraint(
            model_name='receiptalert',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('sent_at__isnull', False), ('state', 'sent')), models.Q(models.Q(('state', 'sent'), _negated=True), ('sent_at__isnull', True)), _connector='OR'), name='receipt_alert_sent_iff_at'),
        ),
        migrations.AddConstraint(
            model_name='spending',
            constraint=models.UniqueConstraint(fields=('receipt', 'number'), name='spending_number_once'),
        ),
    ]
