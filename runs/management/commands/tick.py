# SPDX-License-Identifier: Apache-2.0
"""`manage.py tick`: one pass over all that is due, then exit. Enough from cron each minute, safe beside workers."""

from typing import Any

from django.core.management.base import BaseCommand

from runs.jobs import tick


class Command(BaseCommand):
    help = "Make one pass over all that is due: service tasks, retries, lost leases, mails."

    def handle(self, *args: Any, **options: Any) -> None:
        acted = tick()
        self.stdout.write(f"{acted} due {'row' if acted == 1 else 'rows'} acted on.")
