# SPDX-License-Identifier: Apache-2.0
"""The pages of runs inside the admin: look at one, stop it, signal it, start one. Each reads, calls one service,
shows."""

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
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts.models import User
from accounts.pages import actor_of
from config import clock
from config.admin import ReasonForm, admin_page, confirm_page, form_page
from config.api import parse_json
from config.errors import Forbidden, Refused
from playbooks.models import Playbook, Version, VersionState
from runs import due, stuck
from runs.forms import form_class
from runs.models import ENDED_RUNS, Run, RunState, WorkerHost
from runs.services import start_run
from runs.shown import shown
from runs.stopping import cancel_run, terminate_run
from runs.timeline import seconds_in_words
from runs.waits import awaited_by, send_signal

MAY_CONTROL = "runs.control"


def run_url(run_id: int) -> str:
    return reverse("admin:runs_run_change", args=[run_id])


def json_of(text: str) -> Any:
    """What somebody typed. Raises ValidationError."""
    try:
        return parse_json(text.encode())
    except Refused as refusal:
        raise forms.ValidationError(refusal.detail.replace("The body", "The text"))


class JSONText(forms.CharField):
    """Any JSON, or nothing, which is None."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 6, "spellcheck": "false", "class": "code"})

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return json_of(text) if text else None


# One run --------------------------------------------------------------------------------------------------


def run_page(request: HttpRequest, admin: ModelAdmin, run: Run) -> HttpResponse:
    user = actor_of(request)
    return admin_page(
        request,
        admin,
        "runs/run.html",
        title=f"Run {run.pk}",
        original=run,
        shown=shown(run),
        cancel=cancelling_of(run, user),
        terminate=terminating_of(run, user),
        may_signal=bool(awaited_in(run)) and run.state == RunState.RUNNING,
        may_resolve=user.has_perm(MAY_CONTROL),
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
    if "undoing" in run.position:
        return Offer("It has failed, and what it did is being undone.")
    if not _controls(run, user):
        return Offer("Only who started the run, or holders of runs.control, may cancel it.")
    return Offer()


def terminating_of(run: Run, user: User) -> Offer:
    if run.state in ENDED_RUNS:
        return Offer(f"It has ended: {run.state}.")
    return Offer() if _controls(run, user) else Offer("You may not terminate it.")


def _controls(run: Run, user: User) -> bool:
    return run.started_by_id == user.pk or user.has_perm(MAY_CONTROL)


def cancel_page(request: HttpRequest, admin: ModelAdmin, run: Run) -> HttpResponse:
    def cancel(reason: str) -> str:
        done = cancel_run(run_id=run.pk, actor=actor_of(request), reason=reason)
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
            "and nothing follows it. Then each step that has a compensation is undone, the last one first."
        ),
        reason_required=False,
        danger=True,
    )


class TerminateForm(ReasonForm):
    """Asks for the number of the run too, so that no other run is meant."""

    number = forms.CharField(
        label="Number of the run", widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}), max_length=20
    )

    def __init__(self, *args: Any, run: Run, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._run = run
        self.fields["number"].help_text = f"Type {run.pk} to confirm."

    def clean_number(self) -> str:
        typed: str = self.cleaned_data["number"].strip().removeprefix("#")
        if typed != str(self._run.pk):
            raise forms.ValidationError(f"That is not the number of this run, which is {self._run.pk}.")
        return typed


def terminate_page(request: HttpRequest, admin: ModelAdmin, run: Run) -> HttpResponse:
    def terminate(given: dict[str, Any]) -> str:
        terminate_run(run_id=run.pk, actor=actor_of(request), reason=given["reason"])
        return f"Run {run.pk} is terminated."

    return form_page(
        request,
        admin,
        lambda sent: TerminateForm(sent, run=run),
        title=f"Terminate run {run.pk}",
        button="Terminate the run",
        act=terminate,
        back=run_url(run.pk),
        intro=(
            "It ends at once, whatever is open in it. Who works on a task is not waited for, and what has been done is "
            "not undone. To let work finish and have it undone, cancel the run instead."
        ),
        danger=True,
    )


def awaited_in(run: Run) -> list[str]:
    """The names of the signals that steps of its playbook wait for."""
    names = (awaited_by(step) for step in run.version.definition.walk())
    return list(dict.fromkeys(name for name in names if name))


class SignalForm(forms.Form):
    name = forms.ChoiceField(label="Signal", widget=UnfoldAdminSelectWidget())
    content = JSONText(
        label="Data", required=False, help_text="JSON; the output of the step that waits for it. Or empty."
    )

    def __init__(self, *args: Any, names: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast(forms.ChoiceField, self.fields["name"]).choices = [(name, name) for name in names]


def signal_page(request: HttpRequest, admin: ModelAdmin, run: Run) -> HttpResponse:
    def send(given: dict[str, Any]) -> str:
        _, task = send_signal(run_id=run.pk, actor=actor_of(request), name=given["name"], data=given["content"])
        if task is None:
            return f"The signal {given['name']} is kept for the next step that waits for it."
        return f"The signal {given['name']} was sent to {task.path}."

    names = awaited_in(run)
    if not names:
        raise Http404
    return form_page(
        request,
        admin,
        lambda sent: SignalForm(sent, names=names),
        title=f"Send a signal to run {run.pk}",
        button="Send the signal",
        act=send,
        back=run_url(run.pk),
        intro="Tell the run that something has happened. The step that has waited longest for it goes on.",
    )


# Health ---------------------------------------------------------------------------------------------------

WORKERS_SHOWN = 20  # the most recently heard of


def health_page(request: HttpRequest, admin: ModelAdmin) -> HttpResponse:
    now, sight = clock.now(), due.look()
    found = stuck.found()
    return admin_page(
        request,
        admin,
        "runs/health.html",
        title="Health",
        found=found,
        is_in_order=not any(each.count for each in found),
        most=stuck.COUNTED,
        waiting=seconds_in_words(max(0.0, (now - sight.oldest).total_seconds())) if sight.oldest else "",
        workers=WorkerHost.objects.order_by("-beat_at")[:WORKERS_SHOWN],
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
        self.payload = json_of(text)
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
                actor=actor_of(request), playbook=slug, version=version.number, payload=cast(Any, form).payload
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
    if not actor_of(request).has_perm("runs.start"):
        raise Forbidden("You may not start runs: the permission runs.start is needed.")
