# SPDX-License-Identifier: Apache-2.0
"""From JSON Schema to form fields: which keyword becomes which field, and how its value becomes JSON again.

`runs/forms.py` says which part of JSON Schema that is. All words of a schema are text of an author we do not know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import escape, format_html

from config.api import MAX_SAFE_INTEGER, parse_json
from config.errors import Refused
from playbooks.secret_parts import holds_secret, is_secret, secret_names

Schema = Mapping[str, Any]
Path = tuple[str, ...]

MOMENTS = frozenset({"date", "time", "date-time"})
ONE_LINE_CHARACTERS = 200
TEXT_ROWS = 6
WHOLE = "payload"  # the name of the one field of a form that is JSON altogether

ANNOTATIONS = frozenset({"type", "title", "description", "default", "examples", "writeOnly", "$comment", "$schema"})
CHOICES = frozenset({"enum", "oneOf"})
NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "const"})
KEYWORDS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"minLength", "maxLength", "format", "const"}) | CHOICES,
    "integer": NUMBERS | CHOICES,
    "number": NUMBERS | CHOICES,
    "boolean": frozenset({"const"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "object": frozenset({"properties", "required", "additionalProperties"}),
}


class _Absent:
    """An optional field left empty: its property is left out."""


ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class Control:
    """One field, where its value stands in the payload, and how the cleaned value becomes JSON."""

    path: Path
    field: forms.Field
    to_json: Callable[[Any], Any] = lambda value: value

    @property
    def name(self) -> str:
        return ".".join(self.path) or WHOLE


@dataclass(frozen=True, slots=True)
class Group:
    controls: tuple[Control, ...]
    legend: str = ""
    description: str = ""
    required_as: str = ""  # the property of a fieldset that is there even when all in it is left empty


@dataclass(frozen=True, slots=True)
class _Choices:
    """The allowed values by the words that stand for them in HTML."""

    values: Mapping[str, Any]
    labels: Mapping[str, str]

    def pairs(self) -> list[tuple[str, str]]:
        return list(self.labels.items())


# From schema to fields ------------------------------------------------------------------------------------


def groups_of(schema: Schema) -> Iterator[Group]:
    if not schema.get("properties"):
        yield Group((_json_control((), {"title": "Payload", **schema}, required=True),))
        return
    plain: list[Control] = []
    for name, inner in _properties(schema):
        required = name in schema.get("required", ())
        if not _is_fieldset(inner):
            plain.append(_control((name,), inner, required=required))
            continue
        if plain:
            yield Group(tuple(plain))
            plain = []
        yield _fieldset(name, inner, required=required)
    if plain:
        yield Group(tuple(plain))


def _properties(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """In their order, which JSON does not keep. A schema may also be `true`: anything goes."""
    properties: Mapping[str, Any] = schema["properties"]
    secret = secret_names(schema, properties)
    for name in dict.fromkeys([*schema.get("x-order", ()), *properties]):
        inner = properties[name] if isinstance(properties[name], Mapping) else {}
        yield name, inner if name not in secret or holds_secret(inner) else {**inner, "writeOnly": True}


def _is_fieldset(schema: Schema) -> bool:
    has_fields = schema.get("type") == "object" and bool(schema.get("properties")) and not is_secret(schema)
    return has_fields and _is_understood(schema, "object")


def _fieldset(name: str, schema: Schema, *, required: bool) -> Group:
    # Of an optional object that is left empty, nothing is required; jsonschema asks for the rest of a begun one.
    needed = schema.get("required", ()) if required else ()
    controls = tuple(_control((name, key), inner, required=key in needed) for key, inner in _properties(schema))
    return Group(
        controls,
        legend=_label(name, schema),
        description=str(schema.get("description", "")),
        required_as=name if required else "",
    )


def _control(path: Path, schema: Schema, *, required: bool) -> Control:
    kind = schema.get("type") or ("string" if CHOICES & schema.keys() else "")
    if isinstance(kind, list) and len(kind) == 2 and "null" in kind:
        other = next(one for one in kind if one != "null")
        return _nullable(_control(path, {**schema, "type": other}, required=False), required=required)
    is_plain = kind == "string" and not CHOICES & schema.keys()
    if not isinstance(kind, str) or not _is_understood(schema, kind) or (holds_secret(schema) and not is_plain):
        return _json_control(path, schema, required=required)
    if CHOICES & schema.keys():
        return _one_control(path, schema, required=required)
    makers = {
        "string": _text_control,
        "integer": _number_control,
        "number": _number_control,
        "boolean": _tick_control,
        "array": _many_control,
    }
    return makers.get(kind, _json_control)(path, schema, required=required)


def _nullable(control: Control, *, required: bool) -> Control:
    def to_json(value: Any) -> Any:
        found = control.to_json(value)
        return None if found is ABSENT and required else found

    return replace(control, to_json=to_json)


def _is_understood(schema: Schema, kind: str) -> bool:
    words = {word for word in schema if not word.startswith("x-")}
    return words <= ANNOTATIONS | KEYWORDS.get(kind, frozenset())


def _choices(schema: Schema) -> _Choices | None:
    """None if a value is neither text nor number, or if two could not be told apart."""
    options = schema.get("oneOf")
    if options is None:
        options = [{"const": value} for value in schema.get("enum", ())]
    if not all(isinstance(option, Mapping) and option.keys() <= {"const", "title"} for option in options):
        return None
    values, labels = {}, {}
    for option in options:
        value = option.get("const")
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            return None
        key = _key_of(value)
        values[key], labels[key] = value, str(option.get("title", key))
    return _Choices(values, labels) if len(values) == len(options) > 0 else None


def _key_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _common(path: Path, schema: Schema, *, required: bool) -> dict[str, Any]:
    examples = schema.get("examples") or ()
    example = f"Example: {examples[0]}" if examples else ""
    description = str(schema.get("description", ""))
    return {
        "label": _label(path[-1] if path else WHOLE, schema),
        # Django's templates, and so the admin's, take help for markup; an author's words are text.
        "help_text": escape(" ".join(part for part in (description, example) if part)),
        "required": required,
        "initial": schema.get("default"),
    }


def _and(help_text: str, more: str) -> str:
    return format_html("{} {}", help_text, more) if help_text else more


def _label(name: str, schema: Schema) -> str:
    return str(schema.get("title") or name.replace("_", " ").replace("-", " ").capitalize())


def _attributes(schema: Schema, **more: Any) -> dict[str, Any]:
    wanted = schema.get("format", "")
    autocomplete = schema.get("x-autocomplete") or (wanted if wanted in {"email", "tel"} else "")
    return {**({"autocomplete": autocomplete} if autocomplete else {}), **more}


def _text_control(path: Path, schema: Schema, *, required: bool) -> Control:
    wanted = "password" if schema.get("writeOnly") else schema.get("format", "")
    common = _common(path, schema, required=required)
    if wanted in MOMENTS:
        return _moment_control(path, schema, wanted, common)
    lengths: dict[str, Any] = {"min_length": schema.get("minLength"), "max_length": schema.get("maxLength")}
    attributes = _attributes(schema)
    made: forms.Field
    match wanted:
        case "email":
            made = forms.EmailField(widget=forms.EmailInput(attributes), **lengths, **common)
        case "uri":
            made = forms.URLField(widget=forms.URLInput(attributes), assume_scheme="https", **lengths, **common)
        case "uuid":
            made = forms.UUIDField(widget=forms.TextInput(attributes), **common)
        case "password":
            made = forms.CharField(widget=_secret_widget(schema), strip=False, **lengths, **{**common, "initial": None})
        case _:
            made = forms.CharField(widget=_text_widget(schema, attributes), **lengths, **common)
    return Control(path, made, _text_to_json)


class SecretText(forms.Textarea):
    """Several lines that are never written into a page again, as those of a password are not."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"data-secret": "", "autocomplete": "off", "spellcheck": "false", **(attrs or {})})

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        return super().get_context(name, None, attrs)


SECRET_WIDGETS = (forms.PasswordInput, SecretText)


def _secret_widget(schema: Schema) -> forms.Widget:
    if schema.get("format") == "textarea":
        return SecretText({"rows": TEXT_ROWS})
    return forms.PasswordInput({"autocomplete": "off", "spellcheck": "false"})


def _text_widget(schema: Schema, attributes: dict[str, Any]) -> forms.Widget:
    if schema.get("format") == "textarea" or schema.get("maxLength", 0) > ONE_LINE_CHARACTERS:
        return forms.Textarea({**attributes, "rows": TEXT_ROWS})
    if schema.get("format") == "tel":
        return forms.TelInput(attributes)
    return forms.TextInput(attributes)


def _moment_control(path: Path, schema: Schema, wanted: str, common: dict[str, Any]) -> Control:
    made: forms.Field
    match wanted:
        case "date":
            day = forms.DateInput(_attributes(schema, type="date"), format="%Y-%m-%d")
            made = forms.DateField(widget=day, input_formats=["%Y-%m-%d"], **common)
        case "time":
            hour = forms.TimeInput(_attributes(schema, type="time"), format="%H:%M")
            made = forms.TimeField(widget=hour, input_formats=["%H:%M", "%H:%M:%S"], **common)
        case _:
            moment = forms.DateTimeInput(_attributes(schema, type="datetime-local"), format="%Y-%m-%dT%H:%M")
            common["help_text"] = _and(common["help_text"], "The time is UTC.")
            made = forms.DateTimeField(widget=moment, **common)
    return Control(path, made, _moment_to_json)


def _number_control(path: Path, schema: Schema, *, required: bool) -> Control:
    common = _common(path, schema, required=required)
    limits = {
        "min_value": max(schema.get("minimum", -MAX_SAFE_INTEGER), -MAX_SAFE_INTEGER),
        "max_value": min(schema.get("maximum", MAX_SAFE_INTEGER), MAX_SAFE_INTEGER),
    }
    kind = forms.IntegerField if schema["type"] == "integer" else forms.FloatField
    made = kind(widget=forms.NumberInput(attrs=_attributes(schema)), **limits, **common)
    # Limits that nobody set are no help in the browser.
    for name, word in (("min", "minimum"), ("max", "maximum")):
        if word not in schema:
            made.widget.attrs.pop(name, None)
    return Control(path, made, _number_to_json)


def _tick_control(path: Path, schema: Schema, *, required: bool) -> Control:
    # An empty box is an answer, false. Only a box that must be ticked is required in the sense of a form.
    common = _common(path, schema, required=schema.get("const") is True)
    return Control(path, forms.BooleanField(error_messages={"required": "Tick this to go on."}, **common), bool)


def _one_control(path: Path, schema: Schema, *, required: bool) -> Control:
    choices = _choices(schema)
    if choices is None:
        return _json_control(path, schema, required=required)
    common = _common(path, schema, required=required)
    if common["initial"] is not None:
        common["initial"] = _key_of(common["initial"])
    first = ("", "Choose one") if required else ("", "No answer")
    widget = forms.Select(attrs=_attributes(schema))
    made = forms.ChoiceField(choices=[first, *choices.pairs()], widget=widget, **common)
    return Control(path, made, lambda key: choices.values[key] if key else ABSENT)


def _many_control(path: Path, schema: Schema, *, required: bool) -> Control:
    items = schema.get("items")
    is_choice = isinstance(items, Mapping) and CHOICES & items.keys() and items.keys() <= CHOICES | ANNOTATIONS
    choices = _choices(items) if is_choice and items is not None else None
    if choices is None:
        return _json_control(path, schema, required=required)
    common = _common(path, schema, required=required and schema.get("minItems", 0) > 0)
    common["initial"] = [_key_of(value) for value in common["initial"] or ()]
    made = forms.MultipleChoiceField(choices=choices.pairs(), widget=forms.CheckboxSelectMultiple, **common)

    def to_json(keys: list[str]) -> Any:
        return [choices.values[key] for key in keys] if keys or required else ABSENT

    return Control(path, made, to_json)


def _json_control(path: Path, schema: Schema, *, required: bool) -> Control:
    common = _common(path, schema, required=required)
    if not path:
        common["initial"] = schema.get("default", {})
    if common["initial"] is not None:
        common["initial"] = json.dumps(common["initial"], indent=2, ensure_ascii=False)
    common["help_text"] = _and(common["help_text"], "Written as JSON.")
    kind = SecretText if holds_secret(schema) else forms.Textarea
    widget = kind(attrs={"rows": TEXT_ROWS, "spellcheck": "false", "class": "code"})
    return Control(path, JSONText(widget=widget, **common), _json_to_json)


class JSONText(forms.CharField):
    """JSON as the API reads it: no NaN, no key twice, nothing that a database would refuse."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return ABSENT
        try:
            return _Read(parse_json(text.encode()))
        except Refused as refusal:
            raise ValidationError(refusal.detail.replace("The body", "This text"), code="json")

    def validate(self, value: Any) -> None:
        if value is ABSENT and self.required:
            raise ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        """The schema validates it, with the rest of the payload."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A JSON value, wrapped: an empty one is an answer too."""

    value: Any


# From cleaned values to JSON ------------------------------------------------------------------------------


def _text_to_json(value: str | UUID | None) -> Any:
    return str(value) if value else ABSENT


def _number_to_json(value: int | float | None) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return ABSENT if value is None else value


def _json_to_json(value: Any) -> Any:
    return value.value if isinstance(value, _Read) else ABSENT


def _moment_to_json(value: date | time | datetime | None) -> Any:
    if value is None:
        return ABSENT
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat()
