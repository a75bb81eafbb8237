# SPDX-License-Identifier: Apache-2.0
"""Runs, tasks and effects in the admin: lists and pages to look at, and the acts that a run offers as forms.

Who may open what is said by `visible_to`, row by row; nothing here writes but by the services.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django_q.models import Failure, OrmQ, Schedule, Success
from unfold.contrib.filters.admin import DropdownFilter, TextFilter
from unfold.decorators import action, display

from accounts.pages import actor_of
from audit.admin import NewestPages
from audit.shown import as_text, made_visible
from config.admin import EvidenceAdmin
from playbooks.models import Playbook, Version
from runs import admin_views, incident_views
from runs.admin_views import run_url
from runs.models import (
    ENDED_RUNS,
    JOINED_KINDS,
    OPEN_TASKS,
    Effect,
    Incident,
    Run,
    RunState,
    Task,
    TaskState,
    WorkerHost,
)
from runs.steps_shown import RESOLVED
from runs.timeline import seconds_in_words

HEAVY = ("parent__input", "parent__output")  # what a list or a page of a run shows nothing of
LARGEST_ROW_NUMBER = 2**63 - 1
RUN_COLOURS = {
    RunState.QUEUED: "info",
    RunState.RUNNING: "info",
    RunState.PAUSING: "warning",
    RunState.PAUSED: "warning",
    RunState.COMPLETED: "success",
    RunState.FAILED: "danger",
    RunState.CANCELLING: "warning",
    RunState.TERMINATED: "danger",
}
TASK_COLOURS = {
    TaskState.RUNNING: "info",
    TaskState.AWAITING_APPROVAL: "warning",
    TaskState.APPROVED: "success",
    TaskState.COMPLETED: "success",
    TaskState.REJECTED: "danger",
    TaskState.FAILED: "danger",
    TaskState.INCIDENT: "danger",
}


def moment(at: datetime | None) -> SafeString | None:
    if at is None:
        return None
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S}")


def run_link(run_id: int) -> SafeString:
    return format_html('<a class="underline" href="{}">run {}</a>', run_url(run_id), run_id)


def block(value: Any) -> SafeString:
    return format_html('<pre class="evidence" dir="ltr">{}</pre>', as_text(value))


# Filters --------------------------------------------------------------------------------------------------


class ByPlaybook(DropdownFilter):
    """Playbooks in which this person has a part; with `runs.view`, all."""

    title = parameter_name = "playbook"
    to_version = "version"  # the way from a row to its version

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        playbooks = Playbook.objects.order_by("slug")
        if not request.user.has_perm("runs.view"):
            mine = Version.objects.filter(playbook=OuterRef("pk"), roles__user=request.user.pk)
            started = Version.objects.filter(playbook=OuterRef("pk"), runs__started_by=request.user.pk)
            playbooks = playbooks.filter(Exists(mine) | Exists(started))
        return [(playbook.slug, made_visible(str(playbook))) for playbook in playbooks]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(**{f"{self.to_version}__playbook__slug": value}) if value else queryset


class ByState(DropdownFilter):
    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "under way"), *((value, value) for value in RunState.values)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        if self.value() == "open":
            return queryset.exclude(state__in=ENDED_RUNS)
        return queryset.filter(state=self.value()) if self.value() else queryset


class ByRole(TextFilter):
    title = parameter_name = "role"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        role = (self.value() or "").strip()
        return queryset.filter(role=role) if role else queryset


class ByVersion(TextFilter):
    title, parameter_name = "version", "version"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = (self.value() or "").strip().removeprefix("v")
        if not value:
            return queryset
        return queryset.filter(version__number=int(value)) if _is_row_number(value) else queryset.none()


class ByLabel(TextFilter):
    """`key:value`, or a key alone."""

    title, parameter_name = "label (key:value)", "label"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        key, found, value = (self.value() or "").strip().partition(":")
        if not key:
            return queryset
        if not found:
            return queryset.filter(labels__has_key=key)
        # A text of its own, or SQLite would read the value that is looked for as JSON.
        return queryset.alias(of_label=Cast(KeyTextTransform(key, "labels"), TextField())).filter(of_label=value)


def _is_row_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) <= LARGEST_ROW_NUMBER


class SeenByRow(EvidenceAdmin):
    """Everybody with a log-in may open the list; which rows it holds is for `visible_to` to say."""

    sortable_by = ()  # newest first: any other order would read the whole table
    paginator = NewestPages

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_authenticated

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        raise Http404  # as for every other page of ours, instead of a hint on the first page

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip().removeprefix("#")
        if not term:
            return queryset, False
        return (self.numbered(queryset, int(term)) if _is_row_number(term) else queryset.none()), False

    def numbered(self, rows: QuerySet[Any], number: int) -> QuerySet[Any]:
        return rows.filter(pk=number)


# Runs -----------------------------------------------------------------------------------------------------


@admin.register(Run)
class RunAdmin(SeenByRow):
    list_display = ("number", "playbook", "shown_state", "current_step", "starter", "started", "ended")
    list_display_links = ("number",)
    list_filter = (ByState, ByPlaybook, ByVersion, ByLabel)
    search_fields = ("pk",)  # shows the box; get_search_results does the looking
    search_help_text = "The number of a run"
    actions_list = ("start",)

    class Media:
        css = {"all": ("hms_act/pages.css", "audit/evidence.css")}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        leaves = Task.objects.filter(run=OuterRef("pk"), state__in=OPEN_TASKS).exclude(kind__in=JOINED_KINDS)
        step = leaves.order_by("id").values("step")[:1]
        seen = Run.objects.visible_to(request.user).select_related("version__playbook", "started_by", "parent")
        return seen.annotate(open_step=Subquery(step)).defer("version__document", "position", *HEAVY)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        own = [
            path("start/<str:slug>/", view(self.start_one), name="runs_run_start_one"),
            path("<int:run_id>/cancel/", view(self.cancel), name="runs_run_cancel"),
            path("<int:run_id>/terminate/", view(self.terminate), name="runs_run_terminate"),
            path("<int:run_id>/signal/", view(self.signal), name="runs_run_signal"),
        ]
        return [*own, *super().get_urls()]

    # The pages

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return admin_views.run_page(request, self, self.find(request, object_id))

    def cancel(self, request: HttpRequest, run_id: int) -> HttpResponse:
        return admin_views.cancel_page(request, self, self.find(request, str(run_id)))

    def terminate(self, request: HttpRequest, run_id: int) -> HttpResponse:
        return admin_views.terminate_page(request, self, self.find(request, str(run_id)))

    def signal(self, request: HttpRequest, run_id: int) -> HttpResponse:
        return admin_views.signal_page(request, self, self.find(request, str(run_id)))

    @action(description="Start a run", url_path="start", icon="play_arrow", permissions=["start"])
    def start(self, request: HttpRequest) -> HttpResponse:
        return admin_views.choose_page(request, self)

    def has_start_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return actor_of(request).has_perm("runs.start")

    def start_one(self, request: HttpRequest, slug: str) -> HttpResponse:
        return admin_views.start_page(request, self, slug)

    # The list

    @admin.display(description="run")
    def number(self, run: Run) -> str:
        return f"#{run.pk}"

    @admin.display(description="playbook")
    def playbook(self, run: Run) -> str:
        return f"{made_visible(str(run.version.playbook))} v{run.version.number}"

    @display(description="state", label=RUN_COLOURS)
    def shown_state(self, run: Run) -> str:
        return run.state

    @admin.display(description="current step")
    def current_step(self, run: Any) -> str | None:
        return made_visible(run.open_step) if run.open_step else None

    @admin.display(description="started by")
    def starter(self, run: Run) -> str:
        return made_visible(run.started_by.get_username())

    @admin.display(description="started (UTC)")
    def started(self, run: Run) -> SafeString | None:
        return moment(run.created_at)

    @admin.display(description="ended (UTC)")
    def ended(self, run: Run) -> SafeString | None:
        return moment(run.ended_at)


# Tasks ----------------------------------------------------------------------------------------------------


class ByPlaybookOfRun(ByPlaybook):
    to_version = "run__version"


@admin.register(Task)
class TaskAdmin(SeenByRow):
    list_display = ("number", "in_run", "step", "attempt", "role", "shown_state", "holder_name", "created", "ended")
    list_filter = ("state", "kind", ByRole, ByPlaybookOfRun)
    search_fields = ("pk",)
    search_help_text = "The number of a task or of a run"
    ordering = ("-id",)
    fieldsets = (
        ("Task", {"fields": ("in_run", "shown_step", "path", "attempt", "kind", "role", "shown_state", "priority")}),
        ("Who", {"fields": ("holder_name", "credential", "holder", "fence", "lease_losses")}),
        ("Given", {"fields": ("shown_input", "shown_item")}),
        ("Answer", {"fields": ("shown_outcome", "shown_note", "shown_output", "shown_approval")}),
        ("Fault", {"fields": ("shown_fault", "shown_retry", "shown_resolution")}),
        ("Times (UTC)", {"fields": ("created", "ready", "claimed", "lease_ends", "next_look", "ended")}),
    )

    class Media:
        css = {"all": ("hms_act/pages.css", "audit/evidence.css")}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Task]:
        seen = Task.objects.visible_to(request.user).select_related("assignee")
        return seen.defer("input", "item", "output", "approval") if _is_list(request) else seen

    def numbered(self, rows: QuerySet[Any], number: int) -> QuerySet[Any]:
        return rows.filter(Q(pk=number) | Q(run=number))

    @admin.display(description="task")
    def number(self, task: Task) -> str:
        return f"#{task.pk}"

    @admin.display(description="run")
    def in_run(self, task: Task) -> SafeString:
        return run_link(task.run_id)

    @admin.display(description="step")
    def shown_step(self, task: Task) -> str:
        return made_visible(task.step)

    @display(description="state", label=TASK_COLOURS)
    def shown_state(self, task: Task) -> str:
        return task.state

    @admin.display(description="assignee")
    def holder_name(self, task: Task) -> str | None:
        return made_visible(task.assignee.get_username()) if task.assignee else None

    @admin.display(description="outcome")
    def shown_outcome(self, task: Task) -> str:
        return made_visible(task.outcome)

    @admin.display(description="note")
    def shown_note(self, task: Task) -> str:
        return made_visible(task.note)

    @admin.display(description="input")
    def shown_input(self, task: Task) -> SafeString | None:
        return None if task.input is None else block(task.input)

    @admin.display(description="item")
    def shown_item(self, task: Task) -> SafeString | None:
        return None if task.item is None else block(task.item)

    @admin.display(description="resolved")
    def shown_resolution(self, task: Task) -> str | None:
        if task.resolved_at is None:
            return None
        return f"{RESOLVED[task.resolution]} {task.resolved_at:%Y-%m-%d %H:%M:%S} UTC"

    @admin.display(description="output")
    def shown_output(self, task: Task) -> SafeString | None:
        return None if task.output is None else block(task.output)

    @admin.display(description="answer of people")
    def shown_approval(self, task: Task) -> SafeString | None:
        shown = {name: value for name, value in (task.approval or {}).items() if name != "asked_with"}
        return block(shown) if shown else None  # without the digest of the token that asked

    @admin.display(description="fault")
    def shown_fault(self, task: Task) -> str:
        return made_visible(task.fault)

    @admin.display(description="tried again?")
    def shown_retry(self, task: Task) -> str:
        reason = made_visible(task.retry_reason)
        if task.retry_delay_seconds is None:
            return reason
        return f"after {seconds_in_words(task.retry_delay_seconds)}: {reason}"

    @admin.display(description="created")
    def created(self, task: Task) -> SafeString | None:
        return moment(task.created_at)

    @admin.display(description="claimable since")
    def ready(self, task: Task) -> SafeString | None:
        return moment(task.ready_at)

    @admin.display(description="claimed")
    def claimed(self, task: Task) -> SafeString | None:
        return moment(task.claimed_at)

    @admin.display(description="lease ends")
    def lease_ends(self, task: Task) -> SafeString | None:
        return moment(task.lease_expires_at)

    @admin.display(description="looked at again")
    def next_look(self, task: Task) -> SafeString | None:
        return moment(task.next_check_at)

    @admin.display(description="ended")
    def ended(self, task: Task) -> SafeString | None:
        return moment(task.ended_at)


def _is_list(request: HttpRequest) -> bool:
    return request.path == reverse("admin:runs_task_changelist")


# Incidents ------------------------------------------------------------------------------------------------

WHY_SHOWN = 200  # characters of a fault in the list


@admin.register(Incident)
class IncidentAdmin(SeenByRow):
    """What waits for an operator, newest first; each leads to the page on which it is resolved."""

    list_display = ("where", "in_run", "playbook", "role", "why", "since")
    list_display_links = ("where",)
    list_filter = (ByPlaybookOfRun, ByRole)
    search_fields = ("pk",)
    search_help_text = "The number of a task or of a run"
    ordering = ("-id",)

    class Media:
        css = {"all": ("hms_act/pages.css", "audit/evidence.css")}

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return actor_of(request).has_perm("runs.view") or actor_of(request).has_perm("runs.control")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        seen = Incident.objects.visible_to(request.user).select_related("run__version__playbook", "run__started_by")
        return seen.defer("run__version__document", "run__position", "run__payload")

    def numbered(self, rows: QuerySet[Any], number: int) -> QuerySet[Any]:
        return rows.filter(Q(pk=number) | Q(run=number))

    def get_urls(self) -> list[Any]:
        resolve = self.admin_site.admin_view(self.resolve)
        own = [path("<int:task_id>/resolve/", resolve, name="runs_incident_resolve")]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:runs_incident_resolve", args=[self.find(request, object_id).pk]))

    def resolve(self, request: HttpRequest, task_id: int) -> HttpResponse:
        return incident_views.resolve_page(request, self, task_id)

    @admin.display(description="where")
    def where(self, incident: Incident) -> str:
        return made_visible(incident.path)

    @admin.display(description="run")
    def in_run(self, incident: Incident) -> SafeString:
        return run_link(incident.run_id)

    @admin.display(description="playbook")
    def playbook(self, incident: Incident) -> str:
        version = incident.run.version
        return f"{made_visible(str(version.playbook))} v{version.number}"

    @admin.display(description="why")
    def why(self, incident: Incident) -> str:
        return Truncator(made_visible(incident.fault or incident.retry_reason)).chars(WHY_SHOWN)

    @admin.display(description="since (UTC)")
    def since(self, incident: Incident) -> SafeString | None:
        return moment(incident.ended_at)


# Health ---------------------------------------------------------------------------------------------------


@admin.register(WorkerHost)
class HealthAdmin(EvidenceAdmin):
    """In place of the list of workers: these, what waits for them, and whatever is stuck."""

    fields = ("name", "started_at", "beat_at", "restarts")

    class Media:
        css = {"all": ("hms_act/pages.css",)}

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return actor_of(request).has_perm("runs.view")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return admin_views.health_page(request, self)


# Housekeeping ----------------------------------------------------------------------------------------------

# The library's own pages would let a superuser schedule any function by its name, and would unpickle results.
for _model in (Schedule, Success, Failure, OrmQ):
    admin.site.unregister(_model)


@admin.register(Schedule)
class ScheduleAdmin(EvidenceAdmin):
    list_display = ("name", "func", "every", "next_run")
    fields = ("name", "func", "every", "next_run")
    sortable_by = ()

    @admin.display(description="every")
    def every(self, schedule: Schedule) -> str:
        return f"{schedule.minutes} min" if schedule.minutes else str(schedule.get_schedule_type_display())


# Effects --------------------------------------------------------------------------------------------------


@admin.register(Effect)
class EffectAdmin(EvidenceAdmin):
    """Seen by those who may see all runs: an effect is looked for when money is, not when a run is."""

    list_display = ("short_key", "action", "state", "in_run", "intended", "confirmed")
    list_filter = ("state",)
    search_fields = ("key",)
    search_help_text = "A key, or the beginning of one"
    sortable_by = ()
    paginator = NewestPages
    ordering = ("-intended_at",)
    fieldsets = (
        ("Effect", {"fields": ("key", "action", "state", "in_run", "of_task")}),
        ("Result", {"fields": ("shown_result",)}),
        ("Times (UTC)", {"fields": ("intended", "confirmed")}),
    )

    class Media:
        css = {"all": ("hms_act/pages.css", "audit/evidence.css")}

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("runs.view")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Effect], search_term: str
    ) -> tuple[QuerySet[Effect], bool]:
        term = search_term.strip().lower()
        return (queryset.filter(key__startswith=term) if term else queryset), False

    @admin.display(description="key")
    def short_key(self, effect: Effect) -> str:
        return f"{effect.key[:16]}…"

    @admin.display(description="run")
    def in_run(self, effect: Effect) -> SafeString:
        return run_link(effect.run_id)

    @admin.display(description="first intended by")
    def of_task(self, effect: Effect) -> SafeString:
        url = reverse("admin:runs_task_change", args=[effect.task_id])
        return format_html('<a class="underline" href="{}">task {}</a>', url, effect.task_id)

    @admin.display(description="result")
    def shown_result(self, effect: Effect) -> SafeString | None:
        return None if effect.result is None else block(effect.result)

    @admin.display(description="intended")
    def intended(self, effect: Effect) -> SafeString | None:
        return moment(effect.intended_at)

    @admin.display(description="confirmed")
    def confirmed(self, effect: Effect) -> SafeString | None:
        return moment(effect.confirmed_at)
