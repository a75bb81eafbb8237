# SPDX-License-Identifier: Apache-2.0
"""Durations as documents write them: seconds as a number, `15m`, `1h30m`, or ISO 8601 `PT15M`.

Months and years are refused: they have no fixed length.
"""

from __future__ import annotations

import re

from playbooks.places import Flaw, Flawed, shown

MAX_SECONDS = 10 * 366 * 24 * 3600  # ten years; keeps every date that follows within what databases hold
REMEDY = "Write seconds as a number (900), or a duration such as `15m`, `1h30m`, `2d` or `PT15M`."

_SHORT = re.compile(
    r"(?:(\d{1,9})w)?(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,6})?)s)?", re.ASCII
)
_ISO = re.compile(
    r"P(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:\.\d{1,6})?)S)?)?", re.ASCII
)
_SECONDS_IN = (604_800, 86_400, 3_600, 60, 1)


def seconds(text: str) -> float:
    """Raises Flawed for anything that is not a duration."""
    return sum(count * unit for count, unit in zip(counts(text), _SECONDS_IN, strict=True))


def counts(text: str) -> tuple[float, float, float, float, float]:
    """Its weeks, days, hours, minutes and seconds. Raises Flawed for anything that is not a duration."""
    found = _ISO.fullmatch(text) or _SHORT.fullmatch(text)
    written = found.groups() if found else ()
    if not any(written) or text.endswith("T"):
        raise Flawed(Flaw((), f"{shown(text)} is not a duration.", REMEDY))
    weeks, days, hours, minutes, rest = (float(count or 0) for count in written)
    return weeks, days, hours, minutes, rest
