# SPDX-License-Identifier: Apache-2.0
"""The pages of runs inside the admin: look at one, cancel it, start one. Each reads, calls one service, shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.models import User
from config.admin import admin_page, confirm_page
from config.api import parse_json
from config.errors import Forbidden, Refused
from playbooks.models import Playbook, Version, VersionState
from runs.forms import form_class
from runs.models import ENDED_RUNS, Run, RunState
from runs.services import start_run
from runs.shown import shown
from runs.stopping import cancel_run

MAY_CONTROL = "runs.control"


def reader(request: HttpRequest) -> User:
    """Who is at the page; the admin lets only people in who are logged in."""
    return cast(User, request.user)


def run_url(run_id: int) -> str:
    return reverse("admin:runs_run_change", args=[run_id])


# One run --------------------------------------------------------------------------------------------------


def run_page(request: HttpRequest, admin: ModelAdmin, run: Run) -> HttpResponse:
    user = reader(request)
    return admin_page(
        request,
        admin,
        "runs/run.html",
        title=f"Run {run.pk}",
        original=run,
        shown=shown(run),
        cancel=cancelling_of(run, user),
        may_see_log=user.has_perm("audit.view_entry"),
        may_see_playbooks=user.has_perm("playbooks.view_playbook"),
    )


@dataclass(frozen=True, slots=True)
class Offer:
    """An act that the page offers, or says why it does not. The service decides; this is a courtesy."""

    why_not: str = ""


def cancelling_of(run: Run, user: User) -> Offer:
    if run.state in (RunState.CANCELLING, RunState.CANCELLED):
        return Offer("It is cancelled already.")
    if run.state in ENDED_RUNS:
        return Offer(f"It has ended: {run.state}.")
    if run.started_by_id != user.pk and not user.has_perm(MAY_CONTROL):
        return Offer("Only who started the run, or holders of runs.control, may cancel it.")
    return Offer()


def cancel_page(request: HttpRequest, admin: ModelAdmin, run: Run) -> HttpResponse:
    def cancel(reason: str) -> str:
        done = cancel_run(run_id=run.pk, actor=reader(request), reason=reason)
        return f"Run {run.pk} is {done.state}."

    return confirm_page(
        request,
        admin,
        title=f"Cancel run {run.pk}",
        button="Cancel the run",
        act=cancel,
        back=run_url(run.pk),
        intro=(
            "Whatever waits is closed at once, open requests included. What is being worked on may still finish, "
            "and nothing follows it. What has been done is not undone."
        ),
        reason_required=False,
        danger=True,
    )


# Starting -------------------------------------------------------------------------------------------------


class JSONPayloadForm(forms.Form):
    """For a playbook that declares no form: the payload as it is."""

    text = forms.CharField(
        label="Payload",
        initial="{}",
        help_text="A JSON object. It is handed to every step.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 12, "spellcheck": "false", "class": "code"}),
    )
    payload: Any = None

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        try:
            self.payload = parse_json(text.encode())
        except Refused as refusal:
            raise forms.ValidationError(refusal.detail.replace("The body", "The text"))
        if not isinstance(self.payload, dict):
            raise forms.ValidationError("A payload is a JSON object: begin with { and end with }.")
        return text


def choose_page(request: HttpRequest, admin: ModelAdmin) -> HttpResponse:
    """Which playbook to start: those with a published version."""
    _refuse_unless_may_start(request)
    published = Version.objects.filter(state=VersionState.PUBLISHED).order_by("-number").defer("document")
    playbooks = Playbook.objects.filter(versions__state=VersionState.PUBLISHED).distinct().order_by("slug")
    startable = playbooks.prefetch_related(Prefetch("versions", published, to_attr="published"))
    return admin_page(request, admin, "runs/choose.html", title="Start a run", playbooks=startable)


def start_page(request: HttpRequest, admin: ModelAdmin, slug: str) -> HttpResponse:
    """The form of the newest published version. GET shows it; POST starts a run and leads to it."""
    _refuse_unless_may_start(request)
    version = _newest_published(slug)
    if version is None:
        raise Http404
    form = _payload_form(version, request.POST if request.method == "POST" else None)
    refusal: Refused | None = None
    if form.is_bound and form.is_valid():
        try:
            run = start_run(
                actor=reader(request), playbook=slug, version=version.number, payload=cast(Any, form).payload
            )
        except Refused as refused:
            refusal = refused
        else:
            messages.success(request, f"Run {run.pk} is under way.")
            return HttpResponseRedirect(run_url(run.pk))
    return admin_page(
        request,
        admin,
        "runs/start.html",
        title=f"Start {version.playbook}",
        status=refusal.status if refusal else 422 if form.is_bound else 200,
        form=form,
        version=version,
        words=version.definition.form,
        refusal=refusal,
    )


def _payload_form(version: Version, sent: Mapping[str, Any] | None) -> forms.Form:
    schema = version.definition.payload_schema
    return JSONPayloadForm(sent) if schema is None else form_class(schema)(sent)


def _newest_published(slug: str) -> Version | None:
    published = Version.objects.filter(playbook__slug=slug, state=VersionState.PUBLISHED)
    return published.select_related("playbook").order_by("-number").first()


def _refuse_unless_may_start(request: HttpRequest) -> None:
    if not reader(request).has_perm("runs.start"):
        raise Forbidden("You may not start runs: the permission runs.start is needed.")
