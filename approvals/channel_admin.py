# SPDX-License-Identifier: Apache-2.0
"""Channels of Slack in the admin: where the requests of a role are posted."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.models import User
from approvals import channel_services as services
from approvals import slack
from approvals.models import SlackChannel
from approvals.models.channels import LONGEST_ROLE
from audit.shown import made_visible
from config.admin import HistoryAdmin, confirm_page, form_page

LIST_PAGE = "admin:approvals_slackchannel_changelist"
IN_USE, ENDED = "in use", "ended"


class ChannelForm(forms.Form):
    role = forms.CharField(
        max_length=LONGEST_ROLE,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="Whose new requests are posted, as human:police_liaison.",
    )
    channel = forms.CharField(
        label="Id of the channel",
        max_length=32,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="In Slack: the name of the channel, and at the end of About the id. It looks like C024BE7LR. Invite "
        "the app there.",
    )


@admin.register(SlackChannel)
class SlackChannelAdmin(HistoryAdmin):
    list_display = ("shown_role", "channel", "shown_state", "set_at", "by", "ended_at")
    list_display_links = ("shown_role",)
    list_select_related = ("set_by",)
    search_fields = ("role", "channel")
    ordering = ("ended_at", "role", "id")
    actions_detail = ("end",)
    fieldsets = (
        ("What is posted where", {"fields": ("shown_role", "channel", "shown_state")}),
        ("When", {"fields": ("set_at", "by", "ended_at")}),
    )

    @admin.display(description="role", ordering="role")
    def shown_role(self, row: SlackChannel) -> str:
        return made_visible(row.role)

    @admin.display(description="set by")
    def by(self, row: SlackChannel) -> str:
        return made_visible(row.set_by.get_username())

    @display(description="state", label={IN_USE: "success"})
    def shown_state(self, row: SlackChannel) -> str:
        return IN_USE if row.ended_at is None else ENDED

    # What can be done. Which buttons are shown is a courtesy: the services decide.

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        row = self.get_object(request, str(object_id))
        offered = super().get_actions_detail(request, object_id)
        return offered if row is not None and row.ended_at is None else []

    def has_manage_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perm(services.MANAGE)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(services.MANAGE)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied

        def set_it(given: dict[str, Any]) -> str:
            made = services.set_channel(actor=cast(User, request.user), **given)
            return f"New requests of {made_visible(made.role)} are posted in {made.channel} from now on."

        return form_page(
            request,
            self,
            lambda sent: ChannelForm(sent),
            title="Post the requests of a role in Slack",
            button="Post them there",
            act=set_it,
            back=reverse(LIST_PAGE),
            intro="Everybody in the channel reads what is asked, by whom and how grave it is; arguments are never "
            "posted. A click there counts as the decision of whoever has linked their account, under all the rules."
            + ("" if slack.is_on() else " Slack is not set up here yet, so nothing is posted for now."),
        )

    @action(description="End", url_path="end", permissions=["manage"])
    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.find(request, object_id)

        def end_it(reason: str) -> str:
            services.end_channel(actor=cast(User, request.user), channel_id=row.pk, reason=reason)
            return "Nothing new is posted there."

        return confirm_page(
            request,
            self,
            title=f"Post nothing more in {row.channel}?",
            intro=f"New requests of {made_visible(row.role)} are not posted there any more. What was posted is still "
            "brought to its end.",
            button="End it",
            act=end_it,
            back=reverse("admin:approvals_slackchannel_change", args=[row.pk]),
            danger=True,
        )
