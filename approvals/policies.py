# SPDX-License-Identifier: Apache-2.0
"""The acts on policy objects: write a draft, publish it, retire it. A published version never changes.

Requests keep what they were made under: a policy published later is for later requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction

from accounts.models import User
from approvals import policy_document
from approvals.models import Policy, PolicyVersion
from approvals.policy_document import PolicyInvalid
from audit import actions
from audit.canonical import digest
from audit.services import Line, act, record
from config import clock
from config.errors import Forbidden, Invalid, Problem, Refused
from playbooks.models import VersionState
from playbooks.version_acts import locked, publish, retire, version_of

MANAGE = "approvals.manage_policies"


class PolicyExists(Refused):
    """A policy with this id exists. Add a version to it."""

    code = "policy_exists"


class PolicyNeverChanges(Refused):
    """A published policy never changes. Add a version as it shall be, and publish that."""

    code = "policy_published"


def published(name: str) -> tuple[Mapping[str, Any], int] | None:
    """The newest published version of a policy: its document and number."""
    versions = PolicyVersion.objects.filter(policy__slug=name, state=VersionState.PUBLISHED)
    newest = versions.order_by("-number").first()
    return None if newest is None else (newest.document, newest.number)


@act(actions.POLICY_CHANGE_DENIED)
def create_policy(*, actor: User, slug: str, title: str, document: str) -> PolicyVersion:
    """Make a policy with its first draft, written as YAML or JSON. Raises Forbidden, PolicyExists, PolicyInvalid."""
    _require(actor)
    if not title.strip():
        raise Invalid("The policy has no title.", errors=[Problem("title", "It is empty.", "Write what people read.")])
    written, at = _judged(document), clock.now()
    made = Policy(slug=slug, title=title.strip(), created_at=at)
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError:
        raise PolicyExists(f"There is a policy {slug!r}. Add a version to it.")
    record([Line(actions.POLICY_CREATED, made.audit_subject(), actor, at)])
    return _new_draft(made, written, number=1, actor=actor)


@act(actions.POLICY_CHANGE_DENIED)
def add_version(*, actor: User, slug: str, document: str) -> PolicyVersion:
    """Add a draft. A document equal to the newest makes no new version. Raises Forbidden, NotFound, PolicyInvalid."""
    _require(actor)
    written, of = _judged(document), locked(Policy, slug)
    newest = of.versions.select_related("policy").order_by("-number").first()
    if newest is not None and newest.digest == digest(written) and newest.state != VersionState.RETIRED:
        return newest
    return _new_draft(of, written, number=newest.number + 1 if newest else 1, actor=actor)


@act(actions.POLICY_CHANGE_DENIED)
def edit_version(*, actor: User, slug: str, number: int, document: str) -> PolicyVersion:
    """Replace the document of a draft. Raises PolicyNeverChanges, Forbidden, NotFound, PolicyInvalid."""
    _require(actor)
    written, version = _judged(document), version_of(locked(Policy, slug), number)
    if version.state != VersionState.DRAFT:
        raise PolicyNeverChanges(subject=version)
    version.document, version.digest = written, digest(written)
    version.save(update_fields=["document", "digest"])
    record([Line(actions.POLICY_EDITED, version.audit_subject(), actor, clock.now())])
    return version


@act(actions.POLICY_CHANGE_DENIED)
def publish_version(*, actor: User, slug: str, number: int) -> PolicyVersion:
    """Requests made from now on use it. Publishing twice is publishing once.

    Raises Forbidden, NotFound, PolicyInvalid, and WrongState for a retired version.
    """
    _require(actor)
    version: PolicyVersion = version_of(locked(Policy, slug), number)
    if version.state != VersionState.PUBLISHED:
        _refuse_unusable(version.document)
    publish(version, actor=actor)
    return version


@act(actions.POLICY_CHANGE_DENIED)
def retire_version(*, actor: User, slug: str, number: int, reason: str = "") -> PolicyVersion:
    """Later requests use the newest version that is still published. Raises Forbidden, NotFound, WrongState."""
    _require(actor)
    version: PolicyVersion = version_of(locked(Policy, slug), number)
    retire(version, actor=actor, reason=reason, unused="no request uses it")
    return version


def _require(actor: User) -> None:
    if not actor.has_perm(MANAGE):
        raise Forbidden("Only administrators write, publish and retire policies.")


def _judged(document: str) -> dict[str, Any]:
    written = policy_document.parse(document)
    _refuse_unusable(written)
    return written


def _refuse_unusable(written: Mapping[str, Any]) -> None:
    """A policy object stands by itself, and has no step to take a role from."""
    if "use" in written:
        problem = Problem("use", "a policy object starts from no other", "Write its stages here.")
        raise PolicyInvalid("A policy object names no other.", errors=[problem])


def _new_draft(of: Policy, written: Mapping[str, Any], *, number: int, actor: User) -> PolicyVersion:
    at = clock.now()
    version = PolicyVersion.objects.create(
        policy=of, number=number, document=written, digest=digest(written), created_by=actor, created_at=at
    )
    record([Line(actions.POLICY_DRAFTED, version.audit_subject(), actor, at, to_state=VersionState.DRAFT)])
    return version
