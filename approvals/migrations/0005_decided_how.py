# SPDX-License-Identifier: Apache-2.0

import config.invariant
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("approvals", "0004_decisions_of_people")]

    operations = [
        migrations.AddConstraint(
            model_name='actionrequest',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('decided_at__isnull', False), ('state__in', ('fulfilled', 'rejected')), models.Q(('outcome', ''), _negated=True), models.Q(('decided_how', ''), _negated=True)), ('state', 'superseded'), models.Q(models.Q(('state__in', ('fulfilled', 'rejected')), _negated=True), ('decided_at__isnull', True), ('decided_how', ''), ('outcome', '')), _connector='OR'), name='request_decided_iff_outcome'),
        ),
        migrations.AddConstraint(
            model_name='actionrequest',
            constraint=config.invariant.Invariant(condition=models.Q(models.Q(('decided_by__isnull', False), ('decided_how__in', ['person', 'break_glass'])), models.Q(('decided_by__isnull', True), ('decided_how', 'standing_rule'), ('standing_rule__isnull', False)), models.Q(('decided_by__isnull', True), ('decided_how__in', ['', 'timeout'])), _connector='OR'), name='request_decider_fits_how'),
        ),
    ]
