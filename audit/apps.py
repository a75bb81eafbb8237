# SPDX-License-Identifier: Apache-2.0
from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Action log"

    def ready(self) -> None:
        from audit import guards, log_triggers, triggers

        triggers.declare(*log_triggers.TRIGGERS, *guards.invariants(self.label))
        post_migrate.connect(begin_log, sender=self, dispatch_uid="audit.begin_log")


def begin_log(using: str, **kwargs: Any) -> None:
    """After every migrate: the log has its origin, and the database every declared trigger."""
    from audit import services, triggers

    if "audit_log" in connections[using].introspection.table_names():
        services.begin(using)
    triggers.install(using)
