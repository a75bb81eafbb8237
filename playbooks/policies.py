# SPDX-License-Identifier: Apache-2.0
"""How the rooms below reach what the room above knows of policies: what is wrong with one, and whom it names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from playbooks.definition import Step, StepKind
from playbooks.places import Flaw, shown


@dataclass(frozen=True, slots=True)
class Needed:
    """So many people of a role must approve."""

    role: str
    approvals: int
    at: tuple[str | int, ...] = ()  # where the policy says so


@dataclass(frozen=True, slots=True)
class Reader:
    flaws: Callable[[Mapping[str, Any]], Sequence[Flaw]]
    """What is wrong with a written policy by itself; places are counted from the policy."""

    needs: Callable[[Mapping[str, Any], str], Sequence[Needed] | None]
    """(policy without flaws, role of its step) → who must approve; None: it names a policy that is not published."""

    silence: Callable[[Mapping[str, Any], str], tuple[str | int, ...] | None] = lambda policy, role: None
    """(policy without flaws, role of its step) → where it says that no answer is an approval; None: it does not."""


def why_silence_approves_nothing(severity: str, form: Any, steps: Iterable[Step]) -> str:
    """Why a request is never approved by nobody; "" if it is, under a policy that says so. `steps`: all of its run.

    It takes low harm, nothing to fill in, and nothing that could not be undone: each call of its playbook names the
    call that undoes it.
    """
    if severity != "low":
        return f"the harm is {severity}, not low"
    if form is not None:
        return "there is a form to be filled in"
    lasting = next((step.id for step in steps if step.kind is StepKind.SERVICE and step.compensate is None), "")
    return f"what {shown(lasting)} does cannot be undone: it names no `compensate`" if lasting else ""


_readers: list[Reader] = []


def register(reader: Reader) -> None:
    _readers[:] = [reader]


def reader() -> Reader | None:
    return _readers[0] if _readers else None
