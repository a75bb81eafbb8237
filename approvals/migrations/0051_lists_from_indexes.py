# SPDX-License-Identifier: Apache-2.0

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0050_templates_limits_tallies'),
        ('runs', '0005_incident_proxy'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='actionrequest',
            name='request_by_state',
        ),
        migrations.RemoveIndex(
            model_name='actionrequest',
            name='request_by_requester',
        ),
        migrations.AddIndex(
            model_name='actionrequest',
            index=models.Index(fields=['created_at', 'id'], name='request_created'),
        ),
        migrations.AddIndex(
            model_name='actionrequest',
            index=models.Index(fields=['state', 'created_at', 'id'], name='request_state_created'),
        ),
        migrations.AddIndex(
            model_name='actionrequest',
            index=models.Index(fields=['priority', 'created_at', 'id'], name='request_priority_created'),
        ),
        migrations.AddIndex(
            model_name='actionrequest',
            index=models.Index(fields=['state', 'priority', 'created_at', 'id'], name='request_state_priority'),
        ),
        migrations.AddIndex(
            model_name='actionrequest',
            index=models.Index(fields=['requester', 'created_at', 'id'], name='request_agent_created'),
        ),
        migrations.AddIndex(
            model_name='actionrequest',
            index=models.Index(fields=['requester', 'state', 'created_at', 'id'], name='request_agent_state'),
        ),
        migrations.AddIndex(
            model_name='actionrequest',
            index=models.Index(fields=['requester', 'priority', 'created_at', 'id'], name='request_agent_priority'),
        ),
        migrations.AddIndex(
            model_name='actionrequest',
            index=models.Index(condition=models.Q(models.Q(('state__in', ('pending', 'in_review', 'info_requested', 'changes_requested')), _negated=True), models.Q(('tallied_as', models.F('state')), _negated=True)), fields=['id'], name='request_untallied'),
        ),
    ]
