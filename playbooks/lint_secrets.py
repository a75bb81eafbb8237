# SPDX-License-Identifier: Apache-2.0
"""Secrets that steps ask people for: kept under a key ring, and handed out once."""

from __future__ import annotations

import re
from collections.abc import Iterator

from playbooks import expressions
from playbooks.definition import Definition, Step, StepKind
from playbooks.findings import Facts, Found
from playbooks.places import shown
from playbooks.secret_parts import holds_secret, secret_names
from playbooks.step_order import Spot


def of_secrets(spot: Spot, definition: Definition, facts: Facts) -> Iterator[Found]:
    step = spot.step
    if facts.takes_secrets is False and holds_secret(step.form):
        message = f"The step {shown(step.id)} asks for a secret, and there is no key ring to keep it under."
        remedy = "The operator sets SECRETS_KEYS. Until then the step cannot be answered."
        yield Found("no_key_ring", ("form",), message, remedy)
    yield from _used_twice(spot, definition)


def _used_twice(spot: Spot, definition: Definition) -> Iterator[Found]:
    """A second call of our worker that names a secret is refused."""
    mine = _used_by(spot.step, definition)
    before = spot.scene.certain | spot.scene.possible
    for other in definition.walk() if mine else ():
        for asked, name in sorted(mine & _used_by(other, definition) if other.id in before else ()):
            message = f"The secret {shown(name)} of {shown(asked)} is handed out once, and {shown(other.id)} uses it."
            yield Found("secret_used_twice", ("input",), message, "Let one call do it, or ask for it again.")


def _used_by(step: Step, definition: Definition) -> frozenset[tuple[str, str]]:
    """(step that asks, field) of what our worker opens for this one."""
    if step.kind is not StepKind.SERVICE or step.call is None:
        return frozenset()
    return frozenset(
        (step_id, name)
        for text in (step.input or {}).values()
        if isinstance(text, str)
        for step_id in expressions.steps_in(text)
        for name in _secrets_of(step_id, definition)
        if re.search(rf"""\.\s*{re.escape(name)}\b|\[\s*["']{re.escape(name)}["']\s*\]""", text)
    )


def _secrets_of(step_id: str, definition: Definition) -> frozenset[str]:
    """Names of the secret fields that a step's form asks for."""
    place = definition.places.get(step_id)
    form = place.step.form if place is not None else None
    return secret_names(form, form.get("properties", {})) if form else frozenset()
