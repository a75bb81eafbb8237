# SPDX-License-Identifier: Apache-2.0
from django.apps import AppConfig
from django.db.models import Q


class ApprovalsConfig(AppConfig):
    name = "approvals"

    def ready(self) -> None:
        from approvals import events, notify, services, timers, triggers
        from approvals.models import ActionRequest
        from audit import feed, visibility
        from audit.triggers import declare
        from runs import due, performers

        human = performers.Performer(
            opens=services.open_requests,
            claims=services.claim_requests,
            completes=services.complete_human_task,
            renews=services.renew_human_task,
            asks=services.ask_in_mid_task,
            closes=services.close_requests,
        )
        performers.register("human", human)
        due.register_source("mail", notify.mails())
        due.register_sweep(timers.look_at_requests, ActionRequest)
        declare(*triggers.TRIGGERS)
        visibility.allow(lambda user: Q(request_id__in=ActionRequest.objects.visible_to(user).values("pk")))
        feed.describe("request", events.of_requests)
