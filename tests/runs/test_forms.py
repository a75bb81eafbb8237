# SPDX-License-Identifier: Apache-2.0
"""Forms made from JSON Schema: what fits becomes the payload, what does not is said where it stands."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from runs.forms import form_class

TEXT = {"type": "string"}
COLOURS = {"type": "string", "oneOf": [{"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}]}


def schema_of(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def sent(schema: dict[str, Any] | None, **values: Any) -> Any:
    """The form, as a browser would send it."""
    data = QueryDict(mutable=True)
    for name, value in values.items():
        data.setlist(name, value if isinstance(value, list) else [value])
    return form_class(schema)(data)


def payload_of(schema: dict[str, Any] | None, **values: Any) -> Any:
    form = sent(schema, **values)
    assert form.is_valid(), form.errors.as_json()
    return form.payload


@pytest.mark.parametrize(
    ("schema", "typed", "kept"),
    [
        (TEXT, "  a name ", "a name"),
        ({"type": "string", "maxLength": 900}, "line one\nline two", "line one\nline two"),
        ({"type": "string", "format": "textarea"}, "text", "text"),
        ({"type": "string", "format": "email"}, "ana@example.org", "ana@example.org"),
        ({"type": "string", "format": "tel"}, "+1 202 555 0100", "+1 202 555 0100"),
        ({"type": "string", "format": "uri"}, "example.org/plan", "https://example.org/plan"),
        ({"type": "string", "format": "date"}, "2027-03-01", "2027-03-01"),
        ({"type": "string", "format": "time"}, "18:30", "18:30:00"),
        ({"type": "string", "format": "date-time"}, "2027-03-01T18:30", "2027-03-01T18:30:00Z"),
        (
            {"type": "string", "format": "uuid"},
            "6F9619FF-8B86-D011-B42D-00C04FC964FF",
            "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        ),
        ({"type": "string", "format": "password"}, " kept as typed ", " kept as typed "),
        ({"type": "integer", "minimum": 1}, "250", 250),
        ({"type": "number"}, "2.5", 2.5),
        ({"type": "number"}, "40", 40),
        ({"type": "boolean"}, "on", True),
        ({"type": "boolean", "const": True}, "on", True),
        ({"enum": ["north", "south"]}, "south", "south"),
        ({"type": "integer", "enum": [1, 2, 3]}, "2", 2),
        (COLOURS, "g", "g"),
        ({"type": ["string", "null"]}, "said", "said"),
        ({"type": "array", "items": COLOURS}, ["r", "g"], ["r", "g"]),
        ({"type": "array", "items": {"type": "integer", "enum": [10, 20]}}, ["20"], [20]),
        ({"type": "array", "items": {"type": "string"}}, '["any", "thing"]', ["any", "thing"]),
        ({"type": "object"}, '{"deep": {"er": [1, 2.5, null]}}', {"deep": {"er": [1, 2.5, None]}}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "null", None),
    ],
)
def test_what_is_typed_becomes_json_of_the_schemas_type(schema, typed, kept):
    assert payload_of(schema_of("answer", answer=schema), answer=typed) == {"answer": kept}


@pytest.mark.parametrize(
    ("schema", "typed", "fault"),
    [
        (TEXT, "", "This field is required."),
        ({"type": "string", "minLength": 5}, "four", "at least 5 characters"),
        ({"type": "string", "maxLength": 3}, "four", "at most 3 characters"),
        ({"type": "string", "format": "email"}, "nobody", "valid email"),
        ({"type": "string", "format": "uri"}, "javascript:alert(1)", "valid URL"),
        ({"type": "string", "format": "date"}, "01/03/2027", "valid date"),
        ({"type": "string", "format": "date"}, "2027-02-30", "valid date"),
        ({"type": "string", "const": "I AGREE"}, "maybe", 'must be "I AGREE"'),
        ({"type": "integer"}, "2.5", "whole number"),
        ({"type": "integer", "minimum": 1}, "0", "greater than or equal to 1"),
        ({"type": "integer", "exclusiveMaximum": 10}, "10", "less than 10"),
        ({"type": "integer", "multipleOf": 5}, "7", "multiple of 5"),
        ({"type": "integer"}, "9007199254740993", "less than or equal"),
        ({"type": "number"}, "nan", "number"),
        ({"type": "boolean", "const": True}, "", "Tick this"),
        (COLOURS, "blue", "not one of the available choices"),
        ({"type": "array", "items": COLOURS, "minItems": 2}, ["r"], "at least 2"),
        ({"type": "array", "items": COLOURS, "maxItems": 1}, ["r", "g"], "at most 1"),
        ({"type": "array", "items": COLOURS}, ["r", "blue"], "not one of the available choices"),
        ({"type": "object"}, "{not json", "not JSON"),
        ({"type": "object"}, '{"a": 1, "a": 2}', "twice"),
        ({"type": "object"}, '{"a": NaN}', "NaN is no number of JSON"),
        ({"type": "object"}, "[]", "is not of type 'object'"),
        ({"type": "array", "items": {"type": "integer"}}, '[1, "two"]', "is not of type 'integer'"),
    ],
)
def test_what_does_not_fit_is_said_at_its_field(schema, typed, fault):
    form = sent(schema_of("answer", answer=schema), answer=typed)

    assert not form.is_valid()
    assert list(form.errors) == ["answer"]
    assert fault in " ".join(form.errors["answer"])


def test_an_optional_field_left_empty_leaves_its_property_out():
    optional = {
        "text": TEXT,
        "day": {"type": "string", "format": "date"},
        "count": {"type": "integer"},
        "colour": COLOURS,
        "colours": {"type": "array", "items": COLOURS},
        "more": {"type": "object"},
        "contact": schema_of("phone", phone=TEXT),
    }
    assert payload_of(schema_of(**optional)) == {}


def test_a_required_property_that_may_be_null_becomes_null_when_left_empty():
    assert payload_of(schema_of("note", note={"type": ["string", "null"]})) == {"note": None}


def test_an_unticked_box_is_an_answer():
    assert payload_of(schema_of("agreed", agreed={"type": "boolean"})) == {"agreed": False}


def test_fields_of_a_nested_object_stand_in_a_fieldset_and_come_back_as_an_object():
    schema = schema_of("contact", contact={**schema_of("phone", phone=TEXT, fax=TEXT), "title": "Contact"}, name=TEXT)
    form = sent(schema, **{"contact.phone": "555", "name": "Ana"})

    assert [section.legend for section in form.sections] == ["Contact", ""]
    assert form.is_valid()
    assert form.payload == {"contact": {"phone": "555"}, "name": "Ana"}


def test_a_begun_optional_object_must_be_whole():
    schema = schema_of(contact=schema_of("phone", phone=TEXT, fax=TEXT))
    form = sent(schema, **{"contact.fax": "556"})

    assert not form.is_valid()
    assert form.errors == {"contact.phone": ["This field is required."]}


def test_what_only_the_whole_schema_can_say_is_said_at_the_field_it_is_about():
    schema = {
        **schema_of("kind", kind={"enum": ["march", "rally"]}, route=TEXT),
        "if": {"properties": {"kind": {"const": "march"}}},
        "then": {"required": ["route"]},
    }
    assert sent(schema, kind="rally").is_valid()
    assert sent(schema, kind="march").errors == {"route": ["This field is required."]}


def test_a_field_that_is_faulty_is_reported_once():
    form = sent(schema_of("count", "name", count={"type": "integer"}, name=TEXT), count="many", name="")
    assert {name: len(faults) for name, faults in form.errors.items()} == {"count": 1, "name": 1}


def test_without_a_schema_a_payload_is_any_json_object():
    assert payload_of(None, payload='{"form_id": 123}') == {"form_id": 123}
    assert not sent(None, payload="[1]").is_valid()
    assert not sent(None, payload="").is_valid()


def test_the_order_of_fields_is_the_one_written_down():
    schema = {**schema_of(b=TEXT, c=TEXT, a=TEXT), "x-order": ["c", "a"]}
    assert [field.name for section in form_class(schema)().sections for field in section.fields] == ["c", "a", "b"]


def test_defaults_stand_in_the_empty_form():
    form = form_class(
        schema_of(
            colour={**COLOURS, "default": "g"},
            colours={"type": "array", "items": COLOURS, "default": ["r"]},
            count={"type": "integer", "default": 3},
            secret={"type": "string", "format": "password", "default": "no"},
        )
    )()
    html = str(form)
    assert '<option value="g" selected>Green</option>' in html
    assert 'value="r" id="id_colours_0" checked' in html
    assert 'value="3"' in html
    assert 'value="no"' not in html


def test_a_secret_is_never_shown_again():
    form = sent(schema_of("key", "name", key={"type": "string", "format": "password"}, name=TEXT), key="s3cret")
    assert not form.is_valid()
    assert "s3cret" not in str(form)


def test_an_authors_words_are_text_and_never_markup():
    schema = schema_of(
        x={
            "type": "string",
            "title": "<script>alert(1)</script>",
            "description": "<img src=x onerror=alert(1)>",
            "x-autocomplete": '"><script>',
        }
    )
    html = str(form_class(schema)())
    assert "<script" not in html
    assert "<img" not in html


LEAVES = st.sampled_from(
    [
        TEXT,
        COLOURS,
        {"type": "string", "format": "date"},
        {"type": "integer", "minimum": 0},
        {"type": "number", "maximum": 10},
        {"type": "boolean"},
        {"type": "array", "items": COLOURS},
        {"type": ["integer", "null"]},
        {"type": "object"},
        schema_of("inner", inner={"type": "integer"}),
    ]
)


@given(
    properties=st.dictionaries(st.sampled_from("abcd"), LEAVES, min_size=1),
    typed=st.dictionaries(
        st.sampled_from(["a", "b", "c", "d", "a.inner", "b.inner", "payload"]),
        st.one_of(st.sampled_from(["", "7", "-1", "r", "2027-01-01", "{}", "[]", "on", "1e400"]), st.text(max_size=8)),
    ),
    data=st.data(),
)
def test_whatever_a_form_accepts_validates_under_its_schema(properties, typed, data):
    required = data.draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
    schema = schema_of(*required, **properties)
    form = sent(schema, **typed)
    if form.is_valid():
        jsonschema.validate(form.payload, schema)
    else:
        assert form.faults
