# SPDX-License-Identifier: Apache-2.0
"""Standing rules in the admin: which ones answer now, how often they have, and who let them."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.models import User
from accounts.pages import actor_of
from approvals import standing
from approvals.models import RequestType, RuleState, Severity, StandingRule
from approvals.policies import MANAGE
from approvals.standing import Proposal
from audit.shown import made_visible
from config.admin import EvidenceAdmin, admin_page, confirm_page, form_page, lacking
from config.errors import Forbidden

STATE_COLOURS = {RuleState.PROPOSED: "warning", RuleState.ACTIVE: "success"}
INTRO = (
    "From when a second person activates it, requests like this are approved at once, each recorded in full. It ends "
    "after 90 days at the latest, and after as many uses as you allow. Requests with a form are never answered by it."
)


class ProposalForm(forms.Form):
    title = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget, help_text="What people read.")
    reason = forms.CharField(
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Why no person needs to decide these.",
    )
    role = forms.CharField(
        max_length=110, widget=UnfoldAdminTextInputWidget, help_text="Whose requests it answers, such as human:finance."
    )
    request_type = forms.ChoiceField(
        required=False, widget=UnfoldAdminSelectWidget, choices=[("", "any"), *RequestType.choices]
    )
    agent = forms.CharField(
        required=False,
        max_length=150,
        widget=UnfoldAdminTextInputWidget,
        help_text="Only what this requester asks, by user name.",
    )
    playbook = forms.CharField(
        required=False, max_length=100, widget=UnfoldAdminTextInputWidget, help_text="Only steps of it, by its id."
    )
    step = forms.CharField(
        required=False, max_length=100, widget=UnfoldAdminTextInputWidget, help_text="Only this step of it."
    )
    max_severity = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget, choices=[(level, level.label) for level in (Severity.LOW, Severity.MEDIUM)]
    )
    when = forms.CharField(
        required=False,
        max_length=500,
        label="Condition",
        widget=UnfoldAdminTextInputWidget,
        help_text="In CEL, over asked, action, title, severity and agent: asked.context.amount <= 40",
    )
    max_uses = forms.IntegerField(
        min_value=1,
        max_value=standing.MOST_USES,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="How often it may be used.",
    )
    valid_until = forms.DateField(
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}), help_text="Its last day (UTC), within 90 days."
    )

    def clean_agent(self) -> User | None:
        name = self.cleaned_data["agent"]
        if not name:
            return None
        found = User.objects.filter(username=name).first()
        if found is None:
            raise forms.ValidationError("Nobody has this user name.")
        return found

    def proposal(self) -> Proposal:
        given = dict(self.cleaned_data)
        given["valid_until"] = datetime.combine(given["valid_until"], time.max, tzinfo=UTC)
        return Proposal(**given)


def rule_url(rule: StandingRule) -> str:
    return reverse("admin:approvals_standingrule_change", args=[rule.pk])


@admin.register(StandingRule)
class StandingRuleAdmin(EvidenceAdmin):
    list_display = ("shown_title", "shown_state", "role", "used", "valid_until", "proposed_by", "activated_by")
    list_filter = ("state",)
    list_select_related = ("proposed_by", "activated_by")
    search_fields = ("title", "role")
    search_help_text = "Title or role"
    sortable_by = ()

    class Media:
        css = {"all": ("hms_act/pages.css", "audit/evidence.css")}

    def get_queryset(self, request: HttpRequest) -> QuerySet[StandingRule]:
        rules: QuerySet[StandingRule] = super().get_queryset(request)
        return rules.select_related("proposed_by", "activated_by", "agent")

    def get_urls(self) -> list[Any]:
        return [*self.pages_of_row(activate=self.activate, revoke=self.revoke), *super().get_urls()]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(MANAGE)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        self._refuse_others(request)
        made: dict[str, ProposalForm] = {}

        def make(sent: Any) -> ProposalForm:
            made["form"] = ProposalForm(sent)
            return made["form"]

        def propose(given: dict[str, Any]) -> HttpResponse:
            rule = standing.propose_rule(actor=actor_of(request), proposal=made["form"].proposal())
            return HttpResponseRedirect(rule_url(rule))

        return form_page(
            request,
            self,
            make,
            title="Propose a standing rule",
            button="Propose it",
            act=propose,
            back=reverse("admin:approvals_standingrule_changelist"),
            intro=INTRO,
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        rule: StandingRule = self.seen(request, object_id)
        return admin_page(
            request,
            self,
            "approvals/standing_rule.html",
            title=made_visible(rule.title),
            original=rule,
            rule=rule,
            requests=rule.requests.order_by("-created_at")[:50],
            why_not=self._why_not(request, rule),
        )

    def activate(self, request: HttpRequest, pk: int) -> HttpResponse:
        rule: StandingRule = self.seen(request, pk)

        def act(reason: str) -> str:
            standing.activate_rule(actor=actor_of(request), rule_id=rule.pk)
            return f"{made_visible(rule.title)} is active."

        return confirm_page(
            request,
            self,
            title=f"Activate: {made_visible(rule.title)}",
            button="Activate the rule",
            act=act,
            back=rule_url(rule),
            intro=INTRO,
            reason_required=False,
        )

    def revoke(self, request: HttpRequest, pk: int) -> HttpResponse:
        rule: StandingRule = self.seen(request, pk)

        def act(reason: str) -> str:
            standing.revoke_rule(actor=actor_of(request), rule_id=rule.pk, reason=reason)
            return f"{made_visible(rule.title)} is revoked."

        return confirm_page(
            request,
            self,
            title=f"Revoke: {made_visible(rule.title)}",
            button="Revoke the rule",
            act=act,
            back=rule_url(rule),
            intro="From now on people decide these requests again.",
            danger=True,
        )

    def _refuse_others(self, request: HttpRequest) -> None:
        if why := lacking(request, MANAGE):
            raise Forbidden(why)

    def _why_not(self, request: HttpRequest, rule: StandingRule) -> str:
        if why := lacking(request, MANAGE):
            return why
        if rule.state == RuleState.PROPOSED and rule.proposed_by_id == request.user.pk:
            return "You proposed this rule, so somebody else must activate it."
        return ""

    @admin.display(description="title")
    def shown_title(self, rule: StandingRule) -> str:
        return made_visible(rule.title)

    @display(description="state", label=STATE_COLOURS)
    def shown_state(self, rule: StandingRule) -> str:
        return rule.state

    @admin.display(description="uses")
    def used(self, rule: StandingRule) -> str:
        return f"{rule.uses} of {rule.max_uses}"
