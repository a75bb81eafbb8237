# SPDX-License-Identifier: Apache-2.0
"""Playbooks and versions in the admin: lists and pages to look at, and the acts on them as forms.

Nothing here writes but by the services; a published version is never edited, only cloned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse

from audit.shown import made_visible
from playbooks import views
from playbooks.connector_admin import ConnectorAdmin as ConnectorAdmin  # registers itself
from playbooks.models import Playbook, Version
from playbooks.rule_admin import RuleSetAdmin as RuleSetAdmin  # registers itself
from playbooks.version_pages import VersionedList, VersionList

Page = Callable[[HttpRequest, Any, Any], HttpResponse]


@admin.register(Playbook)
class PlaybookAdmin(VersionedList):
    list_display = ("slug", "shown_title", "newest", "draft_count", "open_runs", "owner_name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Playbook]:
        return super().get_queryset(request).select_related("owner").annotate(runs_open=_count_of_open_runs())

    def get_urls(self) -> list[Any]:
        return [*self.pages_of_row(version=self.new_version), *super().get_urls()]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(views.WRITE)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return views.new_page(request, self)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return views.playbook_page(request, self, self.seen(request, object_id))

    def new_version(self, request: HttpRequest, pk: int) -> HttpResponse:
        return views.new_version_page(request, self, self.seen(request, pk))

    @admin.display(description="runs under way")
    def open_runs(self, playbook: Any) -> int:
        return int(playbook.runs_open or 0)

    @admin.display(description="owner")
    def owner_name(self, playbook: Playbook) -> str | None:
        return made_visible(playbook.owner.get_username()) if playbook.owner else None


def _count_of_open_runs() -> Subquery:
    """A statement of its own beside the count of drafts: two joins would multiply each other."""
    versions = Version.objects.filter(playbook=OuterRef("pk")).order_by().values("playbook")
    return Subquery(versions.annotate(open=views.OPEN_RUNS).values("open"))


@admin.register(Version)
class VersionAdmin(VersionList):
    list_filter = ("state", ("playbook", admin.RelatedOnlyFieldListFilter))
    search_fields = ("playbook__slug", "digest")
    search_help_text = "Id of the playbook, or a digest"

    def get_urls(self) -> list[Any]:
        pages: dict[str, Page] = {
            "edit": views.edit_page,
            "clone": views.clone_page,
            "publish": views.publish_page,
            "retire": views.retire_page,
        }
        own = self.pages_of_row(**{name: self._of(page) for name, page in pages.items()})
        return [*own, *super().get_urls()]

    def _of(self, page: Page) -> Callable[..., HttpResponse]:
        def view(request: HttpRequest, pk: int) -> HttpResponse:
            return page(request, self, self.seen(request, pk))

        return view

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return views.version_page(request, self, self.seen(request, object_id))
