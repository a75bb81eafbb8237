# SPDX-License-Identifier: Apache-2.0
"""Holding a value against the JSON Schema that a version declares for it (Draft 2020-12, nothing fetched)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry

from config.errors import Problem
from playbooks.secret_parts import secret_names

OF_NAMES = frozenset({"required", "dependentRequired", "additionalProperties"})  # their sentences quote names alone
_FORMATS = Draft202012Validator.FORMAT_CHECKER


def payload_problems(schema: Mapping[str, Any] | None, value: Any, *, name: str = "payload") -> list[Problem]:
    """Every way in which `value`, which the caller knows as `name`, does not fit; none where nothing is declared."""
    return [
        Problem(_path(name, fault.absolute_path), sentence(schema, value, fault)) for fault in faults(schema, value)
    ]


def sentence(schema: Mapping[str, Any] | None, value: Any, fault: ValidationError) -> str:
    """What is wrong. The validator's own sentence quotes the value; of a secret, only the broken rule is said."""
    inside = [str(part) for part in fault.absolute_path][:1]
    if not inside and fault.validator in OF_NAMES:
        return fault.message
    about = inside or (list(value) if isinstance(value, Mapping) else [])
    if secret_names(schema or {}, about):
        return f"This secret breaks the rule `{fault.validator}: {fault.validator_value}`."[:200]
    return fault.message


def faults(schema: Mapping[str, Any] | None, value: Any) -> list[ValidationError]:
    """The same in the validator's own terms, for forms, which have words and places of their own."""
    if schema is None:
        return []
    validator = Draft202012Validator(dict(schema), registry=Registry(), format_checker=_FORMATS)
    return sorted(validator.iter_errors(value), key=lambda fault: list(map(str, fault.absolute_path)))


def _path(name: str, parts: Any) -> str:
    return ".".join([name, *map(str, parts)])
