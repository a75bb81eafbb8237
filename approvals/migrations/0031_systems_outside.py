# SPDX-License-Identifier: Apache-2.0
import config.invariant
import django.db.models.deletion
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0030_messages_as_people_wish_them'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ExternalNotice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('purpose', models.CharField(max_length=20)),
                ('state', models.CharField(choices=[('due', 'Due'), ('sent', 'Sent'), ('failed', 'Failed'), ('not_needed', 'Not Needed')], default='due', max_length=10)),
                ('due_at', models.DateTimeField()),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.TextField(blank=True)),
                ('told_at', models.DateTimeField()),
            ],
            options={
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='ExternalSystem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.SlugField(max_length=60, unique=True)),
                ('title', models.CharField(blank=True, max_length=200)),
                ('url', models.CharField(blank=True, max_length=500, verbose_name='address')),
                ('roles', models.JSONField(blank=True, default=list)),
                ('secret_ref', models.CharField(max_length=300, verbose_name='secret')),
                ('is_enabled', models.BooleanField(default=True, verbose_name='enabled')),
                ('created_at', models.DateTimeField()),
                ('changed_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['name'],
                'permissions': [('manage_external', 'May connect approval systems, and say who is who there')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='ExternalUser',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('outside_id', models.CharField(max_length=200)),
                ('linked_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='HistoricalExternalSystem',
            fields=[
                ('id', models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name='ID')),
                ('name', models.SlugField(max_length=60)),
                ('title', models.CharField(blank=True, max_length=200)),
                ('url', models.CharField(blank=True, max_length=500, verbose_name='address')),
                ('roles', models.JSONField(blank=True, default=list)),
                ('secret_ref', models.CharField(max_length=300, verbose_name='secret')),
                ('is_enabled', models.BooleanField(default=True, verbose_name='enabled')),
                ('created_at', models.DateTimeField()),
                ('changed_at', models.DateTimeField()),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_change_reason', models.CharField(max_length=100, null=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
            ],
            options={
                'verbose_name': 'historical external system',
                'verbose_name_plural': 'historical external systems',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name='SeenMessage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source', models.CharField(max_length=80)),
                ('message_id', models.CharField(max_length=200)),
                ('seen_at', models.DateTimeField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='SlackAccount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('member', models.CharField(max_length=32)),
                ('verified_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='SlackCode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('purpose', models.CharField(max_length=20)),
                ('state', models.CharField(choices=[('due', 'Due'), ('sent', 'Sent'), ('failed', 'Failed'), ('not_needed', 'Not Needed')], default='due', max_length=10)),
                ('due_at', models.DateTimeField()),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.TextField(blank=True)),
                ('member', models.CharField(max_length=32)),
                ('nonce', models.CharField(max_length=32)),
                ('expires_at', models.DateTimeField()),
                ('tries', models.PositiveSmallIntegerField(default=0)),
                ('used_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.AddField(
            model_name='externalnotice',
            name='request',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='external_notices', to='approvals.actionrequest'),
        ),
        migrations.AddConstraint(
            model_name='externalsystem',
            constraint=config.invariant.Invariant(condition=models.Q(('secret_ref__startswith', 'env:'), ('secret_ref__startswith', 'file:/'), _connector='OR'), name='external_names_its_secret'),
        ),
        migrations.AddConstraint(
            model_name='externalsystem',
            constraint=config.invariant.Invariant(condition=models.Q(('url', ''), ('url__startswith', 'https://'), ('url__startswith', 'http://'), _connector='OR'), name='external_speaks_http'),
        ),
        migrations.AddField(
            model_name='externalnotice',
            name='system',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='notices', to='approvals.externalsystem'),
        ),
        migrations.AddField(
            model_name='externaluser',
            name='linked_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='externaluser',
            name='system',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='users', to='approvals.externalsystem'),
        ),
        migrations.AddField(
            model_name='externaluser',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='external_users', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='historicalexternalsystem',
            name='history_user',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='seenmessage',
            constraint=models.UniqueConstraint(fields=('source', 'message_id'), name='seen_message_once'),
        ),
        migrations.AddField(
            model_name='slackaccount',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='slack_accounts', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='slackcode',
            name='recipient',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='externalnotice',
            index=models.Index(condition=models.Q(('state', 'due')), fields=['due_at'], name='external_notice_due'),
        ),
        migrations.AddConstraint(
            model_name='externalnotice',
            constraint=models.UniqueConstraint(fields=('system', 'request', 'purpose', 'told_at'), name='external_notice_once'),
        ),
        migrations.AddConstraint(
            model_name='externalnotice',
            constraint=config.invariant.Invariant(condition=models.Q(('state__in', ['due', 'sent', 'failed', 'not_needed'])), name='external_notice_state_known'),
        ),
        migrations.AddConstraint(
            model_name='externalnotice',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('sent_at__isnull', False), ('state', 'sent')), models.Q(models.Q(('state', 'sent'), _negated=True), ('sent_at__isnull', True)), _connector='OR'), name='external_notice_sent_iff_at'),
        ),
        migrations.AddConstraint(
            model_name='externaluser',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('system', 'outside_id'), name='external_user_once'),
        ),
        migrations.AddConstraint(
            model_name='slackaccount',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('user',), name='slack_one_per_user'),
        ),
        migrations.AddConstraint(
            model_name='slackaccount',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('member',), name='slack_one_per_member'),
        ),
        migrations.AddIndex(
            model_name='slackcode',
            index=models.Index(condition=models.Q(('state', 'due')), fields=['due_at'], name='slack_code_due'),
        ),
        migrations.AddConstraint(
            model_name='slackcode',
            constraint=config.invariant.Invariant(condition=models.Q(('state__in', ['due', 'sent', 'failed', 'not_needed'])), name='slack_code_state_known'),
        ),
        migrations.AddConstraint(
            model_name='slackcode',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('sent_at__isnull', False), ('state', 'sent')), models.Q(models.Q(('state', 'sent'), _negated=True), ('sent_at__isnull', True)), _connector='OR'), name='slack_code_sent_iff_at'),
        ),
    ]
