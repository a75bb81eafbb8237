# SPDX-License-Identifier: Apache-2.0
"""What `hms-act events` and `hms-act statistics` do: what has happened, and what became of the requests."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from hms_act.answers import Event, moment
from hms_act.commands import Session, Shown
from hms_act.text import plain, table

BEGINNING = "0"
UNTIL = {"view": "seen", "claim": "claimed", "decide": "decided"}
UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def events(session: Session, args: argparse.Namespace) -> Iterator[Shown]:
    """One line each. Whoever was interrupted goes on with `--after` and the number of the last line."""
    after = args.after if args.after is not None or args.follow else BEGINNING
    happened = session.client.events(
        args.type, after=after, run_id=args.run, request_id=args.request, follow=args.follow
    )
    for event in happened:
        yield Shown(_event_text(event), {"id": event.id, "type": event.type, "data": event.data})


def _event_text(event: Event) -> str:
    said = event.data
    at = moment(said.get("at"))
    refused = f"refused ({said.get('code', '')})" if said.get("result") == "DENIED" else ""
    run = f"run {said['run_id']}" if said.get("run_id") else ""
    subject = said.get("request_id") or run
    words = (event.id, f"{at:%Y-%m-%d %H:%M:%S}" if at else "", event.type, said.get("actor"), refused, subject)
    parts = (*words, said.get("step"), said.get("title"))
    return "  ".join(plain(part) for part in parts if part)


def statistics(session: Session, args: argparse.Namespace) -> Shown:
    found = session.client.statistics(period=args.period, people=args.people or None)
    of = f" of {plain(found['period'])}" if found.get("period") else ""
    total, still_open, pending = (found.get(name, 0) for name in ("total_requests", "open", "pending"))
    heading = f"{total} requests{of}: {still_open} open, {pending} of them untouched"
    if found.get("uncounted"):
        heading += f" ({found['uncounted']} more are not counted yet)"
    tables = (
        *(_counts(name, found.get(f"by_{name.lower()}")) for name in ("STATUS", "PRIORITY", "TYPE")),
        _times(found.get("times") or {}),
        _shares(found.get("shares") or {}),
        _parts("ROLE", found.get("by_role")),
        _parts("AGENT", found.get("by_agent")),
        _people(found.get("by_person")),
    )
    return Shown("\n\n".join([heading, *(each for each in tables if each)]), found)


def _counts(heading: str, counts: Mapping[str, int] | None) -> str:
    rows = [(name, count) for name, count in (counts or {}).items() if count]
    return table((heading, "REQUESTS"), rows) if rows else ""


def _times(times: Mapping[str, Any]) -> str:
    """By the clock on the wall; each from the moment at which it was asked."""
    measured = [(word, (times.get(name) or {}).get("wall") or {}) for name, word in UNTIL.items()]
    rows = [
        (word, *(_long(each.get(name)) for name in ("p50", "p90", "p95", "average")), each["count"])
        for word, each in measured
        if each.get("count")
    ]
    return table(("UNTIL", "P50", "P90", "P95", "AVERAGE", "REQUESTS"), rows) if rows else ""


def _shares(shares: Mapping[str, float | None]) -> str:
    rows = [(name.replace("_", " "), f"{share:.1%}") for name, share in shares.items() if share is not None]
    return table(("SHARE", "OF THEM"), rows) if rows else ""


def _parts(heading: str, parts: Mapping[str, Any] | None) -> str:
    rows = [(name, each.get("open", 0), _decided_in(each)) for name, each in (parts or {}).items()]
    return table((heading, "OPEN", "DECIDED IN (P50)"), rows) if rows else ""


def _people(people: Any) -> str:
    rows = [(name, _decided_in(each)) for name, each in (people or {}).items()]
    return table(("PERSON", "DECIDED IN (P50)"), rows) if rows else ""


def _decided_in(part: Mapping[str, Any]) -> str:
    times = part.get("times") or {}
    return _long(((times.get("decide") or {}).get("wall") or {}).get("p50"))


def _long(seconds: float | None) -> str:
    """In the largest unit that it fills."""
    if seconds is None:
        return ""
    unit, size = next(((unit, size) for unit, size in UNITS if seconds >= size), ("s", 1))
    return f"{seconds / size:.1f} {unit}"
