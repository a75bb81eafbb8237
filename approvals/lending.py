# SPDX-License-Identifier: Apache-2.0
"""Whose right to decide is lent to whom: pure functions of delegations, requests and moments.

A delegation lends what its giver may do by themselves, so nothing is passed on twice. Intervals are half-open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from approvals.policy import SEVERITIES


@dataclass(frozen=True, slots=True)
class Grant:
    """One delegation. `over_at`: its end, or when it was revoked, if that was earlier."""

    id: int
    giver: int
    giver_name: str
    delegate: int
    delegate_name: str
    starts_at: datetime
    over_at: datetime
    role: str = ""
    request_type: str = ""
    max_severity: str = "critical"
    request: str = ""
    away: bool = False  # its giver is out of office all that time

    def is_in_force(self, at: datetime) -> bool:
        return self.starts_at <= at < self.over_at

    def was_in_force(self, since: datetime, at: datetime) -> bool:
        """At some moment of [since, at]."""
        return self.starts_at <= at and since < self.over_at

    def covers(self, asked: Scoped) -> bool:
        return (
            self.role in ("", asked.role)
            and self.request_type in ("", asked.request_type)
            and SEVERITIES.index(asked.severity) <= SEVERITIES.index(self.max_severity)
            and self.request in ("", asked.pk)
        )


class Scoped(Protocol):
    """What a delegation may be bounded by."""

    pk: str
    role: str
    request_type: str
    severity: str
    created_at: datetime


def lent_to(person: int, grants: Iterable[Grant], asked: Scoped, at: datetime) -> list[Grant]:
    """What others lend this person now, for this request; of several, the one that ends last comes first."""
    found = [each for each in grants if each.delegate == person and each.is_in_force(at) and each.covers(asked)]
    return sorted(found, key=lambda each: (each.over_at, each.id), reverse=True)


def kin(person: int, others: Mapping[int, str], grants: Iterable[Grant], asked: Scoped, at: datetime) -> str:
    """Why this person counts as one of `others`; "" if they do not.

    Whoever lends their right to somebody, or has borrowed somebody's, is one with them as long as the request has
    been there: a delegation that was revoked just now has not made two people of one.
    """
    for each in grants:
        pair = {each.giver: each.delegate, each.delegate: each.giver}
        other = pair.get(person)
        if other is not None and other in others and each.covers(asked) and each.was_in_force(asked.created_at, at):
            if person == each.delegate:
                return f"stand in for {each.giver_name}, who {others[other]}"
            return f"are stood in for by {each.delegate_name}, who {others[other]}"
    return ""
