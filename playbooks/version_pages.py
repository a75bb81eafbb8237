# SPDX-License-Identifier: Apache-2.0
"""Whatever has versions in the admin: its list and that of its versions, and the pages on which text becomes a version.

Playbooks, rule sets and policies have the lists in common. Rule sets and policies have the pages in common, too: what
a `Kind` of them says of itself is all in which they differ.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Max, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import display

from accounts.pages import actor_of
from audit.shown import made_visible
from config.admin import HistoryAdmin, admin_page, confirm_page, lacking
from config.errors import Forbidden, Refused
from playbooks.models import VersionState

COLOURS = {VersionState.DRAFT: "warning", VersionState.PUBLISHED: "success"}
SLUG = r"^[A-Za-z0-9_-]{1,60}\Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What the pages of one kind must know of it. Each act is a service's; the text is as it was typed."""

    permission: str  # for every act
    intro: str  # above the text
    example: str  # what the text of a new one begins with
    form: type[forms.Form]  # `text`, of a further version
    new_form: type[forms.Form]  # of the thing and its first version
    as_text: Callable[[Any], str]  # a version, as its author would write it
    said: Callable[[Any], dict[str, Any]]  # a version, for the templates
    create: Callable[..., Any]  # (actor, and what was typed): the first draft
    add: Callable[..., Any]  # (actor, slug, text): a draft
    edit: Callable[..., Any]  # (actor, slug, number, text): the draft
    publish: Callable[..., Any]  # (actor, slug, number)
    retire: Callable[..., Any]  # (actor, slug, number, reason)
    in_use: str  # what follows from publishing
    cautions: Callable[[Any], Sequence[str]] = lambda version: ()  # what whoever publishes it is to know
    retire_button: str
    retire_intro: str


# What is typed --------------------------------------------------------------------------------------------


def text_field(label: str, *, rows: int = 28) -> forms.CharField:
    """For a document, whose lines are not to be broken."""
    attributes = {"rows": rows, "spellcheck": "false", "class": "code", "wrap": "off"}
    return forms.CharField(label=label, strip=False, widget=forms.Textarea(attrs=attributes))


def slug_field(help_text: str) -> forms.RegexField:
    return forms.RegexField(SLUG, label="Id", help_text=f"{help_text} It cannot be changed later.")


def page_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def document_page(
    request: HttpRequest,
    owner: HistoryAdmin,
    kind: Kind,
    form_class: type[forms.Form],
    save: Callable[[dict[str, Any]], Any],
    *,
    title: str,
    text: str,
    back: str,
) -> HttpResponse:
    """GET shows the text; POST saves it, and leads to the version. What is refused stands beside it."""
    if why := lacking(request, kind.permission):
        raise Forbidden(why)
    sent = request.method == "POST"
    form = form_class(request.POST) if sent else form_class(initial={"text": text})
    refusal: Refused | None = None
    if sent and form.is_valid():
        try:
            version = save(form.cleaned_data)
        except Refused as refused:
            refusal = refused
        else:
            messages.success(request, f"{version} is saved. It is {version.state}.")
            return HttpResponseRedirect(page_of(version))
    status = refusal.status if refusal else 422 if sent else 200
    shown = {"form": form, "refusal": refusal, "button": "Save as a draft", "back": back, "intro": kind.intro}
    return admin_page(request, owner, "playbooks/document.html", title=title, status=status, **shown)


class Changed(NamedTuple):
    kind: str  # "added", "removed" or "" for what stays
    text: str


def difference(before: str, after: str) -> list[Changed]:
    """Line by line; empty if they say the same."""
    kinds = {"+": "added", "-": "removed", " ": ""}
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    found = [Changed(kinds[line[0]], line[2:]) for line in lines if line[0] in kinds]
    return found if any(each.kind for each in found) else []


# What has versions ----------------------------------------------------------------------------------------


class VersionedList(HistoryAdmin):
    """The list of what has versions, with the newest that is published."""

    search_fields = ("slug", "title")
    search_help_text = "Id or title"
    sortable_by = ("slug",)

    class Media:
        css = {"all": ("hms_act/pages.css", "audit/evidence.css")}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found: QuerySet[Any] = super().get_queryset(request)
        return found.annotate(
            newest_published=Max("versions__number", filter=Q(versions__state=VersionState.PUBLISHED)),
            drafts=Count("versions", filter=Q(versions__state=VersionState.DRAFT)),
        )

    @admin.display(description="title")
    def shown_title(self, row: Any) -> str:
        return made_visible(row.title)

    @admin.display(description="newest published")
    def newest(self, row: Any) -> str | None:
        return f"v{row.newest_published}" if row.newest_published else None

    @admin.display(description="drafts")
    def draft_count(self, row: Any) -> int:
        return int(row.drafts)


class VersionedPages(VersionedList):
    """The page of one of them, and the pages on which it and its further versions are written."""

    kind: Kind
    template: str  # extends playbooks/versions/thing.html

    def get_urls(self) -> list[Any]:
        return [*self.pages_of_row(version=self.new_version), *super().get_urls()]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(self.kind.permission)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        def save(given: dict[str, Any]) -> Any:
            return self.kind.create(actor=actor_of(request), **given)

        return document_page(
            request,
            self,
            self.kind,
            self.kind.new_form,
            save,
            title=f"New {self.opts.verbose_name}",
            text=self.kind.example,
            back=reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"),
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        row = self.seen(request, object_id)
        versions = list(row.versions.select_related("created_by", "published_by").order_by("-number"))
        newest = next((each for each in versions if each.state == VersionState.PUBLISHED), None)
        return admin_page(
            request,
            self,
            self.template,
            title=str(row),
            original=row,
            thing=row,
            versions=versions,
            version_opts=row.versions.model._meta,
            newest_published=newest,
            why_not=lacking(request, self.kind.permission),
            **self.kind.said(newest) if newest else {},
        )

    def new_version(self, request: HttpRequest, pk: int) -> HttpResponse:
        row = self.seen(request, pk)
        newest = row.versions.order_by("-number").first()

        def save(given: dict[str, Any]) -> Any:
            return self.kind.add(actor=actor_of(request), slug=row.slug, **given)

        return document_page(
            request,
            self,
            self.kind,
            self.kind.form,
            save,
            title=f"New version of {row}",
            text=(newest and self.kind.as_text(newest)) or self.kind.example,
            back=page_of(row),
        )


# Versions -------------------------------------------------------------------------------------------------


class VersionList(HistoryAdmin):
    """The list of the versions of all things of a kind."""

    list_display = ("name", "shown_state", "short_digest", "created_by", "published_at", "retired_at")
    sortable_by = ()

    class Media:
        css = {"all": ("hms_act/pages.css", "audit/evidence.css")}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related(self.model.of, "created_by", "published_by")

    def name_of_rows(self) -> str:
        thing: Any = self.opts.get_field(self.model.of).related_model
        return str(thing._meta.verbose_name_plural)

    @admin.display(description="version")
    def name(self, version: Any) -> str:
        return made_visible(str(version))

    @display(description="state", label=COLOURS)
    def shown_state(self, version: Any) -> str:
        return str(version.state)

    @admin.display(description="digest")
    def short_digest(self, version: Any) -> str:
        return str(version.digest[:16])


class VersionPages(VersionList):
    """The page of one version, and the pages of the acts on it."""

    kind: Kind
    template: str  # extends playbooks/versions/version.html
    publish_template: str  # extends playbooks/versions/publish.html

    def get_urls(self) -> list[Any]:
        own = self.pages_of_row(edit=self.edit, publish=self.publish, retire=self.retire)
        return [*own, *super().get_urls()]

    def names(self, request: HttpRequest, version: Any) -> Mapping[str, Any]:
        """Who acts, and on which version, as the services are told."""
        return {"actor": actor_of(request), "slug": version.thing.slug, "number": version.number}

    def version_page(self, request: HttpRequest, template: str, version: Any, **context: Any) -> HttpResponse:
        why_not = lacking(request, self.kind.permission)
        thing_opts = version.thing._meta
        shown = {"version": version, "thing": version.thing, "thing_opts": thing_opts, "why_not": why_not}
        return admin_page(request, self, template, **{**self.kind.said(version), **shown, **context})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        version = self.seen(request, object_id)
        return self.version_page(request, self.template, version, title=str(version), original=version)

    def edit(self, request: HttpRequest, pk: int) -> HttpResponse:
        version = self.seen(request, pk)

        def save(given: dict[str, Any]) -> Any:
            return self.kind.edit(**self.names(request, version), **given)

        return document_page(
            request,
            self,
            self.kind,
            self.kind.form,
            save,
            title=f"Edit {version}",
            text=self.kind.as_text(version),
            back=page_of(version),
        )

    def publish(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET shows what will be different; POST publishes."""
        version = self.seen(request, pk)
        refusal: Refused | None = None
        if request.method == "POST":
            try:
                self.kind.publish(**self.names(request, version))
            except Refused as refused:
                refusal = refused
            else:
                messages.success(request, f"{version} is published. {self.kind.in_use}")
                for caution in self.kind.cautions(version):
                    messages.warning(request, caution)
                return HttpResponseRedirect(page_of(version))
        published = version.thing.versions.filter(state=VersionState.PUBLISHED).exclude(pk=version.pk)
        before = published.order_by("-number").first()
        return self.version_page(
            request,
            self.publish_template,
            version,
            title=f"Publish {version}",
            status=refusal.status if refusal else 200,
            before=before,
            difference=difference(self.kind.as_text(before) if before else "", self.kind.as_text(version)),
            refusal=refusal,
        )

    def retire(self, request: HttpRequest, pk: int) -> HttpResponse:
        version = self.seen(request, pk)

        def retire(reason: str) -> str:
            self.kind.retire(**self.names(request, version), reason=reason)
            return f"{version} is retired."

        return confirm_page(
            request,
            self,
            title=f"Retire {version}",
            button=self.kind.retire_button,
            act=retire,
            back=page_of(version),
            intro=self.kind.retire_intro,
            danger=True,
        )
