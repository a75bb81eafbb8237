# SPDX-License-Identifier: Apache-2.0
"""Schemas of forms and payloads are a part of JSON Schema that stays harmless."""

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks import json_schema
from playbooks.places import path_text

PERMIT_FORM = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "title": "Public protest permit",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 100, "x-autocomplete": "name"},
        "email": {"type": "string", "format": "email"},
        "date": {"type": "string", "format": "date"},
        "crowd": {"type": "integer", "minimum": 1, "maximum": 100_000, "examples": [250]},
        "sound": {"type": "boolean", "default": False},
        "kind": {"oneOf": [{"const": "march", "title": "A march"}, {"const": "rally", "title": "A rally"}]},
        "days": {"type": "array", "items": {"enum": ["Sat", "Sun"]}, "minItems": 1, "maxItems": 2},
        "contact": {"type": "object", "properties": {"phone": {"type": ["string", "null"], "format": "tel"}}},
    },
    "required": ["name", "date"],
    "dependentRequired": {"sound": ["crowd"]},
    "if": {"properties": {"kind": {"const": "march"}}},
    "then": {"required": ["crowd"]},
    "additionalProperties": False,
    "x-order": ["date"],
}


def at(schema):
    return [path_text(flaw.at) for flaw in json_schema.flaws(schema)]


def within(**field):
    return {"type": "object", "properties": {"a": field}}


def test_a_form_as_authors_write_them():
    assert json_schema.flaws(PERMIT_FORM) == []


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ([], ""),
        ({}, ""),
        ({"type": "string"}, ""),
        (within(pattern="^(a+)+$"), "properties.a.pattern"),
        (within(**{"$ref": "#/properties/b"}), "properties.a.$ref"),
        (within(**{"$dynamicRef": "#x"}), "properties.a.$dynamicRef"),
        ({"type": "object", "$defs": {}}, "$defs"),
        ({"type": "object", "$id": "http://example.org/"}, "$id"),
        ({"type": "object", "patternProperties": {}}, "patternProperties"),
        (within(type="array", uniqueItems=True), "properties.a.uniqueItems"),
        (within(minLenght=1), "properties.a.minLenght"),
        (within(type="text"), "properties.a.type"),
        (within(type=[]), "properties.a.type"),
        (within(format="regex"), "properties.a.format"),
        (within(minLength=-1), "properties.a.minLength"),
        (within(minLength=1.5), "properties.a.minLength"),
        (within(minimum="1"), "properties.a.minimum"),
        (within(multipleOf=0), "properties.a.multipleOf"),
        (within(enum=[]), "properties.a.enum"),
        (within(enum="a"), "properties.a.enum"),
        (within(items=[{}]), "properties.a.items"),
        (within(oneOf={}), "properties.a.oneOf"),
        (within(oneOf=[]), "properties.a.oneOf"),
        (within(oneOf=[{"pattern": "x"}]), "properties.a.oneOf[0].pattern"),
        (within(readOnly="yes"), "properties.a.readOnly"),
        ({"type": "object", "properties": {"a": 1}}, "properties"),
        ({"type": "object", "properties": {}, "required": ["b"]}, "required[0]"),
        ({"type": "object", "properties": {"a": {}}, "x-order": ["a", "b"]}, "x-order[1]"),
        ({"type": "object", "required": ["a", "a"]}, "required"),
        ({"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"}, "$schema"),
        (within(enum=list(range(501))), "properties.a.enum"),
        (within(description="x" * 70_000), ""),
        ({"type": "object", "properties": {str(n): {} for n in range(501)}}, ""),
    ],
)
def test_what_is_not_allowed_is_named_with_its_place(schema, path):
    assert at(schema) == [path]


def test_schemas_may_be_eight_levels_deep_and_no_deeper():
    def nested(levels):
        return {"type": "object"} if levels == 1 else {"type": "object", "properties": {"a": nested(levels - 1)}}

    assert at(nested(8)) == []
    assert at(nested(9)) == [".".join(["properties.a"] * 8)]


def test_the_remedy_for_a_missing_name_is_the_name_that_was_meant():
    (flaw,) = json_schema.flaws({"type": "object", "properties": {"date": {}}, "required": ["dtae"]})

    assert flaw.remedy == "Did you mean `date`?"


def test_order_is_written_down_at_every_level():
    inner = {"type": "object", "properties": {"b": {}, "a": {}}}
    within_choice = {"type": "object", "oneOf": [inner, {"required": ["x"]}], "additionalProperties": inner}
    ordered = {**inner, "x-order": ["b", "a"]}

    assert json_schema.ordered(within_choice) == {
        "type": "object",
        "oneOf": [ordered, {"required": ["x"]}],
        "additionalProperties": ordered,
    }


VALUES = st.none() | st.booleans() | st.integers(-2, 3) | st.text("ab", max_size=2) | st.just("object") | st.just({})
KEYWORD_SCHEMAS = st.recursive(
    st.dictionaries(st.sampled_from(sorted(json_schema.KEYWORDS)), VALUES | st.lists(VALUES, max_size=3), max_size=4),
    lambda inner: st.dictionaries(
        st.sampled_from(sorted(json_schema.KEYWORDS)),
        inner | st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
        max_size=4,
    ),
    max_leaves=6,
)


@given(KEYWORD_SCHEMAS)
def test_what_is_accepted_is_json_schema(schema):
    schema = {**schema, "type": "object"}
    if not json_schema.flaws(schema):
        jsonschema.Draft202012Validator.check_schema(schema)
        assert json_schema.flaws(json_schema.ordered(schema)) == []
