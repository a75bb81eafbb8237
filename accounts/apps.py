# SPDX-License-Identifier: Apache-2.0
from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "People, agents and services"

    def ready(self) -> None:
        from accounts import log_ins, seeds, triggers
        from audit.guards import invariants
        from audit.triggers import declare

        log_ins.connect()
        declare(*triggers.TRIGGERS, *invariants(self.label))
        post_migrate.connect(seeds.after_migrate, dispatch_uid="accounts.seeds")
