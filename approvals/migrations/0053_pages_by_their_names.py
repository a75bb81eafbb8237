# SPDX-License-Identifier: Apache-2.0
from django.db import migrations


class Migration(migrations.Migration):
    """Pages are called what their readers call them."""

    dependencies = [
        ("approvals", "0052_slack_channels"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="externalnotice",
            options={
                "default_permissions": ("view",),
                "verbose_name": "message to a system",
                "verbose_name_plural": "messages to systems",
            },
        ),
        migrations.AlterModelOptions(
            name="externalsystem",
            options={
                "default_permissions": ("view",),
                "ordering": ["name"],
                "permissions": [("manage_external", "May connect approval systems, and say who is who there")],
                "verbose_name": "approval system",
                "verbose_name_plural": "approval systems",
            },
        ),
        migrations.AlterModelOptions(
            name="historicalexternalsystem",
            options={
                "get_latest_by": ("history_date", "history_id"),
                "ordering": ("-history_date", "-history_id"),
                "verbose_name": "historical approval system",
                "verbose_name_plural": "historical approval systems",
            },
        ),
        migrations.AlterModelOptions(
            name="historicalpreference",
            options={
                "get_latest_by": ("history_date", "history_id"),
                "ordering": ("-history_date", "-history_id"),
                "verbose_name": "historical how somebody is told",
                "verbose_name_plural": "historical how people are told",
            },
        ),
        migrations.AlterModelOptions(
            name="notification",
            options={
                "default_permissions": ("view",),
                "permissions": [("resend_notification", "May send messages again that were given up")],
                "verbose_name": "message",
                "verbose_name_plural": "messages",
            },
        ),
        migrations.AlterModelOptions(
            name="preference",
            options={
                "default_permissions": ("view",),
                "verbose_name": "how somebody is told",
                "verbose_name_plural": "how people are told",
            },
        ),
    ]
