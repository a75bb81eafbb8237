# SPDX-License-Identifier: Apache-2.0
"""Rule sets in the admin: what they say, their versions, and the acts on them as forms. The services decide."""

from __future__ import annotations

from typing import Any

import yaml
from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from accounts.models import User
from accounts.pages import actor_of
from config.admin import form_page, lacking
from config.errors import Forbidden
from playbooks import rule_services as services
from playbooks import rules as written
from playbooks.models import Concern, RuleSet, RuleSetVersion
from playbooks.rule_services import GOVERN, About
from playbooks.version_pages import Kind, VersionedPages, VersionPages, page_of, slug_field, text_field

EXAMPLE = """\
rules:
  - id: no-small-groups
    title: No group so small that people could be recognised
    when: data.AnalyzeData.smallest_group < 10
    result: FAIL
    because: Numbers about fewer than ten people tell who they are.
    evidence: [data.AnalyzeData.smallest_group]
"""


class AboutForm(forms.Form):
    title = forms.CharField(max_length=200, help_text="What people read.")
    concern = forms.ChoiceField(choices=Concern.choices)
    is_default = forms.BooleanField(
        label="Part of the default layer, which checks every governance step that names no rules", required=False
    )


class RulesForm(forms.Form):
    text = text_field("Rules")


class NewRuleSetForm(RulesForm, AboutForm):
    slug = slug_field("What a step's `rules` names.")
    field_order = ("slug", "title", "concern", "is_default", "text")


def as_text(version: RuleSetVersion) -> str:
    rules = [
        {name: value for name, value in rule.items() if value}
        for rule in written.as_json(written.of_stored(version.rules))
    ]
    return yaml.safe_dump({"rules": rules}, sort_keys=False, allow_unicode=True, width=110)


def _create(*, actor: User, slug: str, text: str, **about: Any) -> RuleSetVersion:
    return services.create_rule_set(actor=actor, slug=slug, about=About(**about), rules=written.parse(text))


def _add(*, actor: User, slug: str, text: str) -> RuleSetVersion:
    return services.add_rules(actor=actor, slug=slug, rules=written.parse(text))[0]


def _edit(*, actor: User, slug: str, number: int, text: str) -> RuleSetVersion:
    return services.edit_rules(actor=actor, slug=slug, number=number, rules=written.parse(text))


RULES = Kind(
    permission=GOVERN,
    intro="YAML or JSON. A rule fires where `when` is true; FAIL ends the step, ASK_HUMAN lets a person decide. It may "
    "read payload, data, steps, run, input and text. Nothing changes before the rules are published.",
    example=EXAMPLE,
    form=RulesForm,
    new_form=NewRuleSetForm,
    as_text=as_text,
    said=lambda version: {"rules": written.of_stored(version.rules)},
    create=_create,
    add=_add,
    edit=_edit,
    publish=services.publish_rules,
    retire=services.retire_rules,
    in_use="Every check from now on goes by it.",
    retire_button="Retire the rules",
    retire_intro="Checks use the newest version that is still published. Where none is, they find FAIL: nothing "
    "vouches for what nobody checks. Take the rule set out of the default layer to do without it.",
)


@admin.register(RuleSet)
class RuleSetAdmin(VersionedPages):
    kind = RULES
    template = "playbooks/rule_set.html"
    list_display = ("slug", "shown_title", "concern", "in_default_layer", "newest", "draft_count")
    list_filter = ("concern", "is_default")

    def get_urls(self) -> list[Any]:
        return [*self.pages_of_row(about=self.about), *super().get_urls()]

    def about(self, request: HttpRequest, pk: int) -> HttpResponse:
        rule_set: RuleSet = self.seen(request, pk)
        if why := lacking(request, GOVERN):
            raise Forbidden(why)
        held = {name: getattr(rule_set, name) for name in ("title", "concern", "is_default")}

        def change(given: dict[str, Any]) -> str:
            services.change_rule_set(actor=actor_of(request), slug=rule_set.slug, about=About(**given))
            return f"{given['title']} is changed. Every check from now on goes by it."

        return form_page(
            request,
            self,
            lambda given: AboutForm(given, initial=held),
            title=f"Change {rule_set}",
            button="Change the rule set",
            act=change,
            back=page_of(rule_set),
            intro="What it says is in its versions; this is about the rule set as a whole, and holds at once.",
        )

    @admin.display(description="default layer", boolean=True)
    def in_default_layer(self, rule_set: RuleSet) -> bool:
        return rule_set.is_default


@admin.register(RuleSetVersion)
class RuleSetVersionAdmin(VersionPages):
    kind = RULES
    template = "playbooks/rules.html"
    publish_template = "playbooks/publish_rules.html"
    list_filter = ("state", ("rule_set", admin.RelatedOnlyFieldListFilter))
    search_fields = ("rule_set__slug", "digest")
    search_help_text = "Id of the rule set, or a digest"
