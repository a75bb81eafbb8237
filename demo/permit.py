# SPDX-License-Identifier: Apache-2.0
"""What a permit says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Permit:
    number: str
    applicant: str
    event_date: date
    place: str
    crowd_size: int
    purpose: str
    conditions: tuple[str, ...]
    approved_by: str
    fee: str
    reference: str  # where the evidence stands: the run, and the key of this effect
