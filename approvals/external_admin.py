# SPDX-License-Identifier: Apache-2.0
"""Approval systems in the admin: where each is told, who is who there, and the acts on them as forms."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts.pages import actor_of
from approvals import external_services as services
from approvals.external_services import Terms
from approvals.inlines import ReadOnlyInline
from approvals.models import ExternalSystem, ExternalUser
from approvals.models.outside import LONGEST_ID
from audit.shown import made_visible
from config.admin import confirm_page, form_page
from playbooks.switch_admin import SwitchAdmin, text_field

LIST_PAGE = "admin:approvals_externalsystem_changelist"


class RolesField(forms.CharField):
    """One role a line."""

    def clean(self, value: Any) -> Any:
        return [line.strip() for line in super().clean(value).splitlines() if line.strip()]


class TermsForm(forms.Form):
    title = text_field("Title", max_length=200, help_text="What people read.")
    url = text_field(
        "Address",
        max_length=500,
        help_text="Where it is told of requests: https://…, at a host that HMS_ACT_CONNECTOR_HOSTS lists. Left empty, "
        "it is told nothing, and may answer all the same.",
    )
    roles = RolesField(
        required=False,
        max_length=6000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Whose requests it is told of, one role a line, as human:police_liaison. Left empty: of all.",
    )
    secret_ref = text_field(
        "Secret",
        required=True,
        help_text="Where it is, as env:NAME or file:/path of HMS_ACT_CONNECTOR_SECRETS: whsec_ and base64. Both ways "
        "are signed with it.",
    )


class NewSystemForm(TermsForm):
    name = forms.SlugField(
        max_length=60,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Stands in the address that it calls, /hitl/external/name. It cannot be changed later.",
    )
    field_order = ("name", "title", "url", "roles", "secret_ref")


class PersonForm(forms.Form):
    outside_id = text_field(
        "Id there",
        required=True,
        max_length=LONGEST_ID,
        help_text="The stable id by which the system names the person; never a name that somebody can change.",
    )
    username = text_field("User name here", required=True, max_length=150)


class PersonInline(ReadOnlyInline):
    model = ExternalUser
    fields = readonly_fields = ("there", "here", "linked_at", "by", "ended_at", "end")
    verbose_name_plural = "people"
    ordering = ("ended_at", "id")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("user", "linked_by")

    @admin.display(description="id there")
    def there(self, link: ExternalUser) -> str:
        return made_visible(link.outside_id)

    @admin.display(description="user here")
    def here(self, link: ExternalUser) -> str:
        return made_visible(link.user.get_username())

    @admin.display(description="linked by")
    def by(self, link: ExternalUser) -> str:
        return made_visible(link.linked_by.get_username())

    @admin.display(description="")
    def end(self, link: ExternalUser) -> SafeString | str:
        if link.ended_at is not None:
            return ""
        url = reverse("admin:approvals_externalsystem_end_link", args=[link.pk])
        return format_html('<a class="underline" href="{}">End<span class="sr-only"> this link</span></a>', url)


@admin.register(ExternalSystem)
class ExternalSystemAdmin(SwitchAdmin):
    permission = services.MANAGE
    disabled_means = "It is told nothing more, and nothing that it sends decides anything."
    enabled_means = "It is told of new requests again, and its people's decisions count."
    list_display = ("name", "shown_title", "shown_url", "shown_roles", "shown_state", "changed_at")
    list_filter = ("is_enabled",)
    search_fields = ("name", "title")
    actions_detail = ("change_terms", "link", "disable", "enable")
    inlines = (PersonInline,)
    fieldsets = (
        ("The system", {"fields": ("name", "shown_title", "shown_state")}),
        ("What it is told", {"fields": ("shown_url", "shown_roles", "secret_ref")}),
        ("What it calls", {"fields": ("calls",)}),
        ("When", {"fields": ("created_at", "changed_at")}),
    )

    @admin.display(description="title")
    def shown_title(self, system: ExternalSystem) -> str:
        return made_visible(system.title)

    @admin.display(description="address")
    def shown_url(self, system: ExternalSystem) -> str:
        return system.url or "none: it is told nothing"

    @admin.display(description="roles")
    def shown_roles(self, system: ExternalSystem) -> str:
        return ", ".join(system.roles) or "all"

    @admin.display(description="with its decisions")
    def calls(self, system: ExternalSystem) -> str:
        return f"POST /hitl/external/{system.name}"

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        end = path("people/<int:pk>/end/", wrap(self.end_link), name="approvals_externalsystem_end_link")
        return [end, *super().get_urls()]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied

        def make(given: dict[str, Any]) -> str:
            name = given.pop("name")
            services.create_system(actor=actor_of(request), name=name, terms=Terms(**given))
            return f"{name} is connected. Say who is who there."

        return form_page(
            request,
            self,
            lambda sent: NewSystemForm(sent),
            title="Connect an approval system",
            button="Connect it",
            act=make,
            back=reverse(LIST_PAGE),
        )

    @action(description="Change", url_path="terms", permissions=["manage"])
    def change_terms(self, request: HttpRequest, object_id: str) -> HttpResponse:
        system = self.find(request, object_id)
        typed = {"title": system.title, "url": system.url, "roles": "\n".join(system.roles)}

        def change(given: dict[str, Any]) -> str:
            services.change_system(actor=actor_of(request), system_id=system.pk, terms=Terms(**given))
            return f"{system.name} is told like this from now on."

        return form_page(
            request,
            self,
            lambda sent: TermsForm(sent, initial={**typed, "secret_ref": system.secret_ref}),
            title=f"Change {system.name}",
            button="Change the system",
            act=change,
            back=self.page_of(system.pk),
        )

    @action(description="Link a person", url_path="link", permissions=["manage"])
    def link(self, request: HttpRequest, object_id: str) -> HttpResponse:
        system = self.find(request, object_id)

        def link(given: dict[str, Any]) -> str:
            services.link_person(actor=actor_of(request), system_id=system.pk, **given)
            return f"{made_visible(given['username'])} is linked."

        return form_page(
            request,
            self,
            lambda sent: PersonForm(sent),
            title=f"Who is who in {system.name}",
            button="Link the person",
            act=link,
            back=self.page_of(system.pk),
            intro="What this person decides there is their decision here, under all their rights and all the rules. "
            "Make sure that the account there is theirs.",
        )

    def switch(self, request: HttpRequest, row: ExternalSystem, reason: str, *, to_enabled: bool) -> None:
        act = services.enable_system if to_enabled else services.disable_system
        act(actor=actor_of(request), system_id=row.pk, reason=reason)

    def end_link(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_manage_permission(request):
            raise PermissionDenied
        link = ExternalUser.objects.filter(pk=pk).select_related("system", "user").first()
        if link is None:
            raise Http404

        def end(reason: str) -> str:
            services.unlink_person(actor=actor_of(request), link_id=link.pk, reason=reason)
            return "The link has ended."

        who = f"{made_visible(link.outside_id)} is {made_visible(link.user.get_username())}"
        return confirm_page(
            request,
            self,
            title="End this link?",
            intro=f"In {link.system.name}, {who}. What that person does there decides nothing here any more.",
            button="End the link",
            act=end,
            back=self.page_of(link.system_id),
            danger=True,
        )
