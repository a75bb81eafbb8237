# SPDX-License-Identifier: Apache-2.0
"""The acts on approval systems outside, and on who is who there. Administrators do them (`approvals.manage_external`).

A system keeps its name, which stands in the address that it calls, and is never deleted: it is disabled. Whoever says
that a person outside is somebody here lets that system decide in their name: it is recorded, and only people count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.models import KIND_OF_ROLE, Kind, User, is_role
from approvals.models import ExternalSystem, ExternalUser
from audit import actions
from audit.services import Line, act, record
from config import clock
from config.errors import Forbidden, Invalid, NotFound, Problem, WrongState
from playbooks import outbound, secret_refs
from playbooks.switching import ENABLED, switch

MANAGE = "approvals.manage_external"
MAX_ROLES = 50


@dataclass(frozen=True, slots=True)
class Terms:
    """All of a system that can be changed."""

    secret_ref: str
    url: str = ""
    title: str = ""
    roles: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, system: ExternalSystem) -> Terms:
        return cls(system.secret_ref, system.url, system.title, list(system.roles))


@act(actions.EXTERNAL_CHANGE_DENIED)
def create_system(*, actor: User, name: str, terms: Terms) -> ExternalSystem:
    """Connect a system, enabled. Raises Forbidden, and Invalid with all faults at once."""
    _require(actor)
    at = clock.now()
    system = ExternalSystem(name=name, created_at=at, changed_at=at)
    _write(system, terms)
    _refuse_faults([*_faults_of_fields(system), *_problems(terms)])
    try:
        with transaction.atomic():
            system.save(force_insert=True)
    except IntegrityError:
        raise Invalid(f"There is a system named {name} already.", errors=[Problem("name", "is taken")]) from None
    told = {"system": asdict(terms)}
    record([Line(actions.EXTERNAL_CREATED, system.audit_subject(), actor, at, to_state=ENABLED, private=told)])
    return system


@act(actions.EXTERNAL_CHANGE_DENIED)
def change_system(*, actor: User, system_id: int, terms: Terms) -> ExternalSystem:
    """Give it other terms from now on. Raises Forbidden, NotFound, Invalid."""
    system = _to_change(actor, system_id)
    before, after = asdict(Terms.of(system)), asdict(terms)
    changed = sorted(name for name in after if before[name] != after[name])
    _write(system, terms)
    _refuse_faults([*_faults_of_fields(system), *_problems(terms)])
    if not changed:
        return system
    system.changed_at = at = clock.now()
    system.save(update_fields=[*changed, "changed_at"])
    facts, told = {"fields": changed}, {"system": after}
    record([Line(actions.EXTERNAL_CHANGED, system.audit_subject(), actor, at, data=facts, private=told)])
    return system


@act(actions.EXTERNAL_CHANGE_DENIED)
def disable_system(*, actor: User, system_id: int, reason: str) -> ExternalSystem:
    """It is told nothing more, and nothing that it sends decides anything."""
    system = _to_change(actor, system_id)
    switch(system, to_enabled=False, actor=actor, reason=reason, action=actions.EXTERNAL_DISABLED)
    return system


@act(actions.EXTERNAL_CHANGE_DENIED)
def enable_system(*, actor: User, system_id: int, reason: str) -> ExternalSystem:
    system = _to_change(actor, system_id)
    switch(system, to_enabled=True, actor=actor, reason=reason, action=actions.EXTERNAL_ENABLED)
    return system


@act(actions.EXTERNAL_CHANGE_DENIED)
def link_person(*, actor: User, system_id: int, outside_id: str, username: str) -> ExternalUser:
    """Say who a person of that system is here. Raises Forbidden, NotFound, Invalid, WrongState."""
    system = _to_change(actor, system_id)
    person = User.objects.filter(username=username, kind=Kind.HUMAN, is_active=True).first()
    if person is None:
        raise Invalid("Name an active person here.", errors=[Problem("username", "is no active person")])
    if not outside_id.strip() or outside_id != outside_id.strip() or not outside_id.isprintable():
        raise Invalid("Write the id as the system does.", errors=[Problem("outside_id", "is empty, or has odd blanks")])
    at = clock.now()
    try:
        with transaction.atomic():
            link = ExternalUser.objects.create(
                system=system, outside_id=outside_id, user=person, linked_at=at, linked_by=actor
            )
    except IntegrityError:
        raise WrongState("That person of the system is linked already; end that link first.", subject=system) from None
    facts = {"user": str(person.pk), "username": person.get_username()}
    told = {"outside_id": outside_id}
    record([Line(actions.EXTERNAL_USER_LINKED, system.audit_subject(), actor, at, data=facts, private=told)])
    return link


@act(actions.EXTERNAL_CHANGE_DENIED)
def unlink_person(*, actor: User, link_id: int, reason: str) -> ExternalUser:
    """What that person does in the system decides nothing here any more. Raises Forbidden, NotFound, WrongState."""
    _require(actor)
    link = ExternalUser.objects.select_for_update(of=("self",)).filter(pk=link_id).select_related("system").first()
    if link is None:
        raise NotFound("There is no such link.")
    if link.ended_at is not None:
        raise WrongState("This link has ended already.", subject=link.system)
    link.ended_at = at = clock.now()
    link.save(update_fields=["ended_at"])
    facts, subject = {"user": str(link.user_id)}, link.system.audit_subject()
    record([Line(actions.EXTERNAL_USER_UNLINKED, subject, actor, at, note=reason.strip(), data=facts)])
    return link


# What the acts share --------------------------------------------------------------------------------------


def _require(actor: User) -> None:
    if not actor.has_perm(MANAGE):
        raise Forbidden("Only administrators connect approval systems.")


def _to_change(actor: User, system_id: int) -> ExternalSystem:
    _require(actor)
    system = ExternalSystem.objects.select_for_update(of=("self",)).filter(pk=system_id).first()
    if system is None:
        raise NotFound("There is no such system.")
    return system


def _write(system: ExternalSystem, terms: Terms) -> None:
    for name, value in asdict(terms).items():
        setattr(system, name, value)


def _refuse_faults(problems: list[Problem]) -> None:
    if problems:
        raise Invalid("The system cannot be like this.", errors=problems)


def _faults_of_fields(system: ExternalSystem) -> Iterator[Problem]:
    try:
        system.clean_fields(exclude=["url", "secret_ref", "roles"])
    except ValidationError as fault:
        yield from (Problem(name, text) for name, texts in fault.message_dict.items() for text in texts)


def _problems(terms: Terms) -> Iterator[Problem]:
    if terms.url:
        try:
            outbound.checked_url(terms.url, settings.CONNECTOR_HOSTS)
        except outbound.NotAllowed as refusal:
            yield Problem("url", str(refusal))
    try:
        secret_refs.check_reference(terms.secret_ref, settings.CONNECTOR_SECRETS)
    except secret_refs.NotListed as refusal:
        yield Problem("secret_ref", str(refusal))
    if len(terms.roles) > MAX_ROLES:
        yield Problem("roles", f"There are more than {MAX_ROLES}.")
    for role in terms.roles:
        if not _is_of_people(role):
            yield Problem("roles", f"{role[:60]!r} is no role of people.", "Write it as human:police_liaison.")


def _is_of_people(role: Any) -> bool:
    return isinstance(role, str) and is_role(role) and KIND_OF_ROLE[role.partition(":")[0]] == Kind.HUMAN
