# SPDX-License-Identifier: Apache-2.0
"""The action log to look at: newest first, filtered and searched by what is indexed, each entry with its evidence.

Nothing here changes anything. Notes and disclosed values are shown to holders of `audit.view_disclosure` alone.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter

from audit import actions
from audit.canonical import leaf_hash
from audit.models import Entry
from audit.shown import as_text, made_visible
from config.admin import EvidenceAdmin

COUNTED = 10_000  # entries a list pages through; older ones are found by filter and search
LARGEST_ROW_NUMBER = 2**63 - 1
NOTE_SHOWN = 120  # characters of a note in the list


class NewestPages(Paginator):  # type: ignore[type-arg]  # no generic at run time
    """Counts no further than it pages, so that a log of many millions opens as fast as a small one."""

    @cached_property
    def count(self) -> int:
        entries: Any = self.object_list
        return int(entries.order_by()[:COUNTED].count())


class ColumnFilter(DropdownFilter):  # type: ignore[misc]  # the skin has no types
    """Filter by a column whose words are known, without asking the table which ones it holds."""

    words: tuple[str, ...] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(word, word) for word in self.words]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Entry]) -> QuerySet[Entry]:
        return queryset.filter(**{self.parameter_name: self.value()}) if self.value() else queryset


class ByAction(ColumnFilter):
    title = parameter_name = "action"
    words = tuple(sorted(actions.ALL))


class ByActorType(ColumnFilter):
    title, parameter_name = "kind of actor", "actor_type"
    words = ("human", "agent", "service", "system")


class ByChannel(ColumnFilter):
    title = parameter_name = "channel"
    words = ("api", "admin", "web", "worker", "command", "system")


@admin.register(Entry)
class EntryAdmin(EvidenceAdmin):
    list_display = ("time", "actor", "action", "subject", "move", "result", "said")
    list_filter = ("result", ByAction, ByActorType, ByChannel)
    list_select_related = ("disclosure",)
    ordering = ("-id",)
    sortable_by = ()  # any other order would read the whole log
    paginator = NewestPages
    search_fields = ("actor_name",)  # shows the box; get_search_results does the looking
    search_help_text = "An actor's exact name, the number of a run or task, or a request's id (har_…)"
    fieldsets = (
        ("What happened", {"fields": ("time", "action", "result", "code", "move", "note", "facts", "disclosed")}),
        ("Who", {"fields": ("actor", "model", "acting_for", "channel", "credential", "web_request")}),
        ("About", {"fields": ("subject", "run_id", "task_id", "request_id")}),
        ("Evidence", {"fields": ("leaf_index", "hash", "body_text")}),
    )

    class Media:
        css = {"all": ("audit/evidence.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        entries: QuerySet[Entry] = super().get_queryset(request)
        return entries.select_related("disclosure")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Entry], search_term: str
    ) -> tuple[QuerySet[Entry], bool]:
        term = search_term.strip()
        return (queryset.filter(_named(term)) if term else queryset), False

    def get_list_display(self, request: HttpRequest) -> Any:
        return [name for name in self.list_display if name != "said" or _may_read(request)]

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        if _may_read(request):
            return self.fieldsets
        happened, *others = self.fieldsets
        open_fields = tuple(name for name in happened[1]["fields"] if name not in {"note", "disclosed"})
        return ((happened[0], {"fields": open_fields}), *others)

    @admin.display(description="time (UTC)")
    def time(self, entry: Entry) -> str:
        return f"{entry.at:%Y-%m-%d %H:%M:%S.%f}"

    @admin.display(description="actor")
    def actor(self, entry: Entry) -> str:
        return f"{made_visible(entry.actor_name)} ({entry.actor_type})"

    @admin.display(description="subject")
    def subject(self, entry: Entry) -> str:
        run = f" of run {entry.run_id}" if entry.run_id and entry.subject_type != "run" else ""
        step = f" ({entry.step})" if entry.step else ""
        return made_visible(f"{entry.subject_type} {entry.subject_id}{step}{run}")

    @admin.display(description="from → to")
    def move(self, entry: Entry) -> str:
        return f"{entry.from_state} → {entry.to_state}".lstrip() if entry.to_state else ""

    @admin.display(description="note")
    def said(self, entry: Entry) -> str:
        note = entry.note
        return made_visible(note[:NOTE_SHOWN] + ("…" if len(note) > NOTE_SHOWN else ""))

    @admin.display(description="note")
    def note(self, entry: Entry) -> SafeString:
        return _block(made_visible(entry.note))

    @admin.display(description="facts")
    def facts(self, entry: Entry) -> SafeString:
        return _block(as_text({**entry.content["subject"], **entry.data}))

    @admin.display(description="disclosed")
    def disclosed(self, entry: Entry) -> SafeString:
        values = {name: value for name, value in entry.disclosed.items() if name != "note"}
        warning = "" if entry.discloses_what_it_commits_to else "NOT WHAT THE ENTRY COMMITS TO\n"
        return _block(warning + as_text(values))

    @admin.display(description="AI model")
    def model(self, entry: Entry) -> str:
        return made_visible(entry.content["actor"]["model"])

    @admin.display(description="on behalf of")
    def acting_for(self, entry: Entry) -> str:
        return made_visible(entry.content["actor"]["acting_for"])

    @admin.display(description="credential")
    def credential(self, entry: Entry) -> str:
        return made_visible(entry.content["actor"]["credential"])

    @admin.display(description="web request")
    def web_request(self, entry: Entry) -> str:
        return made_visible(entry.content["request"])

    @admin.display(description="hash")
    def hash(self, entry: Entry) -> str:
        matches = leaf_hash(bytes(entry.body)) == bytes(entry.entry_hash)
        return f"{bytes(entry.entry_hash).hex()}{'' if matches else ': NOT THE HASH OF THE BODY'}"

    @admin.display(description="body, as hashed")
    def body_text(self, entry: Entry) -> SafeString:
        return _block(made_visible(bytes(entry.body).decode()))


def _may_read(request: HttpRequest) -> bool:
    return request.user.has_perm("audit.view_disclosure")


def _named(term: str) -> Q:
    if term.isdecimal() and int(term) <= LARGEST_ROW_NUMBER:
        return Q(run_id=int(term)) | Q(task_id=int(term))
    if term.startswith("har_"):
        return Q(request_id=term)
    return Q(actor_name=term)


def _block(text: str) -> SafeString:
    return format_html('<pre class="evidence" dir="ltr">{}</pre>', text)
