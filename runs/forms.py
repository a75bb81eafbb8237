# SPDX-License-Identifier: Apache-2.0
"""Forms generated from JSON Schema: the public form, the administrator's manual start, the fields of a request.

    form = form_class(definition.payload_schema)(request.POST)
    if form.is_valid():
        start_run(payload=form.payload, …)

What a form accepts validates under its schema (Draft 2020-12): after the fields' own checks, the whole payload
goes through jsonschema, and what that finds is shown at the field it is about.

The subset that becomes fields of its own:

- `string`, with `minLength`, `maxLength` (over 200: several lines), `const`, and the formats `email`, `tel`, `uri`,
  `uuid`, `date`, `time`, `date-time` (asked for and kept in UTC), `textarea`, `password` (never shown again);
- `integer` and `number`, with `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `multipleOf`, `const`;
- `boolean`; `const: true` must be ticked;
- `enum`, or `oneOf` of `const` with `title`, of texts and numbers;
- `array` of such choices, with `minItems`, `maxItems`;
- `object` with `properties` and `required`, one level deep, as a fieldset;
- any of these or `null`; `title`, `description`, `default`, `examples` (the first is shown); `x-order`, the order of
  properties; `x-autocomplete`, HTML's word for what a browser may fill in.

A property that says anything else is one field for JSON. So is a schema that is no object with properties. An
optional field left empty leaves its property out; a required one that may be null becomes null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from jsonschema import ValidationError

from playbooks import payloads
from runs.form_fields import ABSENT, WHOLE, Control, Group, Path, Schema, groups_of


@dataclass(frozen=True, slots=True)
class Section:
    """Fields that are shown together; those of a nested object have a legend."""

    fields: list[forms.BoundField]
    legend: str = ""
    description: str = ""


class SchemaForm(forms.Form):
    """The base of generated forms. After `is_valid()`, `payload` holds what validates under the schema."""

    schema: ClassVar[Schema]
    groups: ClassVar[tuple[Group, ...]]
    payload: Any = None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self.payload = self._payload_of(cleaned)
        for fault in payloads.faults(self.schema, self.payload):
            self._show(fault)
        return cleaned

    @property
    def sections(self) -> list[Section]:
        return [
            Section([self[control.name] for control in group.controls], group.legend, group.description)
            for group in self.groups
        ]

    @property
    def faults(self) -> list[tuple[str, str, str]]:
        """For the summary: the id of the field (or ""), its label, the sentence."""
        of_fields = [
            (bound.id_for_label or bound.auto_id, str(bound.label).rstrip(".:?"), str(message))
            for bound in self
            for message in bound.errors
        ]
        return [("", "", str(message)) for message in self.non_field_errors()] + of_fields

    @classmethod
    def controls(cls) -> list[Control]:
        return [control for group in cls.groups for control in group.controls]

    def _payload_of(self, cleaned: Mapping[str, Any]) -> Any:
        payload: dict[str, Any] = {}
        for control in self.controls():
            value = control.to_json(cleaned[control.name]) if control.name in cleaned else ABSENT
            if value is ABSENT:
                continue
            if not control.path:
                return value
            _put(payload, control.path, value)
        for group in self.groups:
            if group.required_as:
                payload.setdefault(group.required_as, {})
        return payload

    def _show(self, error: ValidationError) -> None:
        for path in _paths_of(error):
            name = self._field_at(path)
            if name is None:
                # What a faulty field leaves out must not be reported a second time, as a fault of the whole.
                if not self.errors:
                    self.add_error(None, self._sentence(error))
            elif name not in self.errors:
                self.add_error(name, self._sentence(error))

    def _sentence(self, error: ValidationError) -> str:
        return _sentence(error, payloads.sentence(self.schema, self.payload, error)[:300])

    def _field_at(self, path: Path) -> str | None:
        """The field whose value holds what `path` points at."""
        for length in range(len(path), -1, -1):
            name = ".".join(path[:length]) or WHOLE
            if name in self.fields:
                return name
        return None


def form_class(schema: Schema | None) -> type[SchemaForm]:
    """The form of a schema. Without one, a payload is any JSON object."""
    schema = {"type": "object", **(schema or {})}
    groups = tuple(groups_of(schema))
    fields: dict[str, Any] = {control.name: control.field for group in groups for control in group.controls}
    return type("PayloadForm", (SchemaForm,), {**fields, "schema": schema, "groups": groups})


def _put(payload: dict[str, Any], path: Path, value: Any) -> None:
    *outer, last = path
    for name in outer:
        payload = payload.setdefault(name, {})
    payload[last] = value


# What the schema finds ------------------------------------------------------------------------------------


def _paths_of(error: ValidationError) -> list[Path]:
    """Where the fault stands: a property that is missing is a fault of that property, not of its object."""
    here: Path = tuple(str(part) for part in error.absolute_path)
    if error.validator in {"required", "dependentRequired"} and isinstance(error.instance, Mapping):
        missing = [name for name in _asked_for(error) if name not in error.instance]
        return [(*here, name) for name in missing] or [here]
    return [here]


def _asked_for(error: ValidationError) -> list[str]:
    asked, instance = error.validator_value, error.instance
    if isinstance(asked, Mapping) and isinstance(instance, Mapping):
        return [name for key, names in asked.items() if key in instance for name in names]
    return list(asked) if isinstance(asked, list | tuple) else []


def _sentence(error: ValidationError, said: str) -> str:
    wanted = error.validator_value
    match error.validator:
        case "required" | "dependentRequired":
            return "This field is required."
        case "minItems":
            return f"Choose at least {wanted}."
        case "maxItems":
            return f"Choose at most {wanted}."
        case "exclusiveMinimum":
            return f"This must be more than {wanted}."
        case "exclusiveMaximum":
            return f"This must be less than {wanted}."
        case "multipleOf":
            return f"This must be a multiple of {wanted}."
        case "const":
            return f"This must be {json.dumps(wanted, ensure_ascii=False)}."
        case "format":
            return f"This is not a valid {wanted}."
        case _:
            return said if said.endswith(".") else f"{said}."
