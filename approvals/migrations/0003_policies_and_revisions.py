# SPDX-License-Identifier: Apache-2.0

import config.invariant
import django.db.models.deletion
import django_fsm
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0002_fewer_indexes'),
        ('runs', '0005_incident_proxy'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Asked',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('why', models.CharField(max_length=20)),
                ('asked_at', models.DateTimeField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='HistoricalPolicy',
            fields=[
                ('id', models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name='ID')),
                ('slug', models.SlugField(max_length=60, verbose_name='id')),
                ('title', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField()),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_change_reason', models.CharField(max_length=100, null=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
            ],
            options={
                'verbose_name': 'historical policy',
                'verbose_name_plural': 'historical policies',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name='HistoricalPolicyVersion',
            fields=[
                ('id', models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('state', models.CharField(choices=[('draft', 'Draft'), ('published', 'Published'), ('retired', 'Retired')], default='draft', max_length=50)),
                ('document', models.JSONField()),
                ('digest', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField()),
                ('published_at', models.DateTimeField(blank=True, null=True)),
                ('retired_at', models.DateTimeField(blank=True, null=True)),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_change_reason', models.CharField(max_length=100, null=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
            ],
            options={
                'verbose_name': 'historical policy version',
                'verbose_name_plural': 'historical policy versions',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name='Policy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.SlugField(max_length=60, unique=True, verbose_name='id')),
                ('title', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField()),
            ],
            options={
                'verbose_name_plural': 'policies',
                'ordering': ['slug'],
                'permissions': [('manage_policies', 'May write, publish and retire policies, and propose standing rules')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='PolicyVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('state', models.CharField(choices=[('draft', 'Draft'), ('published', 'Published'), ('retired', 'Retired')], default='draft', max_length=50)),
                ('document', models.JSONField()),
                ('digest', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField()),
                ('published_at', models.DateTimeField(blank=True, null=True)),
                ('retired_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['policy', '-number'],
                'default_permissions': ('view',),
            },
            bases=(django_fsm.FSMModelMixin, models.Model),
        ),
        migrations.CreateModel(
            name='Revision',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('made_at', models.DateTimeField()),
                ('reason', models.TextField(blank=True)),
                ('content', models.JSONField()),
                ('digest', models.CharField(max_length=64)),
                ('changes', models.JSONField(default=list)),
                ('keeps_votes', models.BooleanField(default=False)),
            ],
            options={
                'ordering': ['request', 'number'],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='StandingRule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('title', models.CharField(max_length=200)),
                ('reason', models.TextField()),
                ('state', models.CharField(choices=[('proposed', 'Proposed'), ('active', 'Active'), ('revoked', 'Revoked'), ('expired', 'Expired')], default='proposed', max_length=50)),
                ('role', models.CharField(max_length=110)),
                ('request_type', models.CharField(blank=True, max_length=24)),
                ('playbook', models.CharField(blank=True, max_length=100)),
                ('step', models.CharField(blank=True, max_length=100)),
                ('max_severity', models.CharField(default='low', max_length=8)),
                ('when', models.CharField(blank=True, max_length=500)),
                ('max_uses', models.PositiveIntegerField()),
                ('uses', models.PositiveIntegerField(default=0)),
                ('valid_from', models.DateTimeField()),
                ('valid_until', models.DateTimeField()),
                ('proposed_at', models.DateTimeField()),
                ('activated_at', models.DateTimeField(blank=True, null=True)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('next_check_at', models.DateTimeField(null=True)),
            ],
            options={
                'ordering': ['-proposed_at', '-id'],
                'default_permissions': ('view',),
            },
            bases=(django_fsm.FSMModelMixin, models.Model),
        ),
        migrations.RemoveConstraint(
            model_name='actionrequest',
            name='request_decided_iff_decider',
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='action',
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='assigned_to',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='requests_assigned', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='constraints',
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='decided_how',
            field=models.CharField(blank=True, choices=[('person', 'Person'), ('break_glass', 'Break Glass'), ('standing_rule', 'Standing Rule'), ('timeout', 'Timeout')], max_length=14),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='eligible',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='exchange',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='first_claimed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='first_viewed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='paused_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='paused_seconds',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='reason_code',
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='stage',
            field=models.PositiveSmallIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='supersedes',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='superseded_by', to='approvals.actionrequest'),
        ),
        migrations.AddField(
            model_name='vote',
            name='assurance',
            field=models.CharField(default='session', max_length=8),
        ),
        migrations.AddField(
            model_name='vote',
            name='on_behalf_of',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='vote',
            name='reason_code',
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AddField(
            model_name='vote',
            name='rules',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='vote',
            name='stage',
            field=models.PositiveSmallIntegerField(default=0),
        ),
        migrations.AddConstraint(
            model_name='vote',
            constraint=models.UniqueConstraint(condition=models.Q(('on_behalf_of__isnull', False)), fields=('request', 'revision', 'on_behalf_of'), name='vote_one_on_behalf_and_revision'),
        ),
        migrations.AddField(
            model_name='asked',
            name='request',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='asked_people', to='approvals.actionrequest'),
        ),
        migrations.AddField(
            model_name='asked',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='historicalpolicy',
            name='history_user',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='historicalpolicyversion',
            name='created_by',
            field=models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='historicalpolicyversion',
            name='history_user',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='historicalpolicyversion',
            name='published_by',
            field=models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='historicalpolicyversion',
            name='policy',
            field=models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='approvals.policy'),
        ),
        migrations.AddField(
            model_name='policyversion',
            name='created_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='policyversion',
            name='policy',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='approvals.policy'),
        ),
        migrations.AddField(
            model_name='policyversion',
            name='published_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='revision',
            name='made_by',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='revision',
            name='request',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='revisions', to='approvals.actionrequest'),
        ),
        migrations.AddField(
            model_name='standingrule',
            name='activated_by',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='standingrule',
            name='agent',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='standingrule',
            name='proposed_by',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='standing_rule',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='requests', to='approvals.standingrule'),
        ),
        migrations.AddConstraint(
            model_name='actionrequest',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('paused_at__isnull', False), ('state', 'info_requested')), models.Q(models.Q(('state', 'info_requested'), _negated=True), ('paused_at__isnull', True)), _connector='OR'), name='request_paused_iff_info_requested'),
        ),
        migrations.AddConstraint(
            model_name='asked',
            constraint=models.UniqueConstraint(fields=('request', 'user'), name='asked_once'),
        ),
        migrations.AddConstraint(
            model_name='policyversion',
            constraint=models.UniqueConstraint(fields=('policy', 'number'), name='policy_version_number_once'),
        ),
        migrations.AddConstraint(
            model_name='policyversion',
            constraint=config.invariant.Invariant(condition=models.Q(('state__in', ['draft', 'published', 'retired'])), name='policy_version_state_known'),
        ),
        migrations.AddConstraint(
            model_name='policyversion',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('published_at__isnull', True), ('state', 'draft')), models.Q(models.Q(('state', 'draft'), _negated=True), ('published_at__isnull', False)), _connector='OR'), name='policy_version_published_iff_not_draft'),
        ),
        migrations.AddConstraint(
            model_name='policyversion',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('retired_at__isnull', False), ('state', 'retired')), models.Q(models.Q(('state', 'retired'), _negated=True), ('retired_at__isnull', True)), _connector='OR'), name='policy_version_retired_iff_retired_at'),
        ),
        migrations.AddConstraint(
            model_name='revision',
            constraint=models.UniqueConstraint(fields=('request', 'number'), name='revision_number_once'),
        ),
        migrations.AddIndex(
            model_name='standingrule',
            index=models.Index(condition=models.Q(('state', 'active')), fields=['role'], name='standing_rule_active'),
        ),
        migrations.AddIndex(
            model_name='standingrule',
            index=models.Index(condition=models.Q(('next_check_at__isnull', False)), fields=['next_check_at'], name='standing_rule_due_check'),
        ),
        migrations.AddConstraint(
            model_name='standingrule',
            constraint=config.invariant.Invariant(condition=models.Q(('state__in', ['proposed', 'active', 'revoked', 'expired'])), name='standing_rule_state_known'),
        ),
        migrations.AddConstraint(
            model_name='standingrule',
            constraint=config.invariant.Invariant(condition=models.Q(('uses__lte', models.F('max_uses'))), name='standing_rule_within_its_uses'),
        ),
        migrations.AddConstraint(
            model_name='standingrule',
            constraint=config.invariant.Invariant(condition=models.Q(('valid_until__gt', models.F('valid_from'))), name='standing_rule_ends'),
        ),
        migrations.AddConstraint(
            model_name='standingrule',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('activated_by__isnull', True), ('state', 'proposed')), ('state', 'revoked'), ('state', 'expired'), models.Q(('activated_by__isnull', False), ('state', 'active'), models.Q(('activated_by', models.F('proposed_by')), _negated=True)), _connector='OR'), name='standing_rule_by_two_people'),
        ),
        migrations.AddConstraint(
            model_name='standingrule',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('next_check_at__isnull', False), ('state__in', ['proposed', 'active'])), models.Q(('next_check_at__isnull', True), ('state__in', ['revoked', 'expired'])), _connector='OR'), name='standing_rule_open_iff_checked_again'),
        ),
    ]
