# SPDX-License-Identifier: Apache-2.0

import config.invariant
import django.db.models.deletion
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0051_lists_from_indexes'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='HistoricalSlackChannel',
            fields=[
                ('id', models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name='ID')),
                ('role', models.CharField(max_length=150)),
                ('channel', models.CharField(max_length=32)),
                ('set_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_change_reason', models.CharField(max_length=100, null=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
                ('history_user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('set_by', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'historical slack channel',
                'verbose_name_plural': 'historical slack channels',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name='SlackChannel',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(max_length=150)),
                ('channel', models.CharField(max_length=32)),
                ('set_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('set_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='ChannelPost',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('purpose', models.CharField(max_length=20)),
                ('state', models.CharField(choices=[('due', 'Due'), ('sent', 'Sent'), ('failed', 'Failed'), ('not_needed', 'Not Needed')], default='due', max_length=10)),
                ('due_at', models.DateTimeField()),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.TextField(blank=True)),
                ('told_at', models.DateTimeField()),
                ('reference', models.CharField(blank=True, max_length=200)),
                ('request', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='channel_posts', to='approvals.actionrequest')),
                ('channel', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='posts', to='approvals.slackchannel')),
            ],
            options={
                'default_permissions': ('view',),
            },
        ),
        migrations.AddConstraint(
            model_name='slackchannel',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('role',), name='slack_channel_of_role'),
        ),
        migrations.AddIndex(
            model_name='channelpost',
            index=models.Index(condition=models.Q(('state', 'due')), fields=['due_at'], name='channel_post_due'),
        ),
        migrations.AddConstraint(
            model_name='channelpost',
            constraint=models.UniqueConstraint(fields=('request', 'channel', 'purpose', 'told_at'), name='channel_post_once'),
        ),
        migrations.AddConstraint(
            model_name='channelpost',
            constraint=models.UniqueConstraint(condition=models.Q(('purpose', 'asked')), fields=('request', 'channel'), name='channel_post_asked_once'),
        ),
        migrations.AddConstraint(
            model_name='channelpost',
            constraint=config.invariant.Invariant(condition=models.Q(('state__in', ['due', 'sent', 'failed', 'not_needed'])), name='channel_post_state_known'),
        ),
        migrations.AddConstraint(
            model_name='channelpost',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('sent_at__isnull', False), ('state', 'sent')), models.Q(models.Q(('state', 'sent'), _negated=True), ('sent_at__isnull', True)), _connector='OR'), name='channel_post_sent_iff_at'),
        ),
    ]
