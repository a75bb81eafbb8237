# SPDX-License-Identifier: Apache-2.0
from importlib import import_module

from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import post_migrate


class PlaybooksConfig(AppConfig):
    name = "playbooks"

    def ready(self) -> None:
        from audit.guards import invariants
        from audit.triggers import declare
        from playbooks import catalogue, connectors, seeds, triggers

        declare(*triggers.TRIGGERS, *invariants(self.label))
        catalogue.add_source(connectors.SOURCE)
        post_migrate.connect(seeds.after_migrate, sender=self, dispatch_uid="playbooks.seeds")
        for module in settings.ACTION_MODULES:
            import_module(module)  # each registers its actions with the catalogue
