# SPDX-License-Identifier: Apache-2.0
"""YAML says what JSON says, and plain words stay words."""

import pytest
import yaml

from playbooks import source
from playbooks.parse import parse
from playbooks.places import path_text


@pytest.fixture(params=["libyaml", "pure Python"])
def reader(request, monkeypatch):
    """Both of PyYAML's readers: an installation may have been built without libyaml."""
    monkeypatch.setattr(source, "YamlReader", yaml.CSafeLoader if request.param == "libyaml" else yaml.SafeLoader)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-0.5", -0.5),
        ("1e3", 1000.0),
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("+1", "+1"),
        (".5", ".5"),
        ("12:30", "12:30"),
        ("2024-06-01", "2024-06-01"),
        ("'1.10'", "1.10"),
        ('"null"', "null"),
        ("<<", "<<"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_plain_values(reader, written, value):
    read = source.read(f"x: {written}\n").data["x"]

    assert read == value
    assert type(read) is type(value)


def test_words_that_other_readers_take_for_booleans_are_keys_like_any_other(reader):
    assert source.read("on: 1\nno: 2\n'true': 3\n").data == {"on": 1, "no": 2, "true": 3}


def test_a_number_that_loses_a_zero_is_noted():
    text = "id: p\nsteps:\n- id: x\n  type: script\n  call:\n    action: a\n    arguments: {version: 1.10}\n"
    parsed = parse(text)

    assert parsed.definition.steps[0].call.arguments == {"version": 1.1}
    assert "Line 7: 1.10 was read as the number 1.1. In quotes it stays as written." in parsed.notes


def test_flow_style_with_a_comment_and_a_trailing_comma_is_yaml(reader):
    assert source.read('{"id": "p", # the permit\n "steps": [],}').data == {"id": "p", "steps": []}


def test_a_byte_order_mark_is_no_part_of_the_document(reader):
    assert source.read("\ufeffid: p\n").data == {"id": "p"}
    assert source.read("\ufeff{}".encode()).data == {}


def test_lines_of_keys_items_and_nested_values(reader):
    text = "id: p\n\nsteps:\n  -\n    id: x\n    call: >\n      a\n      b\n    options:\n      - one\n      - two\n"
    lines = source.read(text).lines

    assert {path_text(path): line for path, line in lines.items()} == {
        "": 1,
        "id": 1,
        "steps": 3,
        "steps[0]": 5,
        "steps[0].id": 5,
        "steps[0].call": 6,
        "steps[0].options": 9,
        "steps[0].options[0]": 10,
        "steps[0].options[1]": 11,
    }


@pytest.mark.parametrize(
    "text", ['"\\UFFFFFFFF"', '"\\ud800"', "%YAML 2.1\n---\na", "a: \x07", "\t- a", "'", "{[", "!"]
)
def test_both_readers_refuse_the_same(reader, text):
    with pytest.raises(source.Unparseable):
        source.read(text)


def test_both_readers_say_the_line_of_a_control_character(reader):
    with pytest.raises(source.Unparseable) as refused:
        source.read("id: p\ntitle: März\x7f\n")

    assert refused.value.errors[0].line == 2
