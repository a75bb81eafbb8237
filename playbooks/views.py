# SPDX-License-Identifier: Apache-2.0
"""The pages of playbooks in the admin: look, write, clone, publish, retire. Each reads, calls one service, shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin

from accounts.pages import actor_of
from config.admin import admin_page, confirm_page, form_page, lacking
from config.api import MAX_BODY_BYTES, TooLarge
from config.errors import Forbidden, Refused
from playbooks import services
from playbooks.models import Playbook, Version, VersionState
from playbooks.parse import Parsed, parse
from playbooks.shown import shown
from playbooks.version_pages import page_of, text_field

WRITE, PUBLISH = "playbooks.write", "playbooks.publish"
# Counted by the moment of ending, because a run's states are words of a higher room.
OPEN_RUNS = Count("runs", filter=Q(runs__isnull=False, runs__ended_at__isnull=True))
EXAMPLE = """\
{
  "id": "my_playbook",
  "title": "My playbook",
  "steps": [
    {"id": "screen", "type": "agent", "role": "agent:validator"},
    {"id": "approve", "type": "human", "role": "human:clerk"}
  ]
}
"""


# Looking --------------------------------------------------------------------------------------------------


def playbook_page(request: HttpRequest, admin: ModelAdmin, playbook: Playbook) -> HttpResponse:
    versions = playbook.versions.select_related("created_by", "published_by").defer("document").order_by("-number")
    counted = list(versions.annotate(runs_made=Count("runs"), runs_open=OPEN_RUNS))
    newest_published = next((each for each in counted if each.state == VersionState.PUBLISHED), None)
    return admin_page(
        request,
        admin,
        "playbooks/playbook.html",
        title=str(playbook),
        original=playbook,
        playbook=playbook,
        versions=counted,
        newest=counted[0] if counted else None,
        newest_published=newest_published,
        why_not_write=lacking(request, WRITE),
    )


def version_page(request: HttpRequest, admin: ModelAdmin, version: Version) -> HttpResponse:
    runs = Version.objects.filter(pk=version.pk).aggregate(made=Count("runs"), open=OPEN_RUNS)
    return admin_page(
        request,
        admin,
        "playbooks/version.html",
        title=str(version),
        original=version,
        version=version,
        shown=shown(version),
        runs=runs,
        why_not_write=lacking(request, WRITE),
        why_not_publish=lacking(request, PUBLISH),
    )


# Writing --------------------------------------------------------------------------------------------------


class DocumentForm(forms.Form):
    """A document as text, typed or from a file. What is wrong with it is for the parser to say."""

    text = text_field("Document")
    upload = forms.FileField(label="or a file", required=False, help_text="JSON or YAML. It replaces the text above.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["text"].required = not self.files

    def document(self) -> str | bytes:
        """What was sent: the file, if there is one. Raises TooLarge."""
        given = self.cleaned_data["upload"]
        if given is None:
            text: str = self.cleaned_data["text"]
            return text
        if given.size > MAX_BODY_BYTES:
            raise TooLarge("The file is larger than 1 MiB.")
        content: bytes = given.read()
        return content


def document_page(
    request: HttpRequest,
    admin: ModelAdmin,
    *,
    title: str,
    button: str,
    text: str,
    save: Callable[[Parsed], Version],
    back: str,
    default_id: str = "",
    intro: str = "",
) -> HttpResponse:
    """GET shows the text; POST parses and saves it, and leads to the version.

    What the parser or the service refuses stands beside the text, which is kept as it was typed or uploaded.
    """
    if why := lacking(request, WRITE):
        raise Forbidden(why)
    sent = request.method == "POST"
    form = DocumentForm(request.POST, request.FILES) if sent else DocumentForm(initial={"text": text})
    refusal: Refused | None = None
    if sent and form.is_valid():
        try:
            given = form.document()
            text = given.decode("utf-8", "replace") if isinstance(given, bytes) else given
            version = save(parse(given, default_id=default_id))
        except Refused as refused:
            refusal = refused
            form = DocumentForm(initial={"text": text})
        else:
            messages.success(request, f"{version} is saved as a draft.")
            return HttpResponseRedirect(page_of(version))
    status = refusal.status if refusal else 422 if sent else 200
    shown_here = {"form": form, "refusal": refusal, "button": button, "back": back, "intro": intro}
    return admin_page(request, admin, "playbooks/document.html", title=title, status=status, **shown_here)


def new_page(request: HttpRequest, admin: ModelAdmin) -> HttpResponse:
    return document_page(
        request,
        admin,
        title="New playbook",
        button="Save as a draft",
        text=EXAMPLE,
        save=lambda parsed: services.create_playbook(actor=actor_of(request), parsed=parsed),
        back=reverse("admin:playbooks_playbook_changelist"),
        intro="JSON or YAML. Nothing starts on a draft; publish it when it says what you mean.",
    )


def new_version_page(request: HttpRequest, admin: ModelAdmin, playbook: Playbook) -> HttpResponse:
    newest = playbook.versions.order_by("-number").first()
    return document_page(
        request,
        admin,
        title=f"New version of {playbook}",
        button="Save as a draft",
        text=as_source(newest) if newest else EXAMPLE,
        save=lambda parsed: services.add_version(actor=actor_of(request), playbook=playbook.slug, parsed=parsed)[0],
        back=page_of(playbook),
        default_id=playbook.slug,
        intro="It begins with what the newest version says. A document that says the same makes no new version.",
    )


def edit_page(request: HttpRequest, admin: ModelAdmin, version: Version) -> HttpResponse:
    """The draft's text; for a published version, why it cannot be edited, and the way to change it all the same."""
    if version.state != VersionState.DRAFT and request.method != "POST":
        return admin_page(
            request,
            admin,
            "playbooks/frozen.html",
            title=f"{version} never changes",
            version=version,
            why_not_write=lacking(request, WRITE),
        )
    return document_page(
        request,
        admin,
        title=f"Edit {version}",
        button="Save the draft",
        text=as_source(version),
        save=lambda parsed: services.edit_draft(
            actor=actor_of(request), playbook=version.playbook.slug, number=version.number, parsed=parsed
        ),
        back=page_of(version),
        default_id=version.playbook.slug,
    )


def as_source(version: Version) -> str:
    return json.dumps(version.document, ensure_ascii=False, indent=2) + "\n"


# Acts on a version ----------------------------------------------------------------------------------------


def clone_page(request: HttpRequest, admin: ModelAdmin, version: Version) -> HttpResponse:
    def clone(given: Any) -> HttpResponse:
        draft = services.clone_version(actor=actor_of(request), playbook=version.playbook.slug, number=version.number)
        messages.success(request, f"{draft} is a draft that says what version {version.number} says.")
        return HttpResponseRedirect(page_of(draft))

    return form_page(
        request,
        admin,
        forms.Form,
        title=f"Clone {version}",
        button="Make the draft",
        act=clone,
        back=page_of(version),
        intro=(
            "A new draft with the next number, saying the same as this version. Edit it, then publish it: "
            "runs that started on this version finish on it."
        ),
    )


def publish_page(request: HttpRequest, admin: ModelAdmin, version: Version) -> HttpResponse:
    """GET shows what stands in the way and what to know before; POST publishes."""
    refusal: Refused | None = None
    if request.method == "POST":
        try:
            done = services.publish_version(
                actor=actor_of(request), playbook=version.playbook.slug, number=version.number
            )
        except Refused as refused:
            refusal = refused
        else:
            messages.success(request, f"{version} is published. New runs start on it.")
            for warning in done.warnings:
                messages.warning(request, f"{warning.path}: {warning.message} {warning.remedy}")
            return HttpResponseRedirect(page_of(version))
    published = version.playbook.versions.filter(state=VersionState.PUBLISHED).order_by("-number")
    return admin_page(
        request,
        admin,
        "playbooks/publish.html",
        title=f"Publish {version}",
        status=refusal.status if refusal else 200,
        version=version,
        shown=shown(version),
        refusal=refusal,
        replaces=published.exclude(pk=version.pk).first(),
        why_not=lacking(request, PUBLISH),
    )


def retire_page(request: HttpRequest, admin: ModelAdmin, version: Version) -> HttpResponse:
    def retire(reason: str) -> str:
        services.retire_version(
            actor=actor_of(request), playbook=version.playbook.slug, number=version.number, reason=reason
        )
        return f"{version} is retired."

    return confirm_page(
        request,
        admin,
        title=f"Retire {version}",
        button="Retire the version",
        act=retire,
        back=page_of(version),
        intro="No new run starts on it; those under way finish on it. A retired version does not come back: clone it.",
        danger=True,
    )
