# SPDX-License-Identifier: Apache-2.0
"""Approval systems in the admin: where each is told, who is who there, and the acts on them as forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts.models import User
from approvals import external_services as services
from approvals.external_services import Terms
from approvals.models import ExternalSystem, ExternalUser
from approvals.models.outside import LONGEST_ID
from audit.shown import made_visible
from config.admin import HistoryAdmin, confirm_page, form_page

LIST_PAGE = "admin:approvals_externalsystem_changelist"


def _text(label: str, *, required: bool = False, max_length: int = 300, help_text: str = "") -> forms.CharField:
    widget = UnfoldAdminTextInputWidget()
    return forms.CharField(label=label, required=required, max_length=max_length, help_text=help_text, widget=widget)


class RolesField(forms.CharField):
    """One role a line."""

    def clean(self, value: Any) -> Any:
        return [line.strip() for line in super().clean(value).splitlines() if line.strip()]


class TermsForm(forms.Form):
    title = _text("Title", max_length=200, help_text="What people read.")
    url = _text(
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
    secret_ref = _text(
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
    outside_id = _text(
        "Id there",
        required=True,
        max_length=LONGEST_ID,
        help_text="The stable id by which the system names the person; never a name that somebody can change.",
    )
    username = _text("User name here", required=True, max_length=150)


def _administrator(request: HttpRequest) -> User:
    """Who is at the page; the admin lets only people in who are logged in."""
    return cast(User, request.user)


class PersonInline(TabularInline):
    model = ExternalUser
    fields = readonly_fields = ("there", "here", "linked_at", "by", "ended_at", "end")
    extra = 0
    can_delete = False
    hide_title = True
    verbose_name_plural = "people"
    ordering = ("ended_at", "id")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("user", "linked_by")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True  # of the system, which has been checked

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

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
class ExternalSystemAdmin(HistoryAdmin):
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

    @display(description="state", label={services.ENABLED: "success", services.DISABLED: "danger"})
    def shown_state(self, system: ExternalSystem) -> str:
        return services.ENABLED if system.is_enabled else services.DISABLED

    # What can be done. Which buttons are shown is a courtesy: the services decide.

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        end = path("people/<int:pk>/end/", wrap(self.end_link), name="approvals_externalsystem_end_link")
        return [end, *super().get_urls()]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        system = self.get_object(request, str(object_id))
        idle = "enable" if system is None or system.is_enabled else "disable"
        offered = super().get_actions_detail(request, object_id)
        return [each for each in offered if each.action_name != f"approvals_externalsystem_{idle}"]

    def has_manage_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perm(services.MANAGE)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(services.MANAGE)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied

        def make(given: dict[str, Any]) -> str:
            name = given.pop("name")
            services.create_system(actor=_administrator(request), name=name, terms=Terms(**given))
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
            services.change_system(actor=_administrator(request), system_id=system.pk, terms=Terms(**given))
            return f"{system.name} is told like this from now on."

        return form_page(
            request,
            self,
            lambda sent: TermsForm(sent, initial={**typed, "secret_ref": system.secret_ref}),
            title=f"Change {system.name}",
            button="Change the system",
            act=change,
            back=self._page_of(system.pk),
        )

    @action(description="Link a person", url_path="link", permissions=["manage"])
    def link(self, request: HttpRequest, object_id: str) -> HttpResponse:
        system = self.find(request, object_id)

        def link(given: dict[str, Any]) -> str:
            services.link_person(actor=_administrator(request), system_id=system.pk, **given)
            return f"{made_visible(given['username'])} is linked."

        return form_page(
            request,
            self,
            lambda sent: PersonForm(sent),
            title=f"Who is who in {system.name}",
            button="Link the person",
            act=link,
            back=self._page_of(system.pk),
            intro="What this person decides there is their decision here, under all their rights and all the rules. "
            "Make sure that the account there is theirs.",
        )

    @action(description="Disable", url_path="disable", permissions=["manage"])
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        intro = "It is told nothing more, and nothing that it sends decides anything."
        return self._switch(request, self.find(request, object_id), services.disable_system, "Disable", intro)

    @action(description="Enable", url_path="enable", permissions=["manage"])
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        intro = "It is told of new requests again, and its people's decisions count."
        return self._switch(request, self.find(request, object_id), services.enable_system, "Enable", intro)

    def end_link(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_manage_permission(request):
            raise PermissionDenied
        link = ExternalUser.objects.filter(pk=pk).select_related("system", "user").first()
        if link is None:
            raise Http404

        def end(reason: str) -> str:
            services.unlink_person(actor=_administrator(request), link_id=link.pk, reason=reason)
            return "The link has ended."

        who = f"{made_visible(link.outside_id)} is {made_visible(link.user.get_username())}"
        return confirm_page(
            request,
            self,
            title="End this link?",
            intro=f"In {link.system.name}, {who}. What that person does there decides nothing here any more.",
            button="End the link",
            act=end,
            back=self._page_of(link.system_id),
            danger=True,
        )

    def _switch(
        self, request: HttpRequest, system: ExternalSystem, service: Callable[..., Any], word: str, intro: str
    ) -> HttpResponse:
        def switch(reason: str) -> str:
            service(actor=_administrator(request), system_id=system.pk, reason=reason)
            return f"{system.name} is {word.lower()}d."

        return confirm_page(
            request,
            self,
            title=f"{word} {system.name}?",
            intro=intro,
            button=word,
            act=switch,
            back=self._page_of(system.pk),
            danger=word == "Disable",
        )

    @staticmethod
    def _page_of(system_id: int) -> str:
        return reverse("admin:approvals_externalsystem_change", args=[system_id])
