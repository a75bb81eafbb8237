# SPDX-License-Identifier: Apache-2.0
"""Playbooks and versions in the admin: lists and pages to look at, and the acts on them as forms.

Nothing here writes but by the services; a published version is never edited, only cloned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import path
from unfold.decorators import display

from audit.shown import made_visible
from config.admin import HistoryAdmin
from config.errors import Forbidden
from playbooks import views
from playbooks.connector_admin import ConnectorAdmin as ConnectorAdmin  # registers itself
from playbooks.models import Playbook, Version, VersionState
from playbooks.rule_admin import RuleSetAdmin as RuleSetAdmin  # registers itself

VERSION_COLOURS = {VersionState.DRAFT: "warning", VersionState.PUBLISHED: "success"}
Page = Callable[[HttpRequest, Any, Any], HttpResponse]


def viewed(owner: HistoryAdmin, request: HttpRequest, object_id: str) -> Any:
    """The row a page is about, for those who may see it."""
    if not owner.has_view_permission(request):
        raise Forbidden("You may not see playbooks.")
    return owner.find(request, object_id)


@admin.register(Playbook)
class PlaybookAdmin(HistoryAdmin):
    list_display = ("slug", "shown_title", "newest", "draft_count", "open_runs", "owner_name")
    search_fields = ("slug", "title")
    search_help_text = "Id or title"
    sortable_by = ("slug",)

    class Media:
        css = {"all": ("hms_act/pages.css", "audit/evidence.css")}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Playbook]:
        playbooks: QuerySet[Playbook] = super().get_queryset(request)
        return playbooks.select_related("owner").annotate(
            newest_published=_of_versions(Version.objects.filter(state=VersionState.PUBLISHED).order_by("-number")),
            drafts=Count("versions", filter=Q(versions__state=VersionState.DRAFT)),
            runs_open=_count_of_open_runs(),
        )

    def get_urls(self) -> list[Any]:
        new_version = self.admin_site.admin_view(self.new_version)
        return [path("<int:pk>/version/", new_version, name="playbooks_playbook_version"), *super().get_urls()]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(views.WRITE)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return views.new_page(request, self)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return views.playbook_page(request, self, viewed(self, request, object_id))

    def new_version(self, request: HttpRequest, pk: int) -> HttpResponse:
        return views.new_version_page(request, self, viewed(self, request, str(pk)))

    @admin.display(description="title")
    def shown_title(self, playbook: Playbook) -> str:
        return made_visible(playbook.title)

    @admin.display(description="newest published")
    def newest(self, playbook: Any) -> str | None:
        return f"v{playbook.newest_published}" if playbook.newest_published else None

    @admin.display(description="drafts")
    def draft_count(self, playbook: Any) -> int:
        return int(playbook.drafts)

    @admin.display(description="runs under way")
    def open_runs(self, playbook: Any) -> int:
        return int(playbook.runs_open or 0)

    @admin.display(description="owner")
    def owner_name(self, playbook: Playbook) -> str | None:
        return made_visible(playbook.owner.get_username()) if playbook.owner else None


def _of_versions(versions: QuerySet[Version]) -> Subquery:
    return Subquery(versions.filter(playbook=OuterRef("pk")).values("number")[:1])


def _count_of_open_runs() -> Subquery:
    """A statement of its own beside the count of drafts: two joins would multiply each other."""
    versions = Version.objects.filter(playbook=OuterRef("pk")).order_by().values("playbook")
    return Subquery(versions.annotate(open=views.OPEN_RUNS).values("open"))


@admin.register(Version)
class VersionAdmin(HistoryAdmin):
    list_display = ("name", "shown_state", "short_digest", "created_by", "published_at", "retired_at")
    list_filter = ("state", ("playbook", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("playbook", "created_by")
    sortable_by = ()
    search_fields = ("playbook__slug", "digest")
    search_help_text = "Id of the playbook, or a digest"

    class Media:
        css = {"all": ("hms_act/pages.css", "audit/evidence.css")}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Version]:
        versions: QuerySet[Version] = super().get_queryset(request)
        return versions.select_related("playbook", "created_by", "published_by")

    def get_urls(self) -> list[Any]:
        pages: dict[str, Page] = {
            "edit": views.edit_page,
            "clone": views.clone_page,
            "publish": views.publish_page,
            "retire": views.retire_page,
        }
        own = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(self._of(page)), name=f"playbooks_version_{name}")
            for name, page in pages.items()
        ]
        return [*own, *super().get_urls()]

    def _of(self, page: Page) -> Callable[..., HttpResponse]:
        def view(request: HttpRequest, pk: int) -> HttpResponse:
            return page(request, self, viewed(self, request, str(pk)))

        return view

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return views.version_page(request, self, viewed(self, request, object_id))

    @admin.display(description="version")
    def name(self, version: Version) -> str:
        return made_visible(str(version))

    @display(description="state", label=VERSION_COLOURS)
    def shown_state(self, version: Version) -> str:
        return version.state

    @admin.display(description="digest")
    def short_digest(self, version: Version) -> str:
        return version.digest[:16]
