# SPDX-License-Identifier: Apache-2.0
"""Nothing in a text of others is hidden from whoever reads it."""

import unicodedata

import pytest
from django.template import Context, Template
from hypothesis import given
from hypothesis import strategies as some

from audit.shown import as_text, made_visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pay 100\u202e001 yap", "pay 100<U+202E>001 yap"),  # turns the direction of what follows
        ("\u2066isolated\u2069", "<U+2066>isolated<U+2069>"),
        ("zero\u200bwidth\u200c\u200d", "zero<U+200B>width<U+200C><U+200D>"),
        ("\ufeffmark", "<U+FEFF>mark"),
        ("a\U000e0041b", "a<U+E0041>b"),  # a tag, read by machines alone
        ("heart\ufe0f", "heart<U+FE0F>"),
        ("\u3164\u115f\u2800", "<U+3164><U+115F><U+2800>"),  # letters that show nothing
        ("bell\x07\x1b[31m\x00", "bell<U+0007><U+001B>[31m<U+0000>"),
        ("line\u2028paragraph\u2029", "line<U+2028>paragraph<U+2029>"),
        ("carriage\rreturn", "carriage<U+000D>return"),
        ("\ue000\uffff", "<U+E000><U+FFFF>"),
        ("soft\u00adhyphen", "soft<U+00AD>hyphen"),
    ],
)
def test_what_the_eye_does_not_see_becomes_a_code_point(text, shown):
    assert made_visible(text) == shown


@pytest.mark.parametrize("text", ["", "plain", "two\nlines\tand a tab", "Möbius 東京 Ελλάδα عربى 🙂", "a\u0301"])
def test_what_is_seen_stays_as_it_is(text):
    assert made_visible(text) == text


@given(some.text())
def test_nothing_hidden_remains(text):
    hidden = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}

    assert not any(unicodedata.category(char) in hidden for char in made_visible(text) if char not in "\n\t")


def test_a_value_is_laid_out_in_its_order_with_nothing_hidden_in_it():
    assert as_text({"z": 1, "a": ["x\u202e"]}) == '{\n  "z": 1,\n  "a": [\n    "x<U+202E>"\n  ]\n}'


def test_a_page_escapes_what_it_shows():
    page = Template("{% load shown %}{{ note|made_visible }} {{ value|as_text }}")

    html = page.render(Context({"note": "<script>\u202e", "value": "</pre>"}))

    assert html == "&lt;script&gt;&lt;U+202E&gt; &quot;&lt;/pre&gt;&quot;"
