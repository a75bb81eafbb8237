# SPDX-License-Identifier: Apache-2.0
"""Calendars and delegations in the admin, and the acts on them as forms. The services decide."""

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
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from accounts.pages import actor_of
from approvals import calendar_services, delegating
from approvals.calendar_services import Terms
from approvals.calendars import WEEKDAYS
from approvals.delegating import Scope
from approvals.models import Calendar, Delegation, RequestType, Severity
from approvals.people_views import moment_widget
from audit.shown import made_visible
from config import clock
from config.admin import EvidenceAdmin, HistoryAdmin, confirm_page, form_page

IN_FORCE, TO_COME, OVER, REVOKED = "in force", "to come", "over", "revoked"


# Calendars ------------------------------------------------------------------------------------------------


class HolidaysField(forms.CharField):
    """A date a line, and what it is."""

    def clean(self, value: Any) -> Any:
        found: dict[str, str] = {}
        for line in super().clean(value).splitlines():
            day, _, name = line.strip().partition(" ")
            if day in found:
                raise forms.ValidationError(f"{day[:20]} stands here twice.")
            if day:
                found[day] = name.strip()
        return found


class HoursField(forms.CharField):
    """Spans with commas between them."""

    def clean(self, value: Any) -> Any:
        return [span.strip() for span in super().clean(value).split(",") if span.strip()]


def _hours(day: str) -> HoursField:
    helped = "As 09:00-17:00, or 09:00-12:00, 13:00-17:00. Empty: no working day." if day == WEEKDAYS[0] else ""
    widget = UnfoldAdminTextInputWidget()
    return HoursField(label=day.title(), required=False, max_length=200, widget=widget, help_text=helped)


class CalendarForm(forms.Form):
    title = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget(), help_text="What people read.")
    zone = forms.CharField(
        label="Time zone", max_length=64, widget=UnfoldAdminTextInputWidget(), help_text="As Europe/Berlin."
    )
    holidays = HolidaysField(
        required=False,
        max_length=100_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 12, "spellcheck": "false"}),
        help_text="One a line, as 2026-12-25 Christmas Day.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields |= {day: _hours(day) for day in WEEKDAYS}
        self.order_fields(["slug", "title", "zone", *WEEKDAYS, "holidays"])


class NewCalendarForm(CalendarForm):
    slug = forms.SlugField(
        label="Id",
        max_length=60,
        widget=UnfoldAdminTextInputWidget(),
        help_text="What a policy names. It cannot be changed later.",
    )


def _terms(given: Mapping[str, Any]) -> Terms:
    hours = {day: given[day] for day in WEEKDAYS if given[day]}
    return Terms(given["title"], given["zone"], hours, given["holidays"])


def _as_typed(calendar: Calendar) -> dict[str, Any]:
    hours = {day: ", ".join(spans) for day, spans in calendar.hours.items()}
    return {"title": calendar.title, "zone": calendar.zone, "holidays": _holidays(calendar), **hours}


def _holidays(calendar: Calendar) -> str:
    return "\n".join(f"{day} {name}".strip() for day, name in sorted(calendar.holidays.items()))


@admin.register(Calendar)
class CalendarAdmin(HistoryAdmin):
    list_display = ("slug", "shown_title", "zone", "shown_week", "next_holiday")
    search_fields = ("slug", "title")
    search_help_text = "Id or title"
    sortable_by = ("slug",)
    actions_detail = ("change_terms",)
    fieldsets = (
        (None, {"fields": ("slug", "shown_title", "zone")}),
        ("Working time", {"fields": ("shown_hours", "shown_holidays")}),
        ("When", {"fields": ("created_at",)}),
    )

    @admin.display(description="title")
    def shown_title(self, calendar: Calendar) -> str:
        return made_visible(calendar.title)

    @admin.display(description="hours a week")
    def shown_week(self, calendar: Calendar) -> str:
        return f"{calendar.working_time.a_week.total_seconds() / 3600:g}"

    @admin.display(description="next holiday")
    def next_holiday(self, calendar: Calendar) -> str | None:
        coming = calendar.holidays_from(clock.now().date())
        return f"{coming[0][0]} {made_visible(coming[0][1])}" if coming else None

    @admin.display(description="hours")
    def shown_hours(self, calendar: Calendar) -> str:
        return "; ".join(f"{day.title()} {', '.join(spans)}" for day, spans in calendar.hours.items())

    @admin.display(description="holidays")
    def shown_holidays(self, calendar: Calendar) -> str:
        return made_visible(_holidays(calendar)) or "none"

    def has_manage_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return request.user.has_perm(calendar_services.MANAGE)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_manage_permission(request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied

        def make(given: dict[str, Any]) -> str:
            calendar_services.create_calendar(actor=actor_of(request), slug=given["slug"], terms=_terms(given))
            return f"The calendar {given['slug']} is made. Policies can name it."

        back = reverse("admin:approvals_calendar_changelist")
        return form_page(
            request, self, NewCalendarForm, title="New calendar", button="Make the calendar", act=make, back=back
        )

    @action(description="Change", url_path="terms", permissions=["manage"])
    def change_terms(self, request: HttpRequest, object_id: str) -> HttpResponse:
        calendar = self.find(request, object_id)

        def change(given: dict[str, Any]) -> str:
            calendar_services.change_calendar(actor=actor_of(request), slug=calendar.slug, terms=_terms(given))
            return f"{calendar.slug} counts like this from now on."

        return form_page(
            request,
            self,
            lambda sent: CalendarForm(sent, initial=_as_typed(calendar)),
            title=f"Change {calendar.slug}",
            button="Change the calendar",
            act=change,
            back=reverse("admin:approvals_calendar_change", args=[calendar.pk]),
            intro="For requests that are made from now on. Those that are open keep their deadlines.",
        )


# Delegations ----------------------------------------------------------------------------------------------


def _moment(label: str) -> forms.SplitDateTimeField:
    return forms.SplitDateTimeField(label=label, widget=moment_widget(), help_text="UTC.")


class DelegationForm(forms.Form):
    giver = forms.CharField(
        label="From", max_length=150, widget=UnfoldAdminTextInputWidget(), help_text="Whose right is lent."
    )
    to = forms.CharField(max_length=150, widget=UnfoldAdminTextInputWidget(), help_text="Who decides in their place.")
    starts_at = _moment("Starts")
    ends_at = _moment("Ends")
    is_away = forms.BooleanField(
        label="Out of office: they are away all that time", required=False, widget=UnfoldBooleanWidget()
    )
    role = forms.CharField(
        label="Only requests to the role",
        required=False,
        max_length=110,
        widget=UnfoldAdminTextInputWidget(),
        help_text="As human:police_liaison. Empty: to all of theirs.",
    )
    request_type = forms.ChoiceField(
        label="Only of the type",
        required=False,
        choices=[("", "All"), *RequestType.choices],
        widget=UnfoldAdminSelectWidget(),
    )
    max_severity = forms.ChoiceField(
        label="Up to the severity",
        choices=Severity.choices,
        initial=Severity.CRITICAL,
        widget=UnfoldAdminSelectWidget(),
    )
    reason = forms.CharField(required=False, max_length=500, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))


@admin.register(Delegation)
class DelegationAdmin(EvidenceAdmin):
    """People see those they have given or received; who may see all of them sees all."""

    list_display = ("id", "from_whom", "to_whom", "shown_scope", "starts_at", "ends_at", "is_away", "shown_state")
    list_filter = ("is_away", "max_severity")
    search_fields = ("giver__username", "delegate__username")
    search_help_text = "User name"
    sortable_by = ("starts_at", "ends_at")
    actions_detail = ("revoke",)
    fieldsets = (
        (None, {"fields": ("from_whom", "to_whom", "shown_state", "is_away", "shown_reason")}),
        ("For what", {"fields": ("role", "request_type", "max_severity", "request")}),
        ("When (UTC)", {"fields": ("starts_at", "ends_at", "made_by", "made_at", "revoked_at", "revoked_by")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delegation]:
        seen = Delegation.objects.visible_to(request.user)
        return seen.select_related("giver", "delegate", "made_by", "revoked_by")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        user: Any = request.user
        is_party = user.is_authenticated and user.is_human and bool(user.roles)
        return is_party or user.has_perm("approvals.view_delegation")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        user: Any = request.user
        return user.is_human and (bool(user.roles) or user.has_perm(delegating.MANAGE))

    def has_revoke_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        given = self.get_object(request, str(object_id)) if object_id else None
        if given is None or given.over_at <= clock.now():
            return False
        return request.user.pk in (given.giver_id, given.delegate_id) or request.user.has_perm(delegating.MANAGE)

    @admin.display(description="from")
    def from_whom(self, given: Delegation) -> str:
        return made_visible(given.giver.get_username())

    @admin.display(description="to")
    def to_whom(self, given: Delegation) -> str:
        return made_visible(given.delegate.get_username())

    @admin.display(description="reason")
    def shown_reason(self, given: Delegation) -> str:
        return made_visible(given.reason)

    @admin.display(description="for what")
    def shown_scope(self, given: Delegation) -> str:
        if given.request_id:
            return f"request {given.request_id}"
        bounds = [given.role, given.get_request_type_display() if given.request_type else ""]
        if given.max_severity != Severity.CRITICAL:
            bounds.append(f"up to {given.max_severity}")
        return ", ".join(filter(None, bounds)) or "everything of theirs"

    @display(description="state", label={IN_FORCE: "success", TO_COME: "info", OVER: "", REVOKED: "danger"})
    def shown_state(self, given: Delegation) -> str:
        now = clock.now()
        if given.revoked_at:
            return REVOKED
        return TO_COME if now < given.starts_at else IN_FORCE if now < given.ends_at else OVER

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        user = actor_of(request)

        def make(given: dict[str, Any]) -> str:
            scope = Scope(**{name: given.pop(name) for name in ("role", "request_type", "max_severity")})
            made = delegating.delegate_for_a_time(actor=user, scope=scope, **given)
            return f"{made.delegate.get_username()} decides for {made.giver.get_username()} in that time."

        return form_page(
            request,
            self,
            lambda sent: DelegationForm(sent, initial={"giver": user.get_username()}),
            title="New delegation",
            button="Delegate",
            act=make,
            back=reverse("admin:approvals_delegation_changelist"),
            intro="Only what somebody may decide by themselves can be lent. Of the two, one counts.",
        )

    @action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        given = self.find(request, object_id)

        def end(reason: str) -> str:
            delegating.revoke_delegation(delegation_id=given.pk, actor=actor_of(request), reason=reason)
            return "The delegation is over."

        return confirm_page(
            request,
            self,
            title="Revoke the delegation?",
            button="Revoke it",
            act=end,
            back=reverse("admin:approvals_delegation_change", args=[given.pk]),
            intro=f"{given.delegate.get_username()} no longer decides for {given.giver.get_username()}, from now on.",
            reason_required=False,
            danger=True,
        )
