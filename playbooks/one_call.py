# SPDX-License-Identifier: Apache-2.0
"""Playbooks of one call, made on demand: what was asked for as one call is a run, with retries, effects and log.

The playbook of the call `exporter.publish` is `call.exporter.publish`. Its one step calls the action, with the run's
payload as the arguments. Ids that begin so are the product's own, so that nobody writes other steps under one.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction

from accounts.models import User
from audit import actions
from audit.services import Line, record, transitioned
from config import clock
from config.errors import Invalid, Problem, WrongState
from playbooks import catalogue
from playbooks.models import Playbook, Version, VersionState
from playbooks.parse import Parsed, digest, parse_data, to_document
from playbooks.services import OURS

PREFIX = OURS
ROLE = "svc:calls"
LONGEST = 100  # letters of a playbook's id


def is_one_call(slug: str) -> bool:
    return slug.startswith(PREFIX)


def slug_of(name: str) -> str:
    slug = f"{PREFIX}{name}"
    return slug if len(slug) <= LONGEST else PREFIX + hashlib.sha256(name.encode()).hexdigest()[:32]


def arguments_of(version: Version, declared: Any, payload: Any) -> Any:
    """What a step's call is made with: in a playbook of one call, what the run was started with."""
    return payload if is_one_call(version.playbook.slug) else declared


def ensured(name: str, *, actor: User) -> Version:
    """The published version that makes this one call. Raises Invalid for a name that is not in the catalogue."""
    found = catalogue.find(name)
    if found is None:
        remedy = "Name an action of the catalogue, or a connector."
        raise Invalid(f"There is no action {name!r}.", errors=[Problem("call", "unknown call", remedy)])
    parsed = parse_data(
        {"id": slug_of(name), "title": found.title, "steps": [{"id": "call", "role": ROLE, "call": {"action": name}}]},
        default_id=slug_of(name),
    )
    document_digest = digest(to_document(parsed.definition))
    versions = Version.objects.select_related("playbook").filter(playbook__slug=slug_of(name), digest=document_digest)
    version = versions.order_by("-number").first()
    if version is None:
        return _made(parsed, document_digest, actor)
    if version.state != VersionState.PUBLISHED:
        raise WrongState(f"The call {name!r} is not offered any more: its playbook is {version.state}.")
    return version


def _made(parsed: Parsed, document_digest: str, actor: User) -> Version:
    """A playbook or its next version, published as it is made: there is nothing in it to be judged by people."""
    at, slug = clock.now(), parsed.definition.id
    with transaction.atomic():
        found = {"title": parsed.definition.title, "created_at": at}
        Playbook.objects.get_or_create(slug=slug, defaults=found)
        playbook = Playbook.objects.select_for_update().get(slug=slug)
        newest = playbook.versions.order_by("-number").first()
        if newest is not None and newest.digest == document_digest:
            return newest  # another was sooner
        version = Version.objects.create(
            playbook=playbook,
            number=newest.number + 1 if newest else 1,
            document=dict(parsed.document),
            digest=document_digest,
            created_by=actor,
            created_at=at,
        )
        facts = {"number": version.number, "call": parsed.definition.title}
        lines = [Line(actions.VERSION_CREATED, version.audit_subject(), actor, at, to_state="draft", data=facts)]
        lines.append(transitioned(version.publish, {"by": actor}, actor=actor, at=at, data={"number": version.number}))
        version.save(update_fields=["state", "published_by", "published_at"])
        version.roles.set([Group.objects.get_or_create(name=ROLE)[0]])
        record(lines)
        return version
