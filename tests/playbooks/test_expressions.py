# SPDX-License-Identifier: Apache-2.0
"""Expressions: bounded when a document is read, closed where data is missing, and JSON in what they give."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from playbooks.expressions import BadExpression, Unevaluable, check, evaluate, mapped, names_in, steps_in

NAMES = {"payload": {"crowd": 700, "tags": ["a", "b"]}, "data": {"AI-Screen": {"risk": 0.5}}, "steps": {}}


@pytest.mark.parametrize(
    ("text", "value"),
    {
        "payload.crowd > 500": True,
        'data["AI-Screen"].risk': 0.5,
        "payload.tags.map(tag, tag + '!')": ["a!", "b!"],
        "has(payload.form)": False,
        "{'n': size(payload.tags)}": {"n": 2},
    }.items(),
)
def test_an_expression_reads_what_it_is_given(text, value):
    assert evaluate(text, NAMES, at="here") == value


@pytest.mark.parametrize(
    ("text", "why"),
    {
        "payload.form == 1": "there is no 'form'",
        "item.name": "'item' is not known here",
        'payload.crowd > "x"': "kinds that do not go together",
        "payload.crowd / 0": "it divides by zero",
        "payload.tags[7]": "",
    }.items(),
)
def test_where_there_is_no_value_the_error_names_expression_place_and_what_was_there(text, why):
    with pytest.raises(Unevaluable) as caught:
        evaluate(text, NAMES, at="check[3]/screen")
    said = str(caught.value)
    assert said.startswith(f"`{text}` at check[3]/screen has no value: ")
    assert why in said
    if "payload" in text:
        assert "payload has crowd, tags" in said
    assert "700" not in said, "values may be private, and this text goes to the log"


def test_what_is_there_is_told_in_few_words():
    with pytest.raises(Unevaluable) as caught:
        evaluate("payload.x", {"payload": {f"k{number}": 1 for number in range(40)}}, at="here")
    assert "k11 and 28 more" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "a.map(x, b.filter(y, y > x))",
        "a.all(x, (1 + size(b.map(y, y))) > 0)",
        "a.exists(x, x == '(' && b.exists_one(y, y == x))",
    ],
)
def test_a_macro_within_a_macro_is_refused(text):
    with pytest.raises(BadExpression, match="within another one"):
        check(text)


@pytest.mark.parametrize(
    "text", ["a.map(x, x) == b.map(y, y)", "a.map(x, '.filter(') != []", "size(a.filter(x, (x > 1)))"]
)
def test_macros_side_by_side_are_fine(text):
    check(text)


def test_long_and_broken_expressions_are_refused_with_a_remedy():
    with pytest.raises(BadExpression, match="too long") as long:
        check("1 + " * 200 + "1")
    with pytest.raises(BadExpression, match="does not parse at character 4") as broken:
        check("1 +")
    assert "500" in long.value.remedy
    assert "CEL" in broken.value.remedy


def test_a_mapping_gives_json_and_what_is_no_text_stands_for_itself():
    names = {"run": {"created_at": datetime(2026, 6, 1, tzinfo=UTC)}}
    given = {"at": "run.created_at", "for": 'duration("90s")', "n": 7, "word": '"yes"', "nothing": None}
    assert mapped(given, names, at="here") == {
        "at": "2026-06-01T00:00:00+00:00", "for": 90.0, "n": 7, "word": "yes", "nothing": None,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["{1: 2}", "b'abc'", "9007199254740992", "1e308 * 10.0"])
def test_what_json_cannot_carry_is_no_value(text):
    with pytest.raises(Unevaluable):
        mapped({"x": text}, {}, at="here")


def test_what_an_expression_reads_can_be_told_without_evaluating_it():
    text = 'steps["AI-Screen"].outcome == "PASS" && data.survey.n > 0 && payload.tags.all(t, t != "")'
    assert names_in(text) == {"steps", "data", "payload"}
    assert steps_in(text) == {"AI-Screen", "survey"}
