# SPDX-License-Identifier: Apache-2.0
from django.apps import AppConfig
from django.db.models import Q


class RunsConfig(AppConfig):
    name = "runs"

    def ready(self) -> None:
        from accounts.access import on_access_ended
        from audit import feed, visibility
        from audit.guards import invariants
        from audit.triggers import declare
        from runs import children, due, events, jobs, services, timers, triggers
        from runs.models import Run, Task

        due.register_source("task", jobs.service_tasks())
        due.register_source("message", children.messages())
        due.register_source("notice", jobs.notices())
        due.register_sweep(timers.look_at_tasks, Task)
        due.register_sweep(timers.look_at_runs, Run)
        declare(*triggers.TRIGGERS, *invariants(self.label))
        visibility.allow(lambda user: Q(run_id__in=Run.objects.visible_to(user).values("pk")))
        feed.describe("run", events.of_runs)
        feed.describe("task", events.of_runs)
        on_access_ended(services.end_leases)
