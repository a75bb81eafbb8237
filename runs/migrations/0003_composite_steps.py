# SPDX-License-Identifier: Apache-2.0

import config.invariant
import django.db.models.deletion
import playbooks.definition
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('playbooks', '0002_connectors'),
        ('runs', '0002_fewer_indexes'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='RunMessage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('word', models.CharField(choices=[('start', 'Start'), ('ended', 'Ended'), ('close', 'Close')], max_length=5)),
                ('note', models.TextField(blank=True)),
                ('sent_at', models.DateTimeField()),
                ('done_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Signal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('data', models.JSONField(blank=True, null=True)),
                ('sent_at', models.DateTimeField()),
            ],
            options={
                'default_permissions': ('view',),
            },
        ),
        migrations.RemoveConstraint(
            model_name='task',
            name='task_kind_known',
        ),
        migrations.RemoveConstraint(
            model_name='task',
            name='task_people_hold_requests_not_tasks',
        ),
        migrations.RemoveIndex(
            model_name='task',
            name='task_of_run',
        ),
        migrations.AddField(
            model_name='run',
            name='depth',
            field=models.PositiveSmallIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='run',
            name='parent',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='child_runs', to='runs.task'),
        ),
        migrations.AddField(
            model_name='task',
            name='input',
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='task',
            name='item',
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='task',
            name='resolution',
            field=models.CharField(blank=True, choices=[('retry', 'Retry'), ('skip', 'Skip'), ('fail', 'Fail'), ('closed', 'Closed')], max_length=10),
        ),
        migrations.AddField(
            model_name='task',
            name='resolved_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='task',
            name='scope',
            field=models.CharField(blank=True, max_length=300),
        ),
        migrations.AddField(
            model_name='task',
            name='tries_before',
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='task',
            name='wake_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='task',
            name='kind',
            field=models.CharField(choices=[('agent', 'agent'), ('human', 'human'), ('service', 'service'), ('governance', 'governance'), ('parallel', 'parallel'), ('foreach', 'foreach'), ('switch', 'switch'), ('wait', 'wait'), ('playbook', 'playbook')], max_length=10),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('parent__isnull', False)), fields=['parent'], name='run_of_parent'),
        ),
        migrations.AddIndex(
            model_name='task',
            index=models.Index(fields=['run', 'scope'], name='task_in_scope'),
        ),
        migrations.AddIndex(
            model_name='task',
            index=models.Index(condition=models.Q(('resolved_at__isnull', True), ('state', 'incident')), fields=['-id'], name='task_unresolved'),
        ),
        migrations.AddConstraint(
            model_name='task',
            constraint=config.invariant.Invariant(condition=models.Q(('kind__in', [playbooks.definition.StepKind['AGENT'], playbooks.definition.StepKind['HUMAN'], playbooks.definition.StepKind['SERVICE'], playbooks.definition.StepKind['GOVERNANCE'], playbooks.definition.StepKind['PARALLEL'], playbooks.definition.StepKind['FOREACH'], playbooks.definition.StepKind['SWITCH'], playbooks.definition.StepKind['WAIT'], playbooks.definition.StepKind['PLAYBOOK']])), name='task_kind_is_known'),
        ),
        migrations.AddConstraint(
            model_name='task',
            constraint=config.invariant.Invariant(condition=models.Q(('kind__in', (playbooks.definition.StepKind['AGENT'], playbooks.definition.StepKind['SERVICE'], playbooks.definition.StepKind['GOVERNANCE'])), models.Q(('state', 'running'), _negated=True), _connector='OR'), name='task_held_only_if_of_held_kind'),
        ),
        migrations.AddConstraint(
            model_name='task',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('kind__in', (playbooks.definition.StepKind['AGENT'], playbooks.definition.StepKind['SERVICE'], playbooks.definition.StepKind['GOVERNANCE'])), _negated=True), models.Q(('state', 'completed'), _negated=True), ('fence__gt', 0), ('approval__isnull', False), _connector='OR'), name='task_completed_by_somebody'),
        ),
        migrations.AddConstraint(
            model_name='task',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('resolution', ''), ('resolved_at__isnull', True)), models.Q(('resolved_at__isnull', False), ('state', 'incident'), models.Q(('resolution', ''), _negated=True)), _connector='OR'), name='task_resolved_only_if_incident'),
        ),
        migrations.AddField(
            model_name='runmessage',
            name='task',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='messages', to='runs.task'),
        ),
        migrations.AddField(
            model_name='signal',
            name='run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='signals', to='runs.run'),
        ),
        migrations.AddField(
            model_name='signal',
            name='sent_by',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='signal',
            name='task',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='signal', to='runs.task'),
        ),
        migrations.AddIndex(
            model_name='runmessage',
            index=models.Index(condition=models.Q(('done_at__isnull', True)), fields=['sent_at'], name='message_due'),
        ),
        migrations.AddConstraint(
            model_name='runmessage',
            constraint=models.UniqueConstraint(fields=('task', 'word'), name='message_once'),
        ),
        migrations.AddIndex(
            model_name='signal',
            index=models.Index(condition=models.Q(('task__isnull', True)), fields=['run', 'name', 'id'], name='signal_kept'),
        ),
    ]
