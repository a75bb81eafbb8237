# SPDX-License-Identifier: Apache-2.0
"""A frozen policy in sentences, for whoever is to decide under it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from approvals.policy import STEP_UP, Policy, Rule
from approvals.times import OnTimeout
from audit.shown import made_visible


def in_words(policy: Policy) -> list[str]:
    return list(_sentences(policy))


def _sentences(policy: Policy) -> Iterator[str]:
    named = f"By the policy {made_visible(policy.name)}, version {policy.version}: " if policy.name else ""
    for number, stage in enumerate(policy.stages):
        asked = "; and ".join(_rule(rule) for rule in stage.rules)
        title = f"{made_visible(stage.name)}: " if stage.name else ""
        yield f"{named}{'Then ' if number else ''}{title}{asked}."
        named = ""
    if policy.forbid_self_approval:
        yield "Whoever asked for this, changed it or started the run may not decide."
    if policy.distinct_from_steps:
        yield f"Nor may who did {made_visible(' or '.join(policy.distinct_from_steps))}."
    if policy.blind:
        yield "Nobody sees another's vote before their own. If they differ, they are opened, and all vote again."
    if policy.hold_seconds:
        yield f"An approval takes effect {_span(policy.hold_seconds)} later; until then it can be taken back."
    if STEP_UP in policy.assurance.values():
        harms = ", ".join(level for level, wanted in policy.assurance.items() if wanted == STEP_UP)
        yield f"Where the harm is {harms}, it needs your password once more."
    if policy.break_glass is not None:
        yield f"In an emergency one member of {made_visible(policy.break_glass.role)} decides alone, which is reviewed."


def cautions(policy: Policy) -> list[str]:
    """What whoever publishes the policy should know: it will not always do as it says."""
    if policy.time.get("on_timeout") != OnTimeout.APPROVE:
        return []
    return [
        "Careful: it takes silence for consent. That holds only where the harm is low, there is nothing to fill in and "
        "all that follows can be undone; any other request expires instead."
    ]


def could_decide(eligible: Iterable[Mapping[str, Any]]) -> list[str]:
    """Who could decide when a request was made, a line each, with what kept them from it."""
    return [made_visible(f"{one['name']}{_in_brackets(_notes(one))}") for one in eligible]


def _notes(one: Mapping[str, Any]) -> Iterator[str]:
    if "for" in one:
        yield f"in place of {one['for']}"
    if one.get("away"):
        yield "out of office"
    if one.get("lent_to"):
        yield f"{' and '.join(one['lent_to'])} may decide in their place"
    if one.get("barred"):
        yield f"may not: {one['barred']}"


def _in_brackets(notes: Iterator[str]) -> str:
    said = "; ".join(notes)
    return f" ({said})" if said else ""


def _span(seconds: int) -> str:
    for name, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds // length} {name}{'s' if seconds != length else ''}"
    return f"{seconds} seconds"


def _rule(rule: Rule) -> str:
    who = f"member{'s' if rule.approvals != 1 else ''} of {made_visible(rule.role)}" if rule.role else ""
    who = who or (f"of {made_visible(rule.whom)}" if rule.users else f"with the permission {rule.permission}")
    verb = "decides" if rule.approvals == 1 else "decide"
    veto = "one rejection ends it" if rule.rejections == 1 else f"{rule.rejections} rejections end it"
    return f"{rule.approvals} {who} {verb}{f', and {veto}' if rule.approvals > 1 or rule.rejections > 1 else ''}"
