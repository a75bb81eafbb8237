# SPDX-License-Identifier: Apache-2.0
"""`/acts/rulesets…`: the rules that governance steps check."""

from __future__ import annotations

from typing import Any

from django.core.validators import RegexValidator
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.calls import Call
from config.api import NothingIn, TextField, TruthField, validated
from config.errors import NotFound
from config.lists import CursorPages
from config.openapi import described, listed
from playbooks import described as shown
from playbooks import rule_services as services
from playbooks import rules as written
from playbooks.models import Concern, RuleSet, RuleSetVersion, VersionState


class RulesVersionOut(serializers.Serializer[Any]):
    version = serializers.IntegerField(source="number")
    state = serializers.ChoiceField(choices=VersionState.choices)
    digest = serializers.CharField()
    rules = serializers.ListField(child=serializers.DictField())
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)
    published_at = serializers.DateTimeField(allow_null=True)
    published_by = serializers.CharField(source="published_by.username", default=None, allow_null=True)
    retired_at = serializers.DateTimeField(allow_null=True)


class RuleSetOut(serializers.Serializer[Any]):
    id = serializers.CharField(source="slug")
    title = serializers.CharField()
    concern = serializers.ChoiceField(choices=Concern.choices)
    is_default = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    current_version = serializers.SerializerMethodField()
    versions = RulesVersionOut(many=True)

    def get_current_version(self, rule_set: RuleSet) -> int | None:
        """The newest published one: what checks use."""
        published = [each.number for each in rule_set.versions.all() if each.state == VersionState.PUBLISHED]
        return max(published, default=None)


class RulesField(serializers.JSONField):
    """Judged by `playbooks/rules.py`, which names each fault."""


class RuleSetIn(serializers.Serializer[Any]):
    id = TextField(max_length=60, validators=[RegexValidator(r"^[A-Za-z0-9_-]+\Z")])
    title = TextField(max_length=200)
    concern = serializers.ChoiceField(choices=Concern.choices)
    is_default = TruthField(required=False, default=False)
    rules = RulesField(allow_null=True)


class RulesIn(serializers.Serializer[Any]):
    rules = RulesField(allow_null=True)


class RetireRulesIn(serializers.Serializer[Any]):
    reason = TextField(required=False, default="", allow_blank=True, max_length=10_000)


def _rule_set(slug: str) -> RuleSet:
    found = services.rule_sets().filter(slug=slug).first()
    if found is None:
        raise NotFound(f"There is no rule set {slug!r}.")
    return found


def _version(slug: str, number: int) -> RuleSetVersion:
    versions = RuleSetVersion.objects.select_related("created_by", "published_by")
    found = versions.filter(rule_set__slug=slug, number=number).first()
    if found is None:
        raise NotFound(f"There is no version {number} of a rule set {slug!r}.")
    return found


@listed("list_rule_sets", "List the rule sets", RuleSetOut, shows=shown.RULE_SET)
class RuleSets(Call, ListAPIView[RuleSet]):
    """GET /acts/rulesets: all of them. POST: a new one, whose rules are a draft; 409 `rule_set_exists`."""

    serializer_class = RuleSetOut
    pagination_class = CursorPages

    def get_queryset(self) -> QuerySet[RuleSet]:
        return services.rule_sets()

    @described(
        "create_rule_set",
        "Make a rule set with a draft of its rules",
        about="No check uses the rules before they are published.",
        asks=RuleSetIn,
        example=shown.NEW_RULE_SET,
        answers={201: RuleSetOut},
        shows=shown.RULE_SET,
        refuses=("rule_set_exists", "invalid_rules"),
    )
    def post(self, request: Request) -> Response:
        given = validated(RuleSetIn, request.data)
        about = services.About(given["title"], given["concern"], given["is_default"])
        rules = written.parse_data({"rules": given["rules"]})
        services.create_rule_set(actor=self.actor, slug=given["id"], about=about, rules=rules)
        return Response(RuleSetOut(_rule_set(given["id"])).data, status=201)


class OneRuleSet(Call):
    """GET /acts/rulesets/{id}."""

    @described("get_rule_set", "See a rule set and its versions", answers={200: RuleSetOut}, shows=shown.RULE_SET)
    def get(self, request: Request, rule_set: str) -> Response:
        return Response(RuleSetOut(_rule_set(rule_set)).data)


class RulesVersions(Call):
    """POST /acts/rulesets/{id}/versions: a draft of other rules.

    201 with the draft; 200 with the newest version if it says the same already.
    """

    @described(
        "add_rules",
        "Add a version of the rules as a draft",
        asks=RulesIn,
        example=shown.OTHER_RULES,
        answers={201: RulesVersionOut, 200: RulesVersionOut},
        shows=shown.RULES,
        refuses=("invalid_rules",),
    )
    def post(self, request: Request, rule_set: str) -> Response:
        rules = written.parse_data({"rules": validated(RulesIn, request.data)["rules"]})
        version, made = services.add_rules(actor=self.actor, slug=rule_set, rules=rules)
        return Response(RulesVersionOut(_version(rule_set, version.number)).data, status=201 if made else 200)


class OneRules(Call):
    """GET /acts/rulesets/{id}/versions/{n}. PUT replaces the rules of a draft; 409 for published ones."""

    @described("get_rules", "See a version of the rules", answers={200: RulesVersionOut}, shows=shown.RULES)
    def get(self, request: Request, rule_set: str, number: int) -> Response:
        return Response(RulesVersionOut(_version(rule_set, number)).data)

    @described(
        "edit_rules",
        "Replace the rules of a draft",
        about="Published rules never change: add a version, and publish that.",
        asks=RulesIn,
        example=shown.OTHER_RULES,
        answers={200: RulesVersionOut},
        shows=shown.RULES,
        refuses=("invalid_rules", "rules_published"),
    )
    def put(self, request: Request, rule_set: str, number: int) -> Response:
        rules = written.parse_data({"rules": validated(RulesIn, request.data)["rules"]})
        services.edit_rules(actor=self.actor, slug=rule_set, number=int(number), rules=rules)
        return Response(RulesVersionOut(_version(rule_set, number)).data)


class PublishRules(Call):
    """POST /acts/rulesets/{id}/versions/{n}/publish: every check from now on uses them."""

    @described(
        "publish_rules",
        "Publish a version of the rules",
        asks=NothingIn,
        example={},
        answers={200: RulesVersionOut},
        shows=shown.PUBLISHED_RULES,
        refuses=("wrong_state",),
    )
    def post(self, request: Request, rule_set: str, number: int) -> Response:
        validated(NothingIn, request.data)
        services.publish_rules(actor=self.actor, slug=rule_set, number=int(number))
        return Response(RulesVersionOut(_version(rule_set, number)).data)


class RetireRules(Call):
    """POST /acts/rulesets/{id}/versions/{n}/retire: checks use the version before, if one is published."""

    @described(
        "retire_rules",
        "Retire a version of the rules",
        asks=RetireRulesIn,
        example=shown.RETIRE,
        answers={200: RulesVersionOut},
        shows=shown.RETIRED_RULES,
        refuses=("wrong_state",),
    )
    def post(self, request: Request, rule_set: str, number: int) -> Response:
        given = validated(RetireRulesIn, request.data)
        services.retire_rules(actor=self.actor, slug=rule_set, number=int(number), **given)
        return Response(RulesVersionOut(_version(rule_set, number)).data)
