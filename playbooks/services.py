# SPDX-License-Identifier: Apache-2.0
"""The acts on playbooks: write a draft, publish it, retire it. A published version never changes."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction

from accounts.models import User
from audit import actions
from audit.services import Line, act, record, transitioned
from config import clock
from config.errors import Forbidden, Invalid, Problem, Refused
from playbooks import facts
from playbooks.definition import Definition, StepKind
from playbooks.linter import Finding
from playbooks.models import Playbook, Version, VersionState
from playbooks.parse import Parsed, digest, parse_data, to_document
from playbooks.version_acts import locked, retire, version_of

OURS = "call."  # begins the ids of playbooks that the product makes (playbooks/one_call.py)
WORDS_OF_THE_API = frozenset({"schema", "validate"})  # each stands where an id would, behind /acts/playbooks/


class PlaybookExists(Refused):
    """A playbook with this id exists. Add a version: POST /acts/playbooks/{id}/versions."""

    code = "playbook_exists"


class PublishedNeverChanges(Refused):
    """A published version never changes. Clone it to the next version, edit that draft, and publish it."""

    code = "version_published"


@dataclass(frozen=True, slots=True)
class Published:
    version: Version
    warnings: tuple[Finding, ...]


@act(actions.PLAYBOOK_CREATE_DENIED)
def create_playbook(*, actor: User, parsed: Parsed) -> Version:
    """Store a new playbook with its first draft. Raises PlaybookExists, Forbidden, Invalid for a word of the API."""
    _refuse_unless(actor, "playbooks.write")
    definition = parsed.definition
    if definition.id in WORDS_OF_THE_API:
        told = Problem("id", "is an address of the API", "Give the playbook another id.")
        raise Invalid(f"No playbook may be named {definition.id!r}: nobody could ask for it.", errors=[told])
    _refuse_ours(definition.id)
    at = clock.now()
    playbook = Playbook(slug=definition.id, title=definition.title, owner=actor, created_at=at)
    try:
        with transaction.atomic():
            playbook.save(force_insert=True)
    except IntegrityError:
        raise PlaybookExists(f"Playbook {definition.id!r} exists. Add a version to it.")
    record([Line(actions.PLAYBOOK_CREATED, playbook.audit_subject(), actor, at)])
    return _new_draft(playbook, parsed, number=1, actor=actor)


@act(actions.VERSION_CREATE_DENIED)
def add_version(*, actor: User, playbook: str, parsed: Parsed) -> tuple[Version, bool]:
    """Add a draft to a playbook: (version, made). An equal document makes no new version.

    Raises NotFound, Forbidden, and Invalid for the document of another playbook.
    """
    _refuse_unless(actor, "playbooks.write")
    _refuse_ours(playbook)
    owner = locked(Playbook, playbook)
    _refuse_foreign(parsed, owner)
    newest = owner.versions.order_by("-number").first()
    if (
        newest is not None
        and newest.digest == digest(to_document(parsed.definition))
        and newest.state != VersionState.RETIRED
    ):
        return newest, False
    return _new_draft(owner, parsed, number=newest.number + 1 if newest else 1, actor=actor), True


@act(actions.VERSION_CREATE_DENIED)
def clone_version(*, actor: User, playbook: str, number: int) -> Version:
    """Copy a version into the next draft: the way to change what is published. Raises NotFound, Forbidden."""
    _refuse_unless(actor, "playbooks.write")
    _refuse_ours(playbook)
    owner = locked(Playbook, playbook)
    source = version_of(owner, number)
    newest = owner.versions.order_by("-number").first()
    assert newest is not None
    parsed = parse_data(source.document, default_id=owner.slug)
    return _new_draft(owner, parsed, number=newest.number + 1, actor=actor, cloned_from=number)


@act(actions.VERSION_CREATE_DENIED)
def edit_draft(*, actor: User, playbook: str, number: int, parsed: Parsed) -> Version:
    """Replace a draft's document. Raises PublishedNeverChanges, NotFound, Forbidden."""
    _refuse_unless(actor, "playbooks.write")
    owner = locked(Playbook, playbook)
    version = version_of(owner, number)
    if version.state != VersionState.DRAFT:
        way = f'POST /acts/playbooks/{owner.slug}/versions with {{"clone": {number}}} makes the draft to edit.'
        raise PublishedNeverChanges(subject=version, errors=[Problem("version", "never changes any more", way)])
    _refuse_foreign(parsed, owner)
    version.document, version.digest = dict(parsed.document), digest(to_document(parsed.definition))
    version.save(update_fields=["document", "digest"])
    at = clock.now()
    record([Line(actions.VERSION_EDITED, version.audit_subject(), actor, at, data={"number": version.number})])
    return version


@act(actions.VERSION_PUBLISH_DENIED)
def publish_version(*, actor: User, playbook: str, number: int) -> Published:
    """Freeze a draft so that runs can start on it; make the roles it names. Publishing twice is publishing once.

    Raises DocumentInvalid with every place that cannot run, Forbidden, NotFound, WrongState.
    """
    _refuse_unless(actor, "playbooks.publish")
    owner = locked(Playbook, playbook)
    version = version_of(owner, number)
    if version.state == VersionState.PUBLISHED:
        return Published(version, ())
    definition = version.definition
    findings = facts.findings(definition)
    problems = [finding.problem for finding in findings if finding.level == "error"]
    if problems:
        raise Invalid("This version cannot be published.", errors=problems, subject=version)
    at = clock.now()
    line = transitioned(version.publish, {"by": actor}, actor=actor, at=at, data={"number": version.number})
    version.save(update_fields=["state", "published_by", "published_at"])
    version.roles.set(_roles(definition))
    if definition.title and definition.title != owner.title:
        owner.title = definition.title
        owner.save(update_fields=["title"])
    record([line])
    return Published(version, tuple(findings))


@act(actions.VERSION_RETIRE_DENIED)
def retire_version(*, actor: User, playbook: str, number: int, reason: str = "") -> Version:
    """No new runs on this version; those under way finish on it. Raises Forbidden, NotFound, WrongState."""
    _refuse_unless(actor, "playbooks.publish")
    version: Version = version_of(locked(Playbook, playbook), number)
    retire(version, actor=actor, reason=reason, unused="nothing starts on it", facts={"number": version.number})
    return version


def _refuse_unless(actor: User, permission: str) -> None:
    if not actor.has_perm(permission):
        raise Forbidden(f"The permission {permission} is needed.")


def _refuse_ours(slug: str) -> None:
    if slug.startswith(OURS):
        told = Problem("id", "is the product's own", f"Choose an id that does not begin with {OURS!r}.")
        raise Invalid(f"Nobody writes the playbook {slug!r}: it makes one call that was approved.", errors=[told])


def _refuse_foreign(parsed: Parsed, owner: Playbook) -> None:
    if parsed.definition.id != owner.slug:
        raise Invalid(
            f"The document's id is {parsed.definition.id!r}, the playbook's is {owner.slug!r}.",
            errors=[Problem("id", "not the playbook's", f"Use {owner.slug!r}, or leave it out.")],
        )


def _new_draft(
    playbook: Playbook, parsed: Parsed, *, number: int, actor: User, cloned_from: int | None = None
) -> Version:
    at = clock.now()
    version = Version.objects.create(
        playbook=playbook,
        number=number,
        document=dict(parsed.document),
        digest=digest(to_document(parsed.definition)),
        created_by=actor,
        created_at=at,
    )
    facts = {"number": number, **({"cloned_from": cloned_from} if cloned_from else {})}
    record([Line(actions.VERSION_CREATED, version.audit_subject(), actor, at, to_state="draft", data=facts)])
    return version


def claimed_roles(definition: Definition) -> set[str]:
    """Roles whose members do the work. Where all steps of a role are calls, our worker acts for it."""
    return {step.role for step in definition.walk() if step.kind != StepKind.SERVICE or step.call is None}


def _roles(definition: Definition) -> list[Group]:
    """The groups of its roles; those missing are made."""
    names = sorted({step.role for step in definition.walk() if step.role})
    return [Group.objects.get_or_create(name=name)[0] for name in names]
