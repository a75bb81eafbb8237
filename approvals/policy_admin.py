# SPDX-License-Identifier: Apache-2.0
"""Policies in the admin: what they say, their versions, and the acts on them as forms. The services decide."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import yaml
from django import forms
from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from unfold.decorators import display

from accounts.models import User
from approvals import policies, policy_document, policy_shown
from approvals.models import Policy, PolicyVersion
from approvals.policies import MANAGE
from approvals.policy import Policy as Rules
from audit.shown import made_visible
from config.admin import HistoryAdmin, admin_page, confirm_page
from config.errors import Forbidden, Refused
from playbooks.models import VersionState

STATE_COLOURS = {VersionState.DRAFT: "warning", VersionState.PUBLISHED: "success"}
EXAMPLE = """\
stages:
  - name: legal
    rules:
      - {role: "human:legal", approvals: 1}
  - name: two of the board
    rules:
      - {role: "human:board", approvals: 2}
reasons:
  on_approve_from: high
hold: 10m
"""
INTRO = (
    "YAML or JSON. Stages are worked through in order; in each, every rule needs its approvals. Nothing changes before "
    "the version is published, and requests keep the version they were made under."
)
OF_THE_STEP = "the role that is asked"


def manager(request: HttpRequest) -> User:
    return cast(User, request.user)


def lacking(request: HttpRequest) -> str:
    return "" if request.user.has_perm(MANAGE) else f"The permission {MANAGE} is needed."


def policy_url(policy: Policy) -> str:
    return reverse("admin:approvals_policy_change", args=[policy.pk])


def version_url(version: PolicyVersion) -> str:
    return reverse("admin:approvals_policyversion_change", args=[version.pk])


def as_text(version: PolicyVersion | None) -> str:
    if version is None:
        return ""
    return yaml.safe_dump(version.document, sort_keys=False, allow_unicode=True, width=110)


def in_words(version: PolicyVersion) -> list[str]:
    return [*policy_shown.in_words(_rules(version)), *policy_shown.cautions(_rules(version))]


def _rules(version: PolicyVersion) -> Rules:
    return policy_document.written(version.document, role=OF_THE_STEP)


class Changed(NamedTuple):
    kind: str  # "added", "removed" or "" for what stays
    text: str


def difference(before: PolicyVersion | None, after: PolicyVersion) -> list[Changed]:
    """Line by line; empty if they say the same."""
    kinds = {"+": "added", "-": "removed", " ": ""}
    lines = difflib.ndiff(as_text(before).splitlines(), as_text(after).splitlines())
    found = [Changed(kinds[line[0]], line[2:]) for line in lines if line[0] in kinds]
    return found if any(each.kind for each in found) else []


class DocumentForm(forms.Form):
    text = forms.CharField(
        label="Policy",
        strip=False,
        widget=forms.Textarea(attrs={"rows": 24, "spellcheck": "false", "class": "code", "wrap": "off"}),
    )


class NewPolicyForm(DocumentForm):
    slug = forms.RegexField(
        r"^[A-Za-z0-9_-]{1,60}\Z", label="Id", help_text="What playbooks and requests name. It cannot be changed later."
    )
    title = forms.CharField(max_length=200, help_text="What people read.")
    field_order = ("slug", "title", "text")


Save = Callable[[dict[str, Any]], PolicyVersion]


def document_page(
    request: HttpRequest,
    owner: HistoryAdmin,
    make_form: type[DocumentForm],
    *,
    title: str,
    text: str,
    save: Save,
    back: str,
) -> HttpResponse:
    """GET shows the text; POST judges and saves it, and leads to the version. What is refused stands beside it."""
    if why := lacking(request):
        raise Forbidden(why)
    sent = request.method == "POST"
    form = make_form(request.POST) if sent else make_form(initial={"text": text})
    refusal: Refused | None = None
    if sent and form.is_valid():
        try:
            version = save(form.cleaned_data)
        except Refused as refused:
            refusal = refused
        else:
            messages.success(request, f"{version} is saved. It is {version.state}.")
            return HttpResponseRedirect(version_url(version))
    status = refusal.status if refusal else 422 if sent else 200
    shown = {"form": form, "refusal": refusal, "button": "Save as a draft", "back": back, "intro": INTRO}
    return admin_page(request, owner, "playbooks/document.html", title=title, status=status, **shown)


def seen(owner: HistoryAdmin, request: HttpRequest, pk: Any) -> Any:
    """The row a page is about, for those who may see it."""
    if not owner.has_view_permission(request):
        raise Forbidden("You may not see policies.")
    return owner.find(request, str(pk))


@admin.register(Policy)
class PolicyAdmin(HistoryAdmin):
    list_display = ("slug", "shown_title", "newest")
    search_fields = ("slug", "title")
    search_help_text = "Id or title"
    sortable_by = ("slug",)

    class Media:
        css = {"all": ("hms_act/pages.css", "audit/evidence.css")}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Policy]:
        found: QuerySet[Policy] = super().get_queryset(request)
        published = PolicyVersion.objects.filter(policy=OuterRef("pk"), state=VersionState.PUBLISHED)
        return found.annotate(newest_published=Subquery(published.order_by("-number").values("number")[:1]))

    def get_urls(self) -> list[Any]:
        page = self.admin_site.admin_view(self.new_version)
        return [path("<int:pk>/version/", page, name="approvals_policy_version"), *super().get_urls()]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(MANAGE)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        def save(given: dict[str, Any]) -> PolicyVersion:
            about = {"slug": given["slug"], "title": given["title"]}
            return policies.create_policy(actor=manager(request), document=given["text"], **about)

        back = reverse("admin:approvals_policy_changelist")
        return document_page(request, self, NewPolicyForm, title="New policy", text=EXAMPLE, save=save, back=back)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        policy: Policy = seen(self, request, object_id)
        versions = list(policy.versions.select_related("policy", "created_by", "published_by").order_by("-number"))
        newest = next((each for each in versions if each.state == VersionState.PUBLISHED), None)
        return admin_page(
            request,
            self,
            "approvals/policy.html",
            title=str(policy),
            original=policy,
            policy=policy,
            versions=versions,
            newest_published=newest,
            sentences=in_words(newest) if newest else [],
            why_not=lacking(request),
        )

    def new_version(self, request: HttpRequest, pk: int) -> HttpResponse:
        policy: Policy = seen(self, request, pk)
        newest = policy.versions.order_by("-number").first()

        def save(given: dict[str, Any]) -> PolicyVersion:
            return policies.add_version(actor=manager(request), slug=policy.slug, document=given["text"])

        return document_page(
            request,
            self,
            DocumentForm,
            title=f"New version of {policy}",
            text=as_text(newest) or EXAMPLE,
            save=save,
            back=policy_url(policy),
        )

    @admin.display(description="title")
    def shown_title(self, policy: Policy) -> str:
        return made_visible(policy.title)

    @admin.display(description="newest published")
    def newest(self, policy: Any) -> str | None:
        return f"v{policy.newest_published}" if policy.newest_published else None


@admin.register(PolicyVersion)
class PolicyVersionAdmin(HistoryAdmin):
    list_display = ("name", "shown_state", "short_digest", "created_by", "published_at", "retired_at")
    list_filter = ("state", ("policy", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("policy", "created_by")
    sortable_by = ()
    search_fields = ("policy__slug", "digest")
    search_help_text = "Id of the policy, or a digest"

    class Media:
        css = {"all": ("hms_act/pages.css", "audit/evidence.css")}

    def get_queryset(self, request: HttpRequest) -> QuerySet[PolicyVersion]:
        versions: QuerySet[PolicyVersion] = super().get_queryset(request)
        return versions.select_related("policy", "created_by", "published_by")

    def get_urls(self) -> list[Any]:
        pages = {"edit": self.edit, "publish": self.publish, "retire": self.retire}
        own = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(page), name=f"approvals_policyversion_{name}")
            for name, page in pages.items()
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        version: PolicyVersion = seen(self, request, object_id)
        return admin_page(
            request,
            self,
            "approvals/policy_version.html",
            title=str(version),
            original=version,
            version=version,
            sentences=in_words(version),
            text=as_text(version),
            why_not=lacking(request),
        )

    def edit(self, request: HttpRequest, pk: int) -> HttpResponse:
        version: PolicyVersion = seen(self, request, pk)
        of, number = version.policy.slug, version.number

        def save(given: dict[str, Any]) -> PolicyVersion:
            return policies.edit_version(actor=manager(request), slug=of, number=number, document=given["text"])

        return document_page(
            request,
            self,
            DocumentForm,
            title=f"Edit {version}",
            text=as_text(version),
            save=save,
            back=version_url(version),
        )

    def publish(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET shows what will be different; POST publishes."""
        version: PolicyVersion = seen(self, request, pk)
        refusal: Refused | None = None
        if request.method == "POST":
            try:
                policies.publish_version(actor=manager(request), slug=version.policy.slug, number=version.number)
            except Refused as refused:
                refusal = refused
            else:
                messages.success(request, f"{version} is published. Requests made from now on go by it.")
                for caution in policy_shown.cautions(_rules(version)):
                    messages.warning(request, caution)
                return HttpResponseRedirect(version_url(version))
        published = version.policy.versions.filter(state=VersionState.PUBLISHED).exclude(pk=version.pk)
        before = published.select_related("policy").order_by("-number").first()
        return admin_page(
            request,
            self,
            "approvals/publish_policy.html",
            title=f"Publish {version}",
            status=refusal.status if refusal else 200,
            version=version,
            before=before,
            difference=difference(before, version),
            sentences=in_words(version),
            refusal=refusal,
            why_not=lacking(request),
        )

    def retire(self, request: HttpRequest, pk: int) -> HttpResponse:
        version: PolicyVersion = seen(self, request, pk)

        def retire(reason: str) -> str:
            policies.retire_version(
                actor=manager(request), slug=version.policy.slug, number=version.number, reason=reason
            )
            return f"{version} is retired."

        return confirm_page(
            request,
            self,
            title=f"Retire {version}",
            button="Retire the policy",
            act=retire,
            back=version_url(version),
            intro="Later requests use the newest version that is still published. Where none is, a playbook that names "
            "the policy cannot ask, and its step becomes an incident. Requests made under this version keep it.",
            danger=True,
        )

    @admin.display(description="version")
    def name(self, version: PolicyVersion) -> str:
        return made_visible(str(version))

    @display(description="state", label=STATE_COLOURS)
    def shown_state(self, version: PolicyVersion) -> str:
        return version.state

    @admin.display(description="digest")
    def short_digest(self, version: PolicyVersion) -> str:
        return version.digest[:16]
