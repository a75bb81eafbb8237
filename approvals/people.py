# SPDX-License-Identifier: Apache-2.0
"""Who lends their right to decide to whom, as the database knows it now. What follows from it, `lending.py` says."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q

from accounts.models import Kind, User, is_role, members_of
from approvals.lending import Grant, lent_to
from approvals.models import ActionRequest, Delegation

ADDED = ("escalated", "fallback")  # why somebody may decide whom no rule names
_KNOWN = "_grants_known"  # of a user's instance, which lives as long as one call


def is_party() -> Exists:
    """An SQL condition on users: they have lent their right to somebody, or borrowed somebody's, at some time."""
    return Exists(Delegation.objects.filter(Q(giver=OuterRef("pk")) | Q(delegate=OuterRef("pk"))))


def has_lent() -> Exists:
    return Exists(Delegation.objects.filter(giver=OuterRef("pk")))


def grants_with(people: Collection[int]) -> list[Grant]:
    """All delegations in which some of these people have a part, whenever they are in force."""
    rows = Delegation.objects.filter(Q(giver__in=people) | Q(delegate__in=people))
    return [grant_of(row) for row in rows.select_related("giver", "delegate").order_by("id")]


def grants_known(user: Any) -> list[Grant]:
    """Of this person, read once for each instance: for pages that ask it of many requests."""
    if not hasattr(user, _KNOWN):
        setattr(user, _KNOWN, grants_with([user.pk]))
    found: list[Grant] = getattr(user, _KNOWN)
    return found


def is_escalated_to(user_id: int, request: ActionRequest) -> bool:
    """Whether the clock has asked this person too, beside those whom the policy names."""
    if not request.timetable:
        return False
    return any(each.user_id == user_id and each.why in ADDED for each in request.asked_people.all())


def grant_of(row: Delegation) -> Grant:
    return Grant(
        id=row.pk,
        giver=row.giver_id,
        giver_name=row.giver.get_username(),
        delegate=row.delegate_id,
        delegate_name=row.delegate.get_username(),
        starts_at=row.starts_at,
        over_at=row.over_at,
        role=row.role,
        request_type=row.request_type,
        max_severity=row.max_severity,
        request=row.request_id or "",
        away=row.is_away,
    )


def acting_for(user: Any, request: ActionRequest, at: datetime) -> list[Grant]:
    """What others lend this person for this request at this moment. Whether they have it to lend is asked of them."""
    return lent_to(user.pk, grants_with([user.pk]), request, at)


def lent_by(people: Collection[int], at: datetime) -> list[Grant]:
    """What these people lend to somebody at this moment, for whatever requests."""
    return [each for each in grants_with(people) if each.giver in people and each.is_in_force(at)]


def stand_ins(lent: Collection[Grant], request: ActionRequest) -> list[Grant]:
    """Of what is lent, that by which somebody can decide this request."""
    able = set(_active_people(each.delegate for each in lent))
    return [each for each in lent if each.covers(request) and each.delegate in able]


def _active_people(ids: Any) -> Sequence[int]:
    return list(User.objects.filter(pk__in=list(ids), is_active=True, kind=Kind.HUMAN).values_list("pk", flat=True))


def named(names: Collection[str]) -> list[User]:
    """The active people whom these names of roles and users stand for."""
    found: dict[int, User] = {}
    for name in names:
        people = members_of(name) if is_role(name) else User.objects.filter(username=name, is_active=True)
        found |= {person.pk: person for person in people.filter(kind=Kind.HUMAN).order_by("pk")}
    return list(found.values())
