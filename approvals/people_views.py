# SPDX-License-Identifier: Apache-2.0
"""Pages for the acts around a decision: take over, assign, delegate, give more time. GET shows the form; POST acts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import re_path, reverse
from unfold.widgets import INPUT_CLASSES, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts.models import User
from approvals import assigning, claims, deadlines, delegating
from approvals.models import DECIDABLE_REQUESTS, ActionRequest
from approvals.notify import link_to
from approvals.request_pages import More
from audit.shown import made_visible
from config.admin import form_page

REQUEST = r"(?P<request_id>har_[0-9a-f]{12})"


def moment_widget() -> forms.SplitDateTimeWidget:
    """The browser's own, which needs no script."""
    looks = " ".join(INPUT_CLASSES)
    day = {"type": "date", "aria-label": "Day", "class": looks}
    hour = {"type": "time", "aria-label": "Time of day", "class": looks}
    return forms.SplitDateTimeWidget(date_attrs=day, time_attrs=hour)


def _text(label: str, **more: Any) -> forms.CharField:
    return forms.CharField(label=label, widget=UnfoldAdminTextInputWidget(), **{"max_length": 150, **more})


def _why(*, required: bool) -> forms.CharField:
    return forms.CharField(
        label="Why",
        max_length=500,
        required=required,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Kept in the action log.",
    )


class TakeOverForm(forms.Form):
    reason = _why(required=True)


class AssignForm(forms.Form):
    to = _text("To", required=False, help_text="A user name. Empty: nobody in particular any more.")
    reason = _why(required=False)


class DelegateForm(forms.Form):
    to = _text("To", help_text="The user name of whoever decides in your place.")
    until = forms.SplitDateTimeField(required=False, widget=moment_widget(), help_text="UTC. Empty: for two weeks.")
    reason = _why(required=False)


class ExtendForm(forms.Form):
    by = _text("By", max_length=30, help_text="As 2h or 1d, counted like the deadline itself.")
    reason = _why(required=False)


def _take_over(http: HttpRequest, asked: ActionRequest, actor: User, given: Mapping[str, Any]) -> str:
    claimed, token = assigning.take_over(request_id=asked.pk, actor=actor, **given)
    claims.keep(http, claimed, token)
    return f"You are reviewing it now: {made_visible(asked.title)}."


def _assign(http: HttpRequest, asked: ActionRequest, actor: User, given: Mapping[str, Any]) -> str:
    assigned = assigning.assign_request(request_id=asked.pk, actor=actor, **given).assigned_to
    return f"Assigned to {assigned.get_username()}." if assigned else "It is assigned to nobody any more."


def _delegate(http: HttpRequest, asked: ActionRequest, actor: User, given: Mapping[str, Any]) -> str:
    made = delegating.delegate_request(request_id=asked.pk, actor=actor, **given)
    return f"{made.delegate.get_username()} may decide this in your place until {made.ends_at:%-d %b %Y, %H:%M} UTC."


def _extend(http: HttpRequest, asked: ActionRequest, actor: User, given: Mapping[str, Any]) -> str:
    moved = deadlines.extend_request(request_id=asked.pk, actor=actor, **given)
    until = moved.expires_at or moved.due_at
    return f"There is time until {until:%-d %b %Y, %H:%M} UTC."


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    offer: str  # on the decision page
    button: str
    form: type[forms.Form]
    act: Callable[[HttpRequest, ActionRequest, User, Mapping[str, Any]], str]


PAGES = {
    "takeover": Page("Take over", "Take it over from who reviews it", "Take it over", TakeOverForm, _take_over),
    "assign": Page("Assign", "Assign it to somebody", "Assign it", AssignForm, _assign),
    "delegate": Page("Delegate", "Let somebody else decide in your place", "Let them decide", DelegateForm, _delegate),
    "extend": Page("Give more time", "Give more time", "Move the deadline", ExtendForm, _extend),
}


def urls(owner: Any) -> list[Any]:
    """Of the admin of requests."""
    return [
        re_path(rf"^{REQUEST}/{name}/\Z", owner.admin_site.admin_view(_view(owner, page)), name=_name(name))
        for name, page in PAGES.items()
    ]


def offered(asked: ActionRequest, user: Any, *, may_decide: bool) -> list[More]:
    """What this person may do around a decision. A courtesy: the services decide."""
    if asked.state not in DECIDABLE_REQUESTS:
        return []
    others = asked.state == "in_review" and asked.claimed_by_id != user.pk
    has_deadline = asked.due_at is not None or asked.expires_at is not None
    may = {
        "takeover": may_decide and others,
        "assign": user.has_perm(assigning.ASSIGN),
        "delegate": may_decide,
        "extend": user.has_perm(deadlines.EXTEND) and has_deadline,
    }
    return [More(PAGES[name].offer, reverse(f"admin:{_name(name)}", args=[asked.pk])) for name in PAGES if may[name]]


def _name(page: str) -> str:
    return f"approvals_actionrequest_{page}"


def _view(owner: Any, page: Page) -> Callable[..., HttpResponse]:
    def view(request: HttpRequest, request_id: str) -> HttpResponse:
        asked = owner.find(request, request_id)
        actor = request.user
        assert isinstance(actor, User)
        return form_page(
            request,
            owner,
            page.form,
            title=f"{page.title}: {made_visible(asked.title)}",
            button=page.button,
            act=lambda given: page.act(request, asked, actor, given),
            back=link_to(asked),
        )

    return view
