# SPDX-License-Identifier: Apache-2.0
"""Rule sets in the admin: what they say, their versions, and the acts on them as forms. The services decide."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import yaml
from django import forms
from django.contrib import admin, messages
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from unfold.decorators import display

from accounts.models import User
from audit.shown import made_visible
from config.admin import HistoryAdmin, admin_page, confirm_page, form_page
from config.errors import Forbidden, Refused
from playbooks import rule_services as services
from playbooks import rules as written
from playbooks.models import Concern, RuleSet, RuleSetVersion, VersionState
from playbooks.rule_services import GOVERN, About
from playbooks.rules import Rule

STATE_COLOURS = {VersionState.DRAFT: "warning", VersionState.PUBLISHED: "success"}
EXAMPLE = """\
rules:
  - id: no-small-groups
    title: No group so small that people could be recognised
    when: data.AnalyzeData.smallest_group < 10
    result: FAIL
    because: Numbers about fewer than ten people tell who they are.
    evidence: [data.AnalyzeData.smallest_group]
"""
INTRO = (
    "YAML or JSON. A rule fires where `when` is true; FAIL ends the step, ASK_HUMAN lets a person decide. It may read "
    "payload, data, steps, run, input and text. Nothing changes before the rules are published."
)


def governor(request: HttpRequest) -> User:
    """Who is at the page; the admin lets only people in who are logged in."""
    return cast(User, request.user)


def rule_set_url(rule_set: RuleSet) -> str:
    return reverse("admin:playbooks_ruleset_change", args=[rule_set.pk])


def version_url(version: RuleSetVersion) -> str:
    return reverse("admin:playbooks_rulesetversion_change", args=[version.pk])


def lacking(request: HttpRequest) -> str:
    return "" if request.user.has_perm(GOVERN) else f"The permission {GOVERN} is needed."


def as_text(version: RuleSetVersion | None) -> str:
    """The rules as their author would write them."""
    if version is None:
        return ""
    rules = [
        {name: value for name, value in rule.items() if value}
        for rule in written.as_json(written.of_stored(version.rules))
    ]
    return yaml.safe_dump({"rules": rules}, sort_keys=False, allow_unicode=True, width=110)


class Changed(NamedTuple):
    kind: str  # "added", "removed" or "" for what stays
    text: str


def difference(before: RuleSetVersion | None, after: RuleSetVersion) -> list[Changed]:
    """Line by line; empty if they say the same."""
    lines = list(difflib.ndiff(as_text(before).splitlines(), as_text(after).splitlines()))
    kinds = {"+": "added", "-": "removed", " ": ""}
    found = [Changed(kinds[line[0]], line[2:]) for line in lines if line[0] in kinds]
    return found if any(each.kind for each in found) else []


# The forms ------------------------------------------------------------------------------------------------


class AboutForm(forms.Form):
    title = forms.CharField(max_length=200, help_text="What people read.")
    concern = forms.ChoiceField(choices=Concern.choices)
    is_default = forms.BooleanField(
        label="Part of the default layer, which checks every governance step that names no rules", required=False
    )

    def about(self) -> About:
        given = self.cleaned_data
        return About(given["title"], given["concern"], given["is_default"])


class RulesForm(forms.Form):
    text = forms.CharField(
        label="Rules",
        strip=False,
        widget=forms.Textarea(attrs={"rows": 28, "spellcheck": "false", "class": "code", "wrap": "off"}),
    )


class NewRuleSetForm(RulesForm, AboutForm):
    slug = forms.RegexField(
        r"^[A-Za-z0-9_-]{1,60}\Z", label="Id", help_text="What a step's `rules` names. It cannot be changed later."
    )
    field_order = ("slug", "title", "concern", "is_default", "text")


Save = Callable[[Any, tuple[Rule, ...]], RuleSetVersion]


def rules_page(
    request: HttpRequest,
    owner: HistoryAdmin,
    make_form: type[RulesForm],
    *,
    title: str,
    text: str,
    save: Save,
    back: str,
) -> HttpResponse:
    """GET shows the text; POST parses and saves it, and leads to the version. What is refused stands beside it."""
    if why := lacking(request):
        raise Forbidden(why)
    sent = request.method == "POST"
    form = make_form(request.POST) if sent else make_form(initial={"text": text})
    refusal: Refused | None = None
    if sent and form.is_valid():
        try:
            version = save(form, written.parse(form.cleaned_data["text"]))
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
        raise Forbidden("You may not see rule sets.")
    return owner.find(request, str(pk))


# Rule sets ------------------------------------------------------------------------------------------------


@admin.register(RuleSet)
class RuleSetAdmin(HistoryAdmin):
    list_display = ("slug", "shown_title", "concern", "in_default_layer", "newest", "draft_count")
    list_filter = ("concern", "is_default")
    search_fields = ("slug", "title")
    search_help_text = "Id or title"
    sortable_by = ("slug",)

    class Media:
        css = {"all": ("hms_act/pages.css", "audit/evidence.css")}

    def get_queryset(self, request: HttpRequest) -> QuerySet[RuleSet]:
        rule_sets: QuerySet[RuleSet] = super().get_queryset(request)
        published = RuleSetVersion.objects.filter(rule_set=OuterRef("pk"), state=VersionState.PUBLISHED)
        return rule_sets.annotate(
            newest_published=Subquery(published.order_by("-number").values("number")[:1]),
            drafts=Count("versions", filter=Q(versions__state=VersionState.DRAFT)),
        )

    def get_urls(self) -> list[Any]:
        pages = {"about": self.about, "version": self.new_version}
        own = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(page), name=f"playbooks_ruleset_{name}")
            for name, page in pages.items()
        ]
        return [*own, *super().get_urls()]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(GOVERN)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        def save(form: Any, rules: tuple[Rule, ...]) -> RuleSetVersion:
            return services.create_rule_set(
                actor=governor(request), slug=form.cleaned_data["slug"], about=form.about(), rules=rules
            )

        back = reverse("admin:playbooks_ruleset_changelist")
        return rules_page(request, self, NewRuleSetForm, title="New rule set", text=EXAMPLE, save=save, back=back)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        rule_set: RuleSet = seen(self, request, object_id)
        versions = list(rule_set.versions.select_related("created_by", "published_by").order_by("-number"))
        newest = next((each for each in versions if each.state == VersionState.PUBLISHED), None)
        return admin_page(
            request,
            self,
            "playbooks/rule_set.html",
            title=str(rule_set),
            original=rule_set,
            rule_set=rule_set,
            versions=versions,
            newest_published=newest,
            rules=written.of_stored(newest.rules) if newest else (),
            why_not=lacking(request),
        )

    def new_version(self, request: HttpRequest, pk: int) -> HttpResponse:
        rule_set: RuleSet = seen(self, request, pk)
        newest = rule_set.versions.order_by("-number").first()

        def save(form: Any, rules: tuple[Rule, ...]) -> RuleSetVersion:
            return services.add_rules(actor=governor(request), slug=rule_set.slug, rules=rules)[0]

        return rules_page(
            request,
            self,
            RulesForm,
            title=f"New version of {rule_set}",
            text=as_text(newest) or EXAMPLE,
            save=save,
            back=rule_set_url(rule_set),
        )

    def about(self, request: HttpRequest, pk: int) -> HttpResponse:
        rule_set: RuleSet = seen(self, request, pk)
        if why := lacking(request):
            raise Forbidden(why)
        held = {name: getattr(rule_set, name) for name in ("title", "concern", "is_default")}

        def change(given: dict[str, Any]) -> str:
            services.change_rule_set(actor=governor(request), slug=rule_set.slug, about=About(**given))
            return f"{given['title']} is changed. Every check from now on goes by it."

        return form_page(
            request,
            self,
            lambda given: AboutForm(given, initial=held),
            title=f"Change {rule_set}",
            button="Change the rule set",
            act=change,
            back=rule_set_url(rule_set),
            intro="What it says is in its versions; this is about the rule set as a whole, and holds at once.",
        )

    @admin.display(description="title")
    def shown_title(self, rule_set: RuleSet) -> str:
        return made_visible(rule_set.title)

    @admin.display(description="default layer", boolean=True)
    def in_default_layer(self, rule_set: RuleSet) -> bool:
        return rule_set.is_default

    @admin.display(description="newest published")
    def newest(self, rule_set: Any) -> str | None:
        return f"v{rule_set.newest_published}" if rule_set.newest_published else None

    @admin.display(description="drafts")
    def draft_count(self, rule_set: Any) -> int:
        return int(rule_set.drafts)


# Versions -------------------------------------------------------------------------------------------------


@admin.register(RuleSetVersion)
class RuleSetVersionAdmin(HistoryAdmin):
    list_display = ("name", "shown_state", "short_digest", "created_by", "published_at", "retired_at")
    list_filter = ("state", ("rule_set", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("rule_set", "created_by")
    sortable_by = ()
    search_fields = ("rule_set__slug", "digest")
    search_help_text = "Id of the rule set, or a digest"

    class Media:
        css = {"all": ("hms_act/pages.css", "audit/evidence.css")}

    def get_queryset(self, request: HttpRequest) -> QuerySet[RuleSetVersion]:
        versions: QuerySet[RuleSetVersion] = super().get_queryset(request)
        return versions.select_related("rule_set", "created_by", "published_by")

    def get_urls(self) -> list[Any]:
        pages = {"edit": self.edit, "publish": self.publish, "retire": self.retire}
        own = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(page), name=f"playbooks_rulesetversion_{name}")
            for name, page in pages.items()
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        version: RuleSetVersion = seen(self, request, object_id)
        return admin_page(
            request,
            self,
            "playbooks/rules.html",
            title=str(version),
            original=version,
            version=version,
            rules=written.of_stored(version.rules),
            why_not=lacking(request),
        )

    def edit(self, request: HttpRequest, pk: int) -> HttpResponse:
        version: RuleSetVersion = seen(self, request, pk)
        of, number = version.rule_set.slug, version.number

        def save(form: Any, rules: tuple[Rule, ...]) -> RuleSetVersion:
            return services.edit_rules(actor=governor(request), slug=of, number=number, rules=rules)

        return rules_page(
            request,
            self,
            RulesForm,
            title=f"Edit {version}",
            text=as_text(version),
            save=save,
            back=version_url(version),
        )

    def publish(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET shows what will be different; POST publishes."""
        version: RuleSetVersion = seen(self, request, pk)
        refusal: Refused | None = None
        if request.method == "POST":
            try:
                services.publish_rules(actor=governor(request), slug=version.rule_set.slug, number=version.number)
            except Refused as refused:
                refusal = refused
            else:
                messages.success(request, f"{version} is published. Every check from now on goes by it.")
                return HttpResponseRedirect(version_url(version))
        published = version.rule_set.versions.filter(state=VersionState.PUBLISHED).exclude(pk=version.pk)
        before = published.select_related("rule_set").order_by("-number").first()
        return admin_page(
            request,
            self,
            "playbooks/publish_rules.html",
            title=f"Publish {version}",
            status=refusal.status if refusal else 200,
            version=version,
            before=before,
            difference=difference(before, version),
            refusal=refusal,
            why_not=lacking(request),
        )

    def retire(self, request: HttpRequest, pk: int) -> HttpResponse:
        version: RuleSetVersion = seen(self, request, pk)

        def retire(reason: str) -> str:
            services.retire_rules(
                actor=governor(request), slug=version.rule_set.slug, number=version.number, reason=reason
            )
            return f"{version} is retired."

        return confirm_page(
            request,
            self,
            title=f"Retire {version}",
            button="Retire the rules",
            act=retire,
            back=version_url(version),
            intro="Checks use the newest version that is still published. Where none is, they find FAIL: nothing "
            "vouches for what nobody checks. Take the rule set out of the default layer to do without it.",
            danger=True,
        )

    @admin.display(description="version")
    def name(self, version: RuleSetVersion) -> str:
        return made_visible(str(version))

    @display(description="state", label=STATE_COLOURS)
    def shown_state(self, version: RuleSetVersion) -> str:
        return version.state

    @admin.display(description="digest")
    def short_digest(self, version: RuleSetVersion) -> str:
        return version.digest[:16]
