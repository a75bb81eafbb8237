# SPDX-License-Identifier: Apache-2.0
"""What the services of playbooks, rule sets and policies do alike with their versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db import models

from accounts.models import User
from audit.services import record, transitioned
from config import clock
from config.errors import NotFound, WrongState
from playbooks.models import VersionState

Thing = TypeVar("Thing", bound=models.Model)


def locked(model: type[Thing], slug: str) -> Thing:
    """Locked, so that two drafts never get the same number. Raises NotFound."""
    found = model._default_manager.select_for_update().filter(slug=slug).first()
    if found is None:
        raise NotFound(f"There is no {model._meta.verbose_name} {slug!r}.")
    return found


def version_of(thing: Any, number: int) -> Any:
    """Raises NotFound."""
    found = thing.versions.filter(number=number).first()
    if found is None:
        raise NotFound(f"The {thing._meta.verbose_name} {thing.slug!r} has no version {number}.")
    return found


def publish(version: Any, *, actor: User) -> None:
    """Written and recorded. Publishing twice is publishing once. Raises WrongState where it is retired."""
    if version.state == VersionState.PUBLISHED:
        return
    line = transitioned(version.publish, {"by": actor}, actor=actor, at=clock.now())
    version.save(update_fields=["state", "published_by", "published_at"])
    record([line])


def retire(version: Any, *, actor: User, reason: str, unused: str, facts: Mapping[str, Any] | None = None) -> None:
    """Written and recorded. Retiring twice is retiring once. Raises WrongState for a draft, which is `unused`."""
    if version.state == VersionState.RETIRED:
        return
    if version.state == VersionState.DRAFT:
        raise WrongState(f"A draft cannot be retired: {unused}.", subject=version)
    line = transitioned(version.retire, actor=actor, at=clock.now(), note=reason, data=facts)
    version.save(update_fields=["state", "retired_at"])
    record([line])
