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
            calendar_services,
            claiming,
            clocks,
            delivery,
            events,
            holding,
            letters,
            policy_document,
            receipt_alerts,
            secret_calls,
            secret_services,
            seeds,
            services,
            signing,
            spending,
            standing,
            talk,
            tallying,
            timers,
            triggers,
        )
        from approvals.models import ActionRequest, Draft, Receipt, Secret, StandingRule
        from audit import feed, visibility
        from audit.guards import invariants
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
            resumes=spending.resume,
            lapses=spending.let_lapse,
        )
        performers.register("human", human)
        policies.register(
            policies.Reader(flaws=policy_document.flaws, needs=approvers.needs, silence=approvers.silence)
        )
        policy_document.register_section("notify", letters.flaws_of_notify)
        for name, source in delivery.sources().items():
            due.register_source(name, source)
        due.register_sweep(timers.look_at_requests, ActionRequest)
        due.register_sweep(tallying.tally_closed, ActionRequest)
        due.register_sweep(standing.expire_rules, StandingRule)
        due.register_sweep(secret_services.look_at_secrets, Secret)
        due.register_sweep(talk.look_at_drafts, Draft)
        policy_document.register_section("time", clocks.flaws)
        due.register_source("receipt_alert", receipt_alerts.mails())
        due.register_sweep(holding.look_at_receipts, Receipt)
        performers.check_before_call(spending.check_call)
        performers.open_secrets_by(secret_calls.opened_for_call)
        post_migrate.connect(signing.register_after_migrate, sender=self, dispatch_uid="approvals.signing_key")
        declare(*triggers.TRIGGERS, *invariants(self.label))
        post_migrate.connect(calendar_services.after_migrate, sender=self, dispatch_uid="approvals.calendars")
        visibility.allow(lambda user: Q(request_id__in=ActionRequest.objects.visible_to(user).values("pk")))
        post_migrate.connect(seeds.after_migrate, sender=self, dispatch_uid="approvals.seeds")
        feed.describe("request", events.of_requests)
