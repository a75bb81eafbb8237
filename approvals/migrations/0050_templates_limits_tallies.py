# SPDX-License-Identifier: Apache-2.0

import config.invariant
import django.db.models.deletion
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0031_systems_outside'),
        ('runs', '0005_incident_proxy'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='actionrequest',
            name='question_digest',
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='tallied_as',
            field=models.CharField(blank=True, max_length=16),
        ),
        migrations.CreateModel(
            name='AgentLimit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('open_requests', models.PositiveIntegerField(blank=True, null=True)),
                ('per_hour', models.PositiveIntegerField(blank=True, null=True)),
                ('reason', models.CharField(blank=True, max_length=300)),
                ('changed_at', models.DateTimeField()),
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='ask_limit', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['user__username'],
                'permissions': [('manage_limits', 'May change how much an agent may ask')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='HistoricalAgentLimit',
            fields=[
                ('id', models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name='ID')),
                ('open_requests', models.PositiveIntegerField(blank=True, null=True)),
                ('per_hour', models.PositiveIntegerField(blank=True, null=True)),
                ('reason', models.CharField(blank=True, max_length=300)),
                ('changed_at', models.DateTimeField()),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_change_reason', models.CharField(max_length=100, null=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
                ('history_user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('user', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'historical agent limit',
                'verbose_name_plural': 'historical agent limits',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name='HistoricalRequestTemplate',
            fields=[
                ('id', models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name='ID')),
                ('name', models.SlugField(max_length=60)),
                ('title', models.CharField(max_length=200)),
                ('request_type', models.CharField(choices=[('api_key', 'Api Key'), ('account_creation', 'Account Creation'), ('legal_document', 'Legal Document'), ('payment_authorization', 'Payment Authorization'), ('business_setup', 'Business Setup'), ('strategic_decision', 'Strategic Decision'), ('custom', 'Custom')], default='custom', max_length=24)),
                ('title_pattern', models.CharField(blank=True, max_length=200)),
                ('description_pattern', models.TextField(blank=True)),
                ('required_fields', models.JSONField(blank=True, default=dict)),
                ('role', models.CharField(blank=True, max_length=110)),
                ('priority', models.PositiveSmallIntegerField(choices=[(0, 'Critical'), (1, 'High'), (2, 'Medium'), (3, 'Low')], default=2)),
                ('severity', models.CharField(choices=[('low', 'Low'), ('medium', 'Medium'), ('high', 'High'), ('critical', 'Critical')], default='medium', max_length=8)),
                ('policy', models.CharField(blank=True, max_length=60)),
                ('reasons', models.JSONField(blank=True, default=dict)),
                ('shared_fields', models.JSONField(blank=True, default=list)),
                ('is_reversible', models.BooleanField(default=False)),
                ('is_active', models.BooleanField(default=True)),
                ('revision', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField()),
                ('changed_at', models.DateTimeField()),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_change_reason', models.CharField(max_length=100, null=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
                ('history_user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'historical request template',
                'verbose_name_plural': 'historical request templates',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name='RequestTally',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('scope', models.CharField(max_length=8)),
                ('name', models.CharField(blank=True, max_length=110)),
                ('period', models.CharField(blank=True, max_length=10)),
                ('figures', models.JSONField(default=dict)),
                ('count', models.PositiveBigIntegerField(default=0)),
            ],
            options={
                'verbose_name': 'statistics',
                'verbose_name_plural': 'statistics',
                'permissions': [('view_statistics', 'May see what became of all requests'), ('person_statistics', 'May see the figures of single people, where they are many enough')],
                'default_permissions': (),
                'indexes': [models.Index(fields=['scope', 'period', '-count'], name='tally_largest')],
                'constraints': [models.UniqueConstraint(fields=('scope', 'name', 'period'), name='tally_once')],
            },
        ),
        migrations.CreateModel(
            name='RequestTemplate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.SlugField(max_length=60, unique=True)),
                ('title', models.CharField(max_length=200)),
                ('request_type', models.CharField(choices=[('api_key', 'Api Key'), ('account_creation', 'Account Creation'), ('legal_document', 'Legal Document'), ('payment_authorization', 'Payment Authorization'), ('business_setup', 'Business Setup'), ('strategic_decision', 'Strategic Decision'), ('custom', 'Custom')], default='custom', max_length=24)),
                ('title_pattern', models.CharField(blank=True, max_length=200)),
                ('description_pattern', models.TextField(blank=True)),
                ('required_fields', models.JSONField(blank=True, default=dict)),
                ('role', models.CharField(blank=True, max_length=110)),
                ('priority', models.PositiveSmallIntegerField(choices=[(0, 'Critical'), (1, 'High'), (2, 'Medium'), (3, 'Low')], default=2)),
                ('severity', models.CharField(choices=[('low', 'Low'), ('medium', 'Medium'), ('high', 'High'), ('critical', 'Critical')], default='medium', max_length=8)),
                ('policy', models.CharField(blank=True, max_length=60)),
                ('reasons', models.JSONField(blank=True, default=dict)),
                ('shared_fields', models.JSONField(blank=True, default=list)),
                ('is_reversible', models.BooleanField(default=False)),
                ('is_active', models.BooleanField(default=True)),
                ('revision', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField()),
                ('changed_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['name'],
                'permissions': [('manage_templates', 'May make and change templates of requests')],
                'default_permissions': ('view',),
                'constraints': [config.invariant.Invariant(condition=models.Q(('request_type__in', ['api_key', 'account_creation', 'legal_document', 'payment_authorization', 'business_setup', 'strategic_decision', 'custom'])), name='template_type_known'), config.invariant.Invariant(condition=models.Q(('severity__in', ['low', 'medium', 'high', 'critical'])), name='template_severity_known'), config.invariant.Invariant(condition=models.Q(('role', ''), ('role__startswith', 'human:'), _connector='OR'), name='template_asks_people'), config.invariant.Invariant(condition=models.Q(('revision__gte', 1)), name='template_revision_positive')],
            },
        ),
        migrations.AddField(
            model_name='actionrequest',
            name='template',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='requests', to='approvals.requesttemplate'),
        ),
        migrations.AddConstraint(
            model_name='actionrequest',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ('pending', 'in_review', 'info_requested', 'changes_requested')), models.Q(('question_digest', ''), _negated=True)), fields=('requester', 'question_digest'), name='request_one_open_per_question'),
        ),
    ]
