# SPDX-License-Identifier: Apache-2.0
"""Messages in the admin: what was told to whom, what was given up; and, for everybody, how they wish to be told."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.models import User
from accounts.pages import actor_of
from approvals import message_services as services
from approvals import slack
from approvals.models import ChannelPost, ExternalNotice, Notification, Preference, SlackAccount
from approvals.routing import Reach, Rhythm, Wishes
from approvals.told import purpose_shown, state_shown
from audit.shown import made_visible
from config.admin import EvidenceAdmin, HistoryAdmin, confirm_page, form_page
from config.mail import MailState

COLOURS = {"waits": "info", "is tried again": "warning", "delivered": "success", "not delivered": "danger"}
ERROR_CHARACTERS = 80  # in the list; the page of the message has all


class _MessageAdmin(EvidenceAdmin):
    """What is sent: evidence, and one act for what was given up."""

    actions_detail = ("send_again",)
    ordering = ("-told_at", "-id")
    sortable_by = ()

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> Any:
        row = self.get_object(request, str(object_id))
        offered = super().get_actions_detail(request, object_id)
        return offered if row is not None and row.state == MailState.FAILED else []

    def has_resend_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perm(services.RESEND)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    @display(description="state", label=COLOURS)
    def shown_state(self, row: Any) -> str:
        return state_shown(row)

    @admin.display(description="about")
    def shown_purpose(self, row: Any) -> str:
        return purpose_shown(row)

    @admin.display(description="request")
    def shown_request(self, row: Any) -> SafeString:
        url = reverse("admin:approvals_actionrequest_change", args=[quote(row.request_id)])
        return format_html('<a class="underline" href="{}">{}</a>', url, row.request_id)

    @admin.display(description="fault")
    def short_error(self, row: Any) -> str:
        text = made_visible(row.error)
        return text if len(text) <= ERROR_CHARACTERS else f"{text[:ERROR_CHARACTERS]}…"

    @admin.display(description="fault")
    def shown_error(self, row: Any) -> str:
        return made_visible(row.error)

    def again(self, request: HttpRequest, object_id: str, act: Any) -> HttpResponse:
        row = self.find(request, object_id)

        def send(given: dict[str, Any]) -> str:
            act(actor=actor_of(request), notification_id=row.pk)
            return "It is due again."

        return form_page(
            request,
            self,
            forms.Form,
            title="Send this message again?",
            button="Send again",
            act=send,
            back=reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk]),
            intro="It was given up after its attempts. It is tried anew, from the first attempt on.",
        )


@admin.register(Notification)
class NotificationAdmin(_MessageAdmin):
    list_display = (
        "told_at", "shown_recipient", "shown_purpose", "channel", "shown_state", "due_at", "sent_at", "short_error",
    )  # fmt: skip
    list_display_links = ("told_at", "shown_recipient")
    list_filter = ("state", "channel", "purpose")
    fieldsets = (
        ("What is told", {"fields": ("shown_request", "shown_purpose", "shown_recipient", "channel", "told_at")}),
        ("What became of it", {"fields": ("shown_state", "due_at", "sent_at", "attempts", "shown_error")}),
        ("How", {"fields": ("is_routed", "shown_summary", "reference")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notification]:
        return super().get_queryset(request).select_related("recipient", "summary")

    @admin.display(description="to")
    def shown_recipient(self, row: Notification) -> str:
        return made_visible(row.recipient.get_username())

    @admin.display(description="in the summary of")
    def shown_summary(self, row: Notification) -> str:
        return f"{row.summary.slot_at:%Y-%m-%d %H:%M} UTC" if row.summary else ""

    @action(description="Send again", url_path="send-again", permissions=["resend"])
    def send_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.again(request, object_id, services.resend)


@admin.register(ExternalNotice)
class ExternalNoticeAdmin(_MessageAdmin):
    list_display = ("told_at", "system", "shown_purpose", "shown_state", "due_at", "sent_at", "short_error")
    list_display_links = ("told_at", "system")
    list_filter = ("state", "purpose")
    list_select_related = ("system",)
    fieldsets = (
        ("What is told", {"fields": ("shown_request", "shown_purpose", "system", "told_at")}),
        ("What became of it", {"fields": ("shown_state", "due_at", "sent_at", "attempts", "shown_error")}),
    )

    @action(description="Send again", url_path="send-again", permissions=["resend"])
    def send_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.again(request, object_id, services.resend_to_system)


@admin.register(ChannelPost)
class ChannelPostAdmin(_MessageAdmin):
    list_display = ("told_at", "shown_channel", "shown_purpose", "shown_state", "due_at", "sent_at", "short_error")
    list_display_links = ("told_at", "shown_channel")
    list_filter = ("state", "purpose")
    list_select_related = ("channel",)
    fieldsets = (
        ("What is told", {"fields": ("shown_request", "shown_purpose", "shown_channel", "told_at")}),
        ("What became of it", {"fields": ("shown_state", "due_at", "sent_at", "attempts", "shown_error")}),
        ("How", {"fields": ("reference",)}),
    )

    @admin.display(description="channel")
    def shown_channel(self, row: ChannelPost) -> str:
        return str(row.channel)

    @action(description="Send again", url_path="send-again", permissions=["resend"])
    def send_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.again(request, object_id, services.resend_to_channel)


# One's own wishes -----------------------------------------------------------------------------------------


class TimeOfDay(UnfoldAdminTextInputWidget):
    """The browser's own; the skin's needs a script that the page does not have."""

    input_type = "time"


class WishesForm(forms.Form):
    zone = forms.CharField(
        label="Time zone",
        max_length=64,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="As Europe/Berlin or America/New_York. Deadlines in your mails, quiet hours and summaries go by it.",
    )
    reach = forms.ChoiceField(
        label="Channel",
        choices=[
            (Reach.MAIL.value, "Mail"),
            (Reach.SLACK.value, "Slack; mail as well if the severity is high or critical"),
            (Reach.BOTH.value, "Slack, and mail ten minutes later if it is still undecided"),
        ],
        widget=UnfoldAdminSelectWidget(),
        help_text="Slack counts once you have linked your account.",
    )
    rhythm = forms.ChoiceField(
        label="Mails about low and medium severity",
        choices=[
            (Rhythm.AT_ONCE.value, "At once"),
            (Rhythm.HOURLY.value, "Gathered, each hour"),
            (Rhythm.DAILY.value, "Gathered, each day"),
        ],
        widget=UnfoldAdminSelectWidget(),
        help_text="High and critical severity is always mailed at once.",
    )
    summary_at = forms.TimeField(label="Daily summary at", widget=TimeOfDay())
    quiet_from = forms.TimeField(label="Quiet hours from", required=False, widget=TimeOfDay())
    quiet_until = forms.TimeField(
        label="Quiet hours until",
        required=False,
        widget=TimeOfDay(),
        help_text="They may reach over midnight. Critical severity is told all the same.",
    )

    def wishes(self) -> Wishes:
        given = self.cleaned_data
        return Wishes(**{**given, "reach": Reach(given["reach"]), "rhythm": Rhythm(given["rhythm"])})


class MemberForm(forms.Form):
    member = forms.RegexField(
        rf"^{services.MEMBER}\Z",
        label="Your member id in Slack",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="In Slack: your profile, the three dots, Copy member ID. It looks like U024BE7LH.",
        error_messages={"invalid": "A member id looks like U024BE7LH."},
    )


class CodeForm(forms.Form):
    code = forms.CharField(
        label="Code",
        max_length=20,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )


@admin.register(Preference)
class PreferenceAdmin(HistoryAdmin):
    list_display = ("shown_user", "zone", "reach", "rhythm", "quiet_from", "quiet_until", "changed_at")
    list_display_links = ("shown_user",)
    search_fields = ("user__username",)
    ordering = ("user__username",)
    fieldsets = (
        ("Whose", {"fields": ("shown_user", "zone")}),
        ("How", {"fields": ("reach", "rhythm", "summary_at", "quiet_from", "quiet_until", "changed_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Preference]:
        return super().get_queryset(request).select_related("user")

    @admin.display(description="user", ordering="user__username")
    def shown_user(self, row: Preference) -> str:
        return made_visible(row.user.get_username())

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        return [
            path("mine/", wrap(self.mine), name="approvals_preference_mine"),
            path("mine/slack/", wrap(self.own_slack), name="approvals_preference_slack"),
            *super().get_urls(),
        ]

    def mine(self, request: HttpRequest) -> HttpResponse:
        person = actor_of(request)
        form: list[WishesForm] = []

        def make(sent: Any) -> WishesForm:
            form.append(WishesForm(sent, initial=_as_typed(person)))
            return form[-1]

        def save(given: dict[str, Any]) -> str:
            services.set_preferences(actor=person, wishes=form[-1].wishes())
            return "From now on you are told like this."

        return form_page(
            request,
            self,
            make,
            title="How you are told",
            button="Save",
            act=save,
            back=reverse("admin:index"),
            intro=_about_slack(person),
        )

    def own_slack(self, request: HttpRequest) -> HttpResponse:
        person = actor_of(request)
        if not slack.is_on():
            raise PermissionDenied("Slack is not set up here.")
        account = SlackAccount.objects.filter(user=person, ended_at__isnull=True).first()
        if account is not None:
            return self._end_link(request, account)
        waiting = services.open_code(person)
        return self._take_code(request, waiting) if waiting and "again" not in request.GET else self._ask(request)

    def _ask(self, request: HttpRequest) -> HttpResponse:
        def ask(given: dict[str, Any]) -> HttpResponse:
            services.ask_for_slack_code(actor=actor_of(request), member=given["member"])
            return self._go_on(request, "A code is on its way to you in Slack.")

        intro = "A code is sent to you in Slack. Typing it here shows that the account there is yours."
        return self._form(request, MemberForm, "Link your Slack account", "Send the code", ask, intro)

    def _take_code(self, request: HttpRequest, waiting: Any) -> HttpResponse:
        def link(given: dict[str, Any]) -> HttpResponse:
            services.link_slack(actor=actor_of(request), typed=given["code"])
            return self._go_on(request, "Your Slack account is linked.")

        again = format_html('<a class="underline" href="{}">Send another one</a>', "?again=1")
        intro = format_html("Type the code that was sent to {} in Slack. {}.", waiting.member, again)
        return self._form(request, lambda sent: CodeForm(sent), "Link your Slack account", "Link it", link, intro)

    def _end_link(self, request: HttpRequest, account: SlackAccount) -> HttpResponse:
        def end(reason: str) -> HttpResponse:
            services.unlink_slack(actor=actor_of(request))
            return self._go_on(request, "The link has ended.")

        return confirm_page(
            request,
            self,
            title="Your Slack account",
            intro=f"You are {account.member} in Slack. Once the link has ended, nothing that is clicked there counts.",
            button="End the link",
            act=end,
            back=reverse("admin:approvals_preference_mine"),
            reason_required=False,
            danger=True,
        )

    def _form(self, request: HttpRequest, make: Any, title: str, button: str, act: Any, intro: str) -> HttpResponse:
        back = reverse("admin:approvals_preference_mine")
        return form_page(request, self, make, title=title, button=button, act=act, back=back, intro=intro)

    def _go_on(self, request: HttpRequest, said: str) -> HttpResponse:
        messages.success(request, said)
        return HttpResponseRedirect(reverse("admin:approvals_preference_slack"))


def _as_typed(person: User) -> dict[str, Any]:
    found = Preference.objects.filter(user=person).first()
    wishes = found.wishes if found else Wishes()
    return {
        "zone": wishes.zone,
        "reach": wishes.reach.value,
        "rhythm": wishes.rhythm.value,
        "summary_at": wishes.summary_at,
        "quiet_from": wishes.quiet_from,
        "quiet_until": wishes.quiet_until,
    }


def _about_slack(person: User) -> str:
    if not slack.is_on():
        return ""
    member = slack.member_of(person.pk)
    url = reverse("admin:approvals_preference_slack")
    if member:
        return format_html('You are {} in Slack. <a class="underline" href="{}">Change that</a>.', member, url)
    return format_html('<a class="underline" href="{}">Link your Slack account</a> to be told there.', url)
