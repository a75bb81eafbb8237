# SPDX-License-Identifier: Apache-2.0
"""Templates of requests and limits of agents in the admin: what they say, and the acts on them as forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from accounts.models import Kind, User
from accounts.pages import actor_of
from approvals import template_services as services
from approvals.models import AgentLimit, RequestTemplate, RequestType, Severity
from approvals.template_services import Terms
from audit.shown import made_visible
from config.admin import HistoryAdmin, form_page
from runs.models import Priority

IN_USE, OUT_OF_USE = "in use", "out of use"
PLACES = "{amount} stands for that field of the context."


# The form -------------------------------------------------------------------------------------------------


class LinesField(forms.CharField):
    """One `name: text` a line."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 4})

    def clean(self, value: Any) -> Any:
        found: dict[str, str] = {}
        for line in filter(str.strip, super().clean(value).splitlines()):
            name, colon, text = line.partition(":")
            if not colon or not text.strip() or name.strip() in found:
                raise forms.ValidationError(f"{line.strip()[:50]!r}: write each once, as name: text.")
            found[name.strip()] = text.strip()
        return found


class NamesField(forms.CharField):
    """One name a line."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 3})

    def clean(self, value: Any) -> Any:
        return list(dict.fromkeys(line.strip() for line in super().clean(value).splitlines() if line.strip()))


def _text(label: str, *, required: bool = False, max_length: int = 200, help_text: str = "") -> forms.CharField:
    widget = UnfoldAdminTextInputWidget()
    return forms.CharField(label=label, required=required, max_length=max_length, help_text=help_text, widget=widget)


def _choice(label: str, choices: Any, help_text: str = "") -> forms.ChoiceField:
    return forms.ChoiceField(label=label, choices=choices, help_text=help_text, widget=UnfoldAdminSelectWidget())


class TermsForm(forms.Form):
    title = _text("Title", required=True, help_text="What people read.")
    request_type = _choice("Type", RequestType.choices)
    title_pattern = _text("Title of a request", help_text=PLACES)
    description_pattern = forms.CharField(
        label="Description of a request",
        required=False,
        max_length=20_000,
        help_text=PLACES,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
    )
    required_fields = LinesField(label="Fields to fill in", required=False, help_text="One a line, as name: question.")
    role = _text("Role that answers", max_length=110, help_text="As human:legal; empty for the reviewers.")
    priority = forms.TypedChoiceField(
        label="Priority", coerce=int, choices=Priority.choices, widget=UnfoldAdminSelectWidget()
    )
    severity = _choice("Severity", Severity.choices, "The harm if the answer is wrong.")
    policy = _text("Policy", max_length=60, help_text="Its id; empty for one member of the role.")
    reasons = LinesField(label="Reasons to reject", required=False, help_text="One a line, as code: text.")
    shared_fields = NamesField(
        label="Fields of the context that messages may show", required=False, help_text="One a line. Nothing else is."
    )
    is_reversible = forms.BooleanField(
        label="What follows can be undone", required=False, widget=UnfoldBooleanSwitchWidget()
    )
    is_active = forms.BooleanField(label="In use", required=False, initial=True, widget=UnfoldBooleanSwitchWidget())


class NewTemplateForm(TermsForm):
    name = _text("Name", required=True, max_length=60, help_text="What agents send. It cannot be changed later.")
    field_order = ("name",)


def _lines(texts: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {text}" for name, text in texts.items())


def _as_typed(template: RequestTemplate) -> dict[str, Any]:
    held = {name: getattr(template, name) for name in TermsForm.base_fields}
    return {
        **held,
        "required_fields": _lines(template.required_fields),
        "reasons": _lines(template.reasons),
        "shared_fields": "\n".join(template.shared_fields),
    }


# The pages ------------------------------------------------------------------------------------------------


@admin.register(RequestTemplate)
class RequestTemplateAdmin(HistoryAdmin):
    list_display = ("name", "shown_title", "request_type", "shown_role", "priority", "severity", "shown_state")
    list_filter = ("is_active", "request_type")
    search_fields = ("name", "title")
    search_help_text = "Name or title"
    sortable_by = ("name",)
    actions_detail = ("change_terms",)
    fieldsets = (
        ("What agents name", {"fields": ("name", "shown_title", "request_type", "shown_state", "revision")}),
        ("What it fills in", {"fields": ("shown_title_pattern", "shown_description", "shown_fields")}),
        ("Who answers", {"fields": ("shown_role", "priority", "severity", "policy", "shown_reasons")}),
        ("What follows", {"fields": ("is_reversible", "shown_shared")}),
        ("When", {"fields": ("created_at", "changed_at")}),
    )

    @admin.display(description="title")
    def shown_title(self, template: RequestTemplate) -> str:
        return made_visible(template.title)

    @admin.display(description="title of a request")
    def shown_title_pattern(self, template: RequestTemplate) -> str:
        return made_visible(template.title_pattern) or "as whoever asks says"

    @admin.display(description="description of a request")
    def shown_description(self, template: RequestTemplate) -> str:
        return made_visible(template.description_pattern) or "as whoever asks says"

    @admin.display(description="fields to fill in")
    def shown_fields(self, template: RequestTemplate) -> str:
        return made_visible(_lines(template.required_fields)) or "none"

    @admin.display(description="role")
    def shown_role(self, template: RequestTemplate) -> str:
        return template.role or "the reviewers"

    @admin.display(description="reasons to reject")
    def shown_reasons(self, template: RequestTemplate) -> str:
        return made_visible(_lines(template.reasons)) or "none"

    @admin.display(description="fields of the context in messages")
    def shown_shared(self, template: RequestTemplate) -> str:
        return made_visible(", ".join(template.shared_fields)) or "none"

    @display(description="state", label={IN_USE: "success", OUT_OF_USE: "warning"})
    def shown_state(self, template: RequestTemplate) -> str:
        return IN_USE if template.is_active else OUT_OF_USE

    def has_manage_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perm(services.MANAGE)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(services.MANAGE)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied

        def make(given: dict[str, Any]) -> str:
            name = given.pop("name")
            services.create_template(actor=actor_of(request), name=name, terms=Terms(**given))
            return f"The template {name} is made. Agents can name it."

        back = reverse("admin:approvals_requesttemplate_changelist")
        return form_page(
            request, self, NewTemplateForm, title="New template", button="Make the template", act=make, back=back
        )

    @action(description="Change", url_path="terms", permissions=["manage"])
    def change_terms(self, request: HttpRequest, object_id: str) -> HttpResponse:
        template: RequestTemplate = self.find(request, object_id)

        def change(given: dict[str, Any]) -> str:
            services.change_template(actor=actor_of(request), name=template.name, terms=Terms(**given))
            return f"Requests by {template.name} say it like this from now on."

        return form_page(
            request,
            self,
            lambda sent: TermsForm(sent, initial=_as_typed(template)),
            title=f"Change {template.name}",
            button="Change the template",
            act=change,
            back=reverse("admin:approvals_requesttemplate_change", args=[template.pk]),
            intro="Requests that are there keep what they were made with.",
        )


class LimitForm(forms.Form):
    open_requests = forms.IntegerField(
        label="Open requests at once", required=False, min_value=0, widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Empty: as for everybody. 0: no limit.",
    )  # fmt: skip
    per_hour = forms.IntegerField(
        label="Requests in an hour", required=False, min_value=0, widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Empty: as for everybody. 0: no limit.",
    )  # fmt: skip
    reason = _text("Reason", required=True, max_length=300, help_text="Kept in the action log.")


class NewLimitForm(LimitForm):
    user = forms.ModelChoiceField(
        label="Agent or program", queryset=User.objects.none(), widget=UnfoldAdminSelectWidget()
    )
    field_order = ("user",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        user = self.fields["user"]
        assert isinstance(user, forms.ModelChoiceField)
        user.queryset = User.objects.filter(is_active=True, ask_limit=None).exclude(kind=Kind.HUMAN)


@admin.register(AgentLimit)
class AgentLimitAdmin(HistoryAdmin):
    list_display = ("shown_user", "open_requests", "per_hour", "changed_at")
    list_select_related = ("user",)
    search_fields = ("user__username",)
    search_help_text = "Name of the agent"
    sortable_by = ()
    actions_detail = ("change_limit",)
    fieldsets = (("", {"fields": ("shown_user", "open_requests", "per_hour", "shown_reason", "changed_at")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AgentLimit]:
        limits: QuerySet[AgentLimit] = super().get_queryset(request)
        return limits.select_related("user")

    @admin.display(description="agent")
    def shown_user(self, limit: AgentLimit) -> str:
        return made_visible(limit.user.get_username())

    @admin.display(description="reason")
    def shown_reason(self, limit: AgentLimit) -> str:
        return made_visible(limit.reason)

    def has_manage_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perm(services.MANAGE_LIMITS)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(services.MANAGE_LIMITS)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied

        def make(given: dict[str, Any]) -> str:
            user = given.pop("user")
            services.set_limit(actor=actor_of(request), user_id=user.pk, **given)
            return "The limits hold from now on."

        back = reverse("admin:approvals_agentlimit_changelist")
        return form_page(request, self, NewLimitForm, title="New limits", button="Set the limits", act=make, back=back)

    @action(description="Change", url_path="limit", permissions=["manage"])
    def change_limit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        limit: AgentLimit = self.find(request, object_id)
        held = {name: getattr(limit, name) for name in ("open_requests", "per_hour", "reason")}

        def change(given: dict[str, Any]) -> str:
            services.set_limit(actor=actor_of(request), user_id=limit.user_id, **given)
            return "The limits hold from now on."

        return form_page(
            request,
            self,
            lambda sent: LimitForm(sent, initial=held),
            title=f"Limits of {made_visible(limit.user.get_username())}",
            button="Set the limits",
            act=change,
            back=reverse("admin:approvals_agentlimit_change", args=[limit.pk]),
        )
