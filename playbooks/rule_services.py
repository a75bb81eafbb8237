# SPDX-License-Identifier: Apache-2.0
"""The acts on rule sets: write a draft, publish it, retire it. A published version never changes.

Administrators alone do them (`playbooks.govern`): a rule that is changed changes what every later check finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Prefetch, Q, QuerySet

from accounts.models import User
from audit import actions
from audit.services import Line, act, record
from config import clock
from config.errors import Forbidden, Invalid, Problem, Refused
from playbooks import rules as written
from playbooks.governance import Checked
from playbooks.models import Concern, RuleSet, RuleSetVersion, VersionState
from playbooks.rules import Rule
from playbooks.version_acts import locked, publish, retire, version_of

GOVERN = "playbooks.govern"


class RuleSetExists(Refused):
    """A rule set with this id exists. Add a version: POST /acts/rulesets/{id}/versions."""

    code = "rule_set_exists"


class RulesNeverChange(Refused):
    """Published rules never change. Add a version with the rules as they shall be, and publish it."""

    code = "rules_published"


@dataclass(frozen=True, slots=True)
class About:
    """What a rule set is about, apart from its rules: it may change without a new version."""

    title: str
    concern: str
    is_default: bool = False


@act(actions.RULE_SET_CHANGE_DENIED)
def create_rule_set(*, actor: User, slug: str, about: About, rules: Sequence[Rule]) -> RuleSetVersion:
    """Make a rule set with its first draft. Raises Forbidden, RuleSetExists, Invalid."""
    _require(actor)
    at = clock.now()
    rule_set = _described(RuleSet(slug=slug, created_at=at), about)
    try:
        with transaction.atomic():
            rule_set.save(force_insert=True)
    except IntegrityError:
        raise RuleSetExists(f"There is a rule set {slug!r}. Add a version to it.")
    facts = {"concern": about.concern, "default": about.is_default}
    record([Line(actions.RULE_SET_CREATED, rule_set.audit_subject(), actor, at, data=facts)])
    return _new_draft(rule_set, rules, number=1, actor=actor)


@act(actions.RULE_SET_CHANGE_DENIED)
def change_rule_set(*, actor: User, slug: str, about: About) -> RuleSet:
    """Give it another title or concern, or take it into the default layer or out of it. Raises Forbidden, NotFound."""
    _require(actor)
    rule_set = locked(RuleSet, slug)
    before = About(rule_set.title, rule_set.concern, rule_set.is_default)
    if before == about:
        return rule_set
    _described(rule_set, about).save(update_fields=["title", "concern", "is_default"])
    facts = {"concern": about.concern, "default": about.is_default}
    record([Line(actions.RULE_SET_CHANGED, rule_set.audit_subject(), actor, clock.now(), data=facts)])
    return rule_set


@act(actions.RULE_SET_CHANGE_DENIED)
def add_rules(*, actor: User, slug: str, rules: Sequence[Rule]) -> tuple[RuleSetVersion, bool]:
    """Add a draft: (version, made). Rules equal to the newest make no new version. Raises Forbidden, NotFound."""
    _require(actor)
    rule_set = locked(RuleSet, slug)
    newest = rule_set.versions.select_related("rule_set").order_by("-number").first()
    is_equal = newest is not None and newest.digest == written.digest(rules)
    if newest is not None and is_equal and newest.state != VersionState.RETIRED:
        return newest, False
    return _new_draft(rule_set, rules, number=newest.number + 1 if newest else 1, actor=actor), True


@act(actions.RULE_SET_CHANGE_DENIED)
def edit_rules(*, actor: User, slug: str, number: int, rules: Sequence[Rule]) -> RuleSetVersion:
    """Replace the rules of a draft. Raises RulesNeverChange, Forbidden, NotFound."""
    _require(actor)
    version: RuleSetVersion = version_of(locked(RuleSet, slug), number)
    if version.state != VersionState.DRAFT:
        raise RulesNeverChange(subject=version)
    version.rules, version.digest = written.as_json(rules), written.digest(rules)
    version.save(update_fields=["rules", "digest"])
    record([Line(actions.RULES_EDITED, version.audit_subject(), actor, clock.now())])
    return version


@act(actions.RULE_SET_CHANGE_DENIED)
def publish_rules(*, actor: User, slug: str, number: int) -> RuleSetVersion:
    """Every check from now on uses them, unless it is pinned to another version. Publishing twice is publishing once.

    Raises Forbidden, NotFound, and WrongState for retired rules.
    """
    _require(actor)
    version: RuleSetVersion = version_of(locked(RuleSet, slug), number)
    publish(version, actor=actor)
    return version


@act(actions.RULE_SET_CHANGE_DENIED)
def retire_rules(*, actor: User, slug: str, number: int, reason: str = "") -> RuleSetVersion:
    """Checks use the newest version that is still published; those pinned to this one go on with it.

    Raises Forbidden, NotFound, WrongState for a draft.
    """
    _require(actor)
    version: RuleSetVersion = version_of(locked(RuleSet, slug), number)
    retire(version, actor=actor, reason=reason, unused="no check uses it")
    return version


# Which rules are in force ---------------------------------------------------------------------------------


def in_force(named: Iterable[str]) -> tuple[list[Checked], list[str]]:
    """The rule sets that a step names, `privacy` or `privacy@3`, else the default layer; and the names without rules.

    Of each the newest published version, unless it is pinned: a pinned version serves also when it is retired.
    """
    named = list(dict.fromkeys(named))
    wanted = Q(slug__in=[slug_of(name) for name in named]) if named else Q(is_default=True)
    versions = RuleSetVersion.objects.exclude(state=VersionState.DRAFT).order_by("-number")
    found = RuleSet.objects.filter(wanted).order_by("slug").prefetch_related(Prefetch("versions", versions))
    by_slug = {rule_set.slug: rule_set for rule_set in found}
    chosen = {name: _chosen(by_slug.get(slug_of(name)), name) for name in named or by_slug}
    missing = [name for name, version in chosen.items() if version is None]
    return [_checked(version) for version in chosen.values() if version is not None], missing


def slug_of(name: str) -> str:
    return name.partition("@")[0]


def _chosen(rule_set: RuleSet | None, name: str) -> RuleSetVersion | None:
    number = name.partition("@")[2]
    for version in rule_set.versions.all() if rule_set is not None else ():
        if str(version.number) == number if number else version.state == VersionState.PUBLISHED:
            return version
    return None


def _checked(version: RuleSetVersion) -> Checked:
    of = version.rule_set
    return Checked(of.slug, of.title, of.concern, version.number, version.digest, written.of_stored(version.rules))


# What the acts share --------------------------------------------------------------------------------------


def rule_sets() -> QuerySet[RuleSet]:
    versions = RuleSetVersion.objects.select_related("created_by", "published_by").order_by("-number")
    return RuleSet.objects.prefetch_related(Prefetch("versions", versions))


def _require(actor: User) -> None:
    if not actor.has_perm(GOVERN):
        raise Forbidden("Only administrators write, publish and retire rules.")


def _described(rule_set: RuleSet, about: About) -> RuleSet:
    """The rule set with what it is about. Raises Invalid."""
    problems = []
    if not about.title.strip():
        problems.append(Problem("title", "It is empty.", "Write what people shall read."))
    if about.concern not in Concern.values:
        problems.append(Problem("concern", "It is not a concern.", f"Write one of {', '.join(Concern.values)}."))
    if problems:
        raise Invalid("The rule set cannot be like this.", errors=problems)
    rule_set.title, rule_set.concern, rule_set.is_default = about.title.strip(), about.concern, about.is_default
    return rule_set


def _new_draft(rule_set: RuleSet, rules: Sequence[Rule], *, number: int, actor: Any) -> RuleSetVersion:
    at = clock.now()
    version = RuleSetVersion.objects.create(
        rule_set=rule_set,
        number=number,
        rules=written.as_json(rules),
        digest=written.digest(rules),
        created_by=actor,
        created_at=at,
    )
    record([Line(actions.RULES_CREATED, version.audit_subject(), actor, at, to_state=VersionState.DRAFT)])
    return version
