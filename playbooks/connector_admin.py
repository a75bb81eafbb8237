# SPDX-License-Identifier: Apache-2.0
"""Connectors in the admin: what they call and how, and the acts on them as forms. The services decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.pages import actor_of
from audit.shown import made_visible
from config.admin import form_page
from playbooks import connector_services as services
from playbooks.connector_services import Terms
from playbooks.models import Connector, ConnectorMethod
from playbooks.switch_admin import SwitchAdmin, text_field

LIST_PAGE = "admin:playbooks_connector_changelist"
EDITED = (
    "title", "method", "url", "query_url", "headers", "connect_seconds", "read_seconds", "total_seconds",
    "verdict_statuses", "secret_ref", "secret_header", "signing_ref",
)  # fmt: skip


# The form -------------------------------------------------------------------------------------------------


class HeadersField(forms.CharField):
    """One `Name: value` a line."""

    def clean(self, value: Any) -> Any:
        headers: dict[str, str] = {}
        for line in super().clean(value).splitlines():
            name, colon, content = line.partition(":")
            if not line.strip():
                continue
            if not colon or name.strip() in headers:
                raise forms.ValidationError(f"{line.strip()[:50]!r}: write each header once, as Name: value.")
            headers[name.strip()] = content.strip()
        return headers


class StatusesField(forms.CharField):
    """Numbers with commas between them."""

    def clean(self, value: Any) -> Any:
        given = [each.strip() for each in super().clean(value).split(",") if each.strip()]
        if not all(each.isascii() and each.isdecimal() and len(each) == 3 for each in given):
            raise forms.ValidationError("Write statuses with commas between them, as 402, 422.")
        return tuple(int(each) for each in given)


def _seconds(label: str, initial: int, help_text: str = "") -> forms.IntegerField:
    widget = UnfoldAdminIntegerFieldWidget()
    return forms.IntegerField(
        label=label, min_value=1, max_value=3600, initial=initial, help_text=help_text, widget=widget
    )


class TermsForm(forms.Form):
    title = text_field("Title", max_length=200, help_text="What people read.")
    method = forms.ChoiceField(
        choices=[(each, each) for each in ConnectorMethod.values], widget=UnfoldAdminSelectWidget()
    )
    url = text_field(
        "Address",
        required=True,
        max_length=500,
        help_text="https://…, at a host that HMS_ACT_CONNECTOR_HOSTS lists. Never a password or a key in it.",
    )
    query_url = text_field(
        "Address to ask at",
        max_length=500,
        help_text="For steps with `effect: query_first`: what came of an earlier request, by GET, with {key} where "
        "the effect key stands. 404 means that nothing did.",
    )
    headers = HeadersField(
        required=False,
        max_length=12_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Further headers, one a line as Name: value. They are kept in the open: no secrets.",
    )
    connect_seconds = _seconds("Seconds to connect", 5)
    read_seconds = _seconds("Seconds of silence", 20, "How long the service may say nothing.")
    total_seconds = _seconds("Seconds in all", 30)
    verdict_statuses = StatusesField(
        label="Statuses that mean no",
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget(),
        help_text="As 402, 422: the step then ends with FAIL, which is a decision and not a fault.",
    )
    secret_ref = text_field("Secret", help_text="Where it is, as env:NAME or file:/path of HMS_ACT_CONNECTOR_SECRETS.")
    secret_header = forms.CharField(
        label="Sent in the header",
        max_length=100,
        initial="Authorization",
        widget=UnfoldAdminTextInputWidget(),
        help_text="In Authorization it is sent as Bearer …, in any other header as it stands.",
    )
    signing_ref = text_field("Signing secret", help_text="Where it is; requests are then signed by Standard Webhooks.")


class NewConnectorForm(TermsForm):
    name = text_field(
        "Name",
        required=True,
        max_length=200,
        help_text="What playbooks call, as exporter.publish. It cannot be changed later.",
    )
    field_order = ("name", *EDITED)


def _as_typed(connector: Connector) -> dict[str, Any]:
    held = {name: getattr(connector, name) for name in EDITED}
    return {
        **held,
        "headers": _lines(connector.headers),
        "verdict_statuses": ", ".join(map(str, connector.verdict_statuses)),
    }


def _lines(headers: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


# The pages ------------------------------------------------------------------------------------------------


@admin.register(Connector)
class ConnectorAdmin(SwitchAdmin):
    permission = services.MANAGE
    disabled_means = (
        "Nothing more is sent. Steps that call it report a fault, and are tried again as their playbooks say."
    )
    enabled_means = "It is called again."
    list_display = ("shown_name", "shown_title", "method", "shown_url", "shown_state", "changed_at")
    list_filter = ("is_enabled",)
    search_fields = ("name", "title", "url")
    search_help_text = "Name, title or address"
    sortable_by = ("shown_name",)
    actions_detail = ("change_terms", "disable", "enable")
    fieldsets = (
        ("What playbooks call", {"fields": ("shown_name", "shown_title", "shown_state")}),
        ("The request", {"fields": ("method", "shown_url", "shown_headers", "shown_verdicts")}),
        ("Its time, in seconds", {"fields": ("connect_seconds", "read_seconds", "total_seconds")}),
        ("Secrets, by where they are", {"fields": ("secret_ref", "secret_header", "signing_ref")}),
        ("When", {"fields": ("created_at", "changed_at")}),
    )

    @admin.display(description="name", ordering="name")
    def shown_name(self, connector: Connector) -> str:
        return connector.name

    @admin.display(description="title")
    def shown_title(self, connector: Connector) -> str:
        return made_visible(connector.title)

    @admin.display(description="address")
    def shown_url(self, connector: Connector) -> str:
        return connector.url

    @admin.display(description="further headers")
    def shown_headers(self, connector: Connector) -> str:
        return made_visible(_lines(connector.headers)) or "none"

    @admin.display(description="statuses that mean no")
    def shown_verdicts(self, connector: Connector) -> str:
        return ", ".join(map(str, connector.verdict_statuses)) or "none"

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied

        def make(given: dict[str, Any]) -> str:
            name = given.pop("name")
            services.create_connector(actor=actor_of(request), name=name, terms=Terms(**given))
            return f"The connector {name} is made. Playbooks can call it."

        return form_page(
            request,
            self,
            NewConnectorForm,
            title="New connector",
            button="Make the connector",
            act=make,
            back=reverse(LIST_PAGE),
        )

    @action(description="Change", url_path="terms", permissions=["manage"])
    def change_terms(self, request: HttpRequest, object_id: str) -> HttpResponse:
        connector = self.find(request, object_id)

        def change(given: dict[str, Any]) -> str:
            services.change_connector(actor=actor_of(request), connector_id=connector.pk, terms=Terms(**given))
            return f"{connector.name} is called like this from now on."

        return form_page(
            request,
            self,
            lambda sent: TermsForm(sent, initial=_as_typed(connector)),
            title=f"Change {connector.name}",
            button="Change the connector",
            act=change,
            back=self.page_of(connector.pk),
            intro="Every call from now on goes like this, those of runs under way too.",
        )

    def switch(self, request: HttpRequest, row: Connector, reason: str, *, to_enabled: bool) -> None:
        act = services.enable_connector if to_enabled else services.disable_connector
        act(actor=actor_of(request), connector_id=row.pk, reason=reason)
