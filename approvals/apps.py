# SPDX-License-Identifier: Apache-2.0
from django.apps import AppConfig
from django.db.models import Q
from django.db.models.signals import post_migrate


class ApprovalsConfig(AppConfig):
    name = "approvals"

    def ready(self) -> None:
        from approvals import (
            approvers,
            asking,
            claiming,
            events,
            notify,
            policy_document,
            seeds,
            services,
            standing,
            tallying,
            timers,
            triggers,
        )
        from approvals.models import ActionRequest, StandingRule
        from audit import feed, visibility
        from audit.triggers import declare
        from playbooks import policies
        from runs import due, performers

        human = performers.Performer(
            opens=asking.open_requests,
            claims=claiming.claim_requests,
            completes=services.complete_human_task,
            renews=claiming.renew_human_task,
            asks=asking.ask_in_mid_task,
            closes=services.close_requests,
        )
        performers.register("human", human)
        policies.register(policies.Reader(flaws=policy_document.flaws, needs=approvers.needs))
        due.register_source("mail", notify.mails())
        due.register_sweep(timers.look_at_requests, ActionRequest)
        due.register_sweep(tallying.tally_closed, ActionRequest)
        due.register_sweep(standing.expire_rules, StandingRule)
        declare(*triggers.TRIGGERS)
        visibility.allow(lambda user: Q(request_id__in=ActionRequest.objects.visible_to(user).values("pk")))
        post_migrate.connect(seeds.after_migrate, sender=self, dispatch_uid="approvals.seeds")
        feed.describe("request", events.of_requests)
