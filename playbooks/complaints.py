# SPDX-License-Identifier: Apache-2.0
"""What pydantic finds wrong, said to the author of the document: the place, the reason, the remedy.

Remedies come from the descriptions and examples of the models, so that a new field brings its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from playbooks import schema, schema_parts
from playbooks.places import Flaw, Flawed, Path, did_you_mean, listed, path_text, shown
from playbooks.schema_values import Part


@dataclass(frozen=True)
class Format:
    """The models of one kind of document, and how its parts are called."""

    root: type[Part]
    nouns: Mapping[type[Part], str]  # "a retry rule"
    parts: Mapping[str, type[Part]]  # by the key, or the tag, under which they stand
    tags: frozenset[str] = frozenset()
    other_words: Mapping[str, str] = field(default_factory=dict)


def flaws(error: ValidationError, of: Format | None = None) -> Iterator[Flaw]:
    """Of a playbook, unless another format is named."""
    for details in error.errors(include_url=False):
        yield from _flaws_of(details, of or PLAYBOOK)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


_NOUNS: Mapping[type[Part], str] = {
    **{model: _with_article(f"{kind.value} step") for kind, model in schema.STEP_MODELS.items()},
    schema.Document: "a playbook",
    schema_parts.RetryPolicyPart: "a retry policy",
    schema_parts.RetryRulePart: "a retry rule",
    schema_parts.TimeoutsPart: "the timeouts",
    schema_parts.OptionPart: "an option",
    schema.BranchPart: "a branch",
    schema.CasePart: "a case",
    schema.DetourPart: "a branch to other steps",
    schema.WebFormPart: "the web form",
}
_PARTS_BY_TAG: Mapping[str, type[Part]] = {
    **{f"{kind.value} step": model for kind, model in schema.STEP_MODELS.items()},
    "retry policy": schema_parts.RetryPolicyPart,
    "option with a label": schema_parts.OptionPart,
    "other steps": schema.DetourPart,
}
_PARTS_BY_KEY: Mapping[str, type[Part]] = {
    "retry_rules": schema_parts.RetryRulePart,
    "timeouts": schema_parts.TimeoutsPart,
    "branches": schema.BranchPart,
    "cases": schema.CasePart,
    "web_form": schema.WebFormPart,
}
_PARTS = {**_PARTS_BY_TAG, **_PARTS_BY_KEY}
_TAGS = frozenset(
    {
        *_PARTS_BY_TAG,
        "number of retries",
        "policy name",
        "policy",
        "option key",
        "join word",
        "number of branches",
        "reaction word",
    }
)
_OTHER_WORDS = {
    "max_retries": "retries",
    "retry": "retries",
    "timeout": "timeouts",
    "ttl": "token_ttl",
    "kind": "type",
    "assignee": "role",
    "condition": "when",
    "if": "when",
    "schema": "payload_schema",
    "arguments": "call",
}
PLAYBOOK = Format(schema.Document, _NOUNS, _PARTS, _TAGS, _OTHER_WORDS)


def _flaws_of(details: ErrorDetails, of: Format) -> Iterator[Flaw]:
    if details["type"] in ("union_tag_not_found", "union_tag_invalid"):
        return  # the kind of a step is judged in checks.py
    loc = details["loc"]
    # The last part of the place of an unknown field is the author's own word; all others are the models'.
    is_unknown = details["type"] == "extra_forbidden"
    path = tuple(part for part in loc[:-1] if part not in of.tags)
    path += loc[-1:] if is_unknown or (loc and loc[-1] not in of.tags) else ()
    reason = details.get("ctx", {}).get("error")
    if isinstance(reason, Flawed):
        yield from (Flaw((*path, *flaw.at), flaw.message, flaw.remedy) for flaw in reason.flaws)
        return
    part, name = _part_and_field(loc, of)
    if is_unknown:
        yield Flaw(path, *_unknown_field(str(loc[-1]), part, of))
    else:
        said = path_text(path[-2:]) if path and isinstance(path[-1], int) else name
        yield Flaw(path, _complaint(details, part, said, of), _remedy(details, part, said))


def _part_and_field(loc: Path, of: Format) -> tuple[type[Part], str]:
    """The part of the document in which `loc` lies, and its field there; an item of a list has no field."""
    part: type[Part] = of.root
    rest: Path = loc
    for position, name in enumerate(loc[:-1]):
        if isinstance(name, str) and name in of.parts:
            part = of.parts[name]
            rest = loc[position + 1 :]
    return part, next((name for name in rest if isinstance(name, str)), "")


def _unknown_field(word: str, part: type[Part], of: Format) -> tuple[str, str]:
    fields = [info.alias or name for name, info in part.model_fields.items()]
    other = of.other_words.get(word)
    remedy = f"Did you mean `{other}`?" if other in fields else did_you_mean(word, fields)
    message = f"{shown(word)} is not a field of {of.nouns[part]}."
    return message, remedy or f"Leave it out. The fields are {listed(fields)}."


_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_BOUNDS = {
    "greater_than": ("gt", "It has to be more than {}."),
    "greater_than_equal": ("ge", "It has to be at least {}."),
    "less_than_equal": ("le", "It has to be at most {}."),
    "string_too_long": ("max_length", "It may have at most {} characters."),
    "string_too_short": ("min_length", "It needs at least {} character."),
    "too_long": ("max_length", "It may have at most {} entries."),
    "too_short": ("min_length", "It needs at least {} entry."),
}


def _complaint(details: ErrorDetails, part: type[Part], field: str, of: Format) -> str:
    kind, value = details["type"], shown(details["input"])
    if kind == "missing":
        return f"`{field}` is missing."
    if kind in _WANTED:
        return f"`{field}` is {value}, not {_WANTED[kind]}."
    if kind in _BOUNDS:
        return f"`{field}` is {value}."
    if field == "role":
        return f"{value} is not a role for {of.nouns[part]}."
    return f"{value} is not a valid `{field}`."


def _remedy(details: ErrorDetails, part: type[Part], field: str) -> str:
    kind, value, ctx = details["type"], details["input"], details.get("ctx", {})
    if kind == "string_type" and isinstance(value, int | float):
        return f'Put it in quotes: "{shown(value)}".'
    if kind in _BOUNDS:
        bound, sentence = _BOUNDS[kind]
        return sentence.format(ctx[bound])
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", ctx["expected"])
        return did_you_mean(str(value), words) or f"Write one of {listed(words)}."
    examples = part.model_fields[field].examples if field in part.model_fields else None
    example = f"Write for example {shown(examples[0])}." if examples else ""
    if kind == "string_pattern_mismatch":
        return f"{example} Letters, digits, `.`, `_` and `-` only, and not too long.".strip()
    return example or f"Write {_WANTED.get(kind, 'what the reference of documents says')}."
