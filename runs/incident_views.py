# SPDX-License-Identifier: Apache-2.0
"""The page on which an operator resolves an incident: what is wrong, what was tried, and three ways out of it."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import ModelAdmin

from accounts.pages import actor_of
from config.admin import admin_page
from config.errors import Refused
from runs.admin_views import MAY_CONTROL, JSONText, run_url
from runs.incidents import CHOICES, resolve_incident
from runs.models import Resolution, Task
from runs.steps_shown import RESOLVED, attempts_of

DONE = {
    Resolution.RETRY: "{} is tried again.",
    Resolution.SKIP: "{} was left out; the run goes on.",
    Resolution.FAIL: "{} was let fail.",
}


class ResolveForm(forms.Form):
    """Which of its three buttons was pressed is the resolution."""

    resolution = forms.ChoiceField(
        choices=[(choice.value, choice.label) for choice in CHOICES],
        error_messages={"required": "Press one of the three buttons.", "invalid_choice": "Press one of the buttons."},
    )
    reason = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 3}), max_length=2000, help_text="Kept in the action log."
    )
    output = JSONText(
        required=False,
        label="Output",
        help_text="Only for leaving it out: what later steps see of it, as JSON. Or empty.",
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "class": "code"}),
    )


def resolve_page(request: HttpRequest, admin: ModelAdmin, task_id: int) -> HttpResponse:
    """GET shows it; POST resolves it and leads to the run. What was resolved meanwhile is shown as it is now."""
    task = _incident(request, task_id)
    form = ResolveForm(request.POST if request.method == "POST" else None)
    refusal: Refused | None = None
    if form.is_bound and form.is_valid():
        try:
            resolve_incident(task_id=task.pk, actor=actor_of(request), **form.cleaned_data)
        except Refused as refused:
            refusal, task = refused, _incident(request, task_id)
        else:
            messages.success(request, DONE[form.cleaned_data["resolution"]].format(task.path))
            return HttpResponseRedirect(run_url(task.run_id))
    return admin_page(
        request,
        admin,
        "runs/incident.html",
        title=f"Incident at {task.path}",
        status=refusal.status if refusal else 422 if form.is_bound else 200,
        task=task,
        step=task.definition,
        attempts=attempts_of(task),
        form=form,
        refusal=refusal,
        why_not=_why_not(request, task),
    )


def _incident(request: HttpRequest, task_id: int) -> Task:
    seen = Task.objects.visible_to(request.user).select_related("run__version__playbook", "run__started_by")
    task = seen.filter(pk=task_id, state="incident").first()
    if task is None:
        raise Http404
    return task


def _why_not(request: HttpRequest, task: Task) -> str:
    """Why it cannot be resolved here and now; a courtesy, as the service decides."""
    if not task.is_unresolved:
        return f"It is resolved already. {RESOLVED[task.resolution]}"
    if not task.run.moves_on:
        return f"The run is {task.run.get_state_display().lower()}: the incident ends with it."
    if not actor_of(request).has_perm(MAY_CONTROL):
        return "Only holders of runs.control resolve incidents."
    return ""
