# SPDX-License-Identifier: Apache-2.0
"""A playbook document, JSON or YAML, becomes a Definition, or an answer that names every fault found.

    text or data → source.py: values with lines, within bounds → schema.py, checks.py: what is wrong, in the
                   words of complaints.py
                 → build.py: the Definition → normal.py: its one normal form and digest

Nothing but DocumentInvalid leaves this module, whatever comes in. What publishing refuses besides, a draft may
still hold: see linter.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from config.errors import Invalid, Problem, Unparseable
from playbooks import checks, complaints, json_schema, schema, source
from playbooks.build import definition_of
from playbooks.definition import Definition
from playbooks.linter import publish_problems
from playbooks.normal import digest, to_document
from playbooks.places import Flaw, Path, path_text, shown
from playbooks.schema import document_schema
from playbooks.source import MAX_PROBLEMS, Source

__all__ = [
    "DocumentInvalid",
    "DocumentUnparseable",
    "Parsed",
    "digest",
    "document_schema",
    "parse",
    "parse_data",
    "publish_problems",
    "to_document",
]


class DocumentInvalid(Invalid):
    """The document is not a playbook."""

    code = "invalid_document"


class DocumentUnparseable(DocumentInvalid):
    """The document is neither JSON nor YAML, or is beyond what a document may be."""

    code = "unparseable_document"
    status = 400


@dataclass(frozen=True, slots=True)
class Parsed:
    definition: Definition
    document: dict[str, Any]
    """The plain data as sent, but that its schemas say the order of their properties, which databases forget."""
    notes: tuple[str, ...] = ()  # defaults that were applied
    lines: Mapping[str, int] | None = None  # the line of each step, by its id, where the document was text


def parse(text: str | bytes, *, default_id: str = "") -> Parsed:
    """Read a document from text. `default_id` names it if it has no id. Raises DocumentInvalid."""
    try:
        found = source.read(text)
    except Unparseable as error:
        raise DocumentUnparseable(_summary("cannot be read", error.errors), errors=error.errors)
    return _parsed(found, default_id)


def parse_data(data: Any, *, default_id: str = "") -> Parsed:
    """The same for a document that is data already, such as the body of a request. Raises DocumentInvalid."""
    try:
        found = source.check(data)
    except Unparseable as error:
        raise DocumentUnparseable(_summary("cannot be read", error.errors), errors=error.errors)
    return _parsed(found, default_id)


def _parsed(found: Source, default_id: str) -> Parsed:
    if not isinstance(found.data, dict):
        remedy = 'Begin with `{"id": "…", "steps": […]}`, or the same in YAML.'
        message = f"A playbook is a mapping of fields, not {shown(found.data)}."
        raise _invalid([Problem("", message, remedy, found.line(()))])
    flaws = [*checks.flaws(found.data), *_id_flaws(found.data, default_id)]
    try:
        model = schema.Document.model_validate(found.data)
    except ValidationError as error:
        raise _invalid(_problems(found, [*flaws, *complaints.flaws(error)]))
    if flaws:
        raise _invalid(_problems(found, flaws))
    definition, notes = definition_of(model, default_id=default_id, taken=_given_ids(found.data))
    document = _with_order(found.data)
    return Parsed(definition, document, (*found.notes, *notes), _step_lines(found, definition))


def _invalid(problems: list[Problem]) -> DocumentInvalid:
    return DocumentInvalid(_summary("is not a playbook", problems), errors=problems)


def _summary(verdict: str, problems: Iterable[Problem]) -> str:
    first, *others = problems
    where = ", ".join(part for part in (first.path, f"line {first.line}" if first.line else "") if part)
    more = f" And {len(others)} more." if others else ""
    return f"The document {verdict}. {f'At {where}: ' if where else ''}{first.message}{more}"


def _given_ids(document: Mapping[str, Any]) -> frozenset[str]:
    steps = (step for _, step in checks.steps_within(document))
    return frozenset(step.get("id") or step.get("name") or "" for step in steps)


def _step_lines(found: Source, definition: Definition) -> dict[str, int] | None:
    """Definition.walk and steps_within follow the same order, so steps that were given no id have a line too."""
    if not found.lines:
        return None
    paths = (path for path, _ in checks.steps_within(found.data))
    lines = ((step.id, found.line(path)) for step, path in zip(definition.walk(), paths, strict=True))
    return {step_id: line for step_id, line in lines if line is not None}


def _with_order(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the order of properties written into its schemas."""
    if isinstance(document.get("payload_schema"), dict):
        document["payload_schema"] = json_schema.ordered(document["payload_schema"])
    for _, step in checks.steps_within(document):
        if isinstance(step.get("form"), dict):
            step["form"] = json_schema.ordered(step["form"])
    return document


# --- Problems: from what was found to what its author reads ---------------------------------------


def _problems(found: Source, flaws: Iterable[Flaw]) -> list[Problem]:
    """Every fault once, in the order of the document."""
    unique = {(flaw.at, flaw.message): flaw for flaw in flaws}
    ordered = sorted(unique.values(), key=lambda flaw: (found.line(flaw.at) or 0, _place(flaw.at)))
    problems = [
        Problem(path_text(flaw.at), flaw.message, flaw.remedy, found.line(flaw.at)) for flaw in ordered[:MAX_PROBLEMS]
    ]
    if len(ordered) > MAX_PROBLEMS:
        more = f"There are {len(ordered) - MAX_PROBLEMS} more problems."
        problems.append(Problem("", more, "Mend these first."))
    return problems


def _place(path: Path) -> tuple[tuple[int, str], ...]:
    return tuple((part, "") if isinstance(part, int) else (0, part) for part in path)


def _id_flaws(document: Mapping[str, Any], default_id: str) -> Iterator[Flaw]:
    if document.get("id") is not None or re.fullmatch(schema.SLUG.rstrip("$"), default_id):
        return
    unfit = f", and the name it came with, {shown(default_id)}, cannot be one" if default_id else ""
    remedy = 'Give the playbook an id of letters, digits, `_`, `.` and `-`, such as `"id": "protest_permit"`.'
    yield Flaw(("id",), f"`id` is missing{unfit}.", remedy)
