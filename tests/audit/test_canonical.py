# SPDX-License-Identifier: Apache-2.0
"""Bytes, hashes and commitments are those of the standards, so that other people's tools agree with ours."""

import base64
import hashlib
import json
import struct

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as some

from audit.canonical import canonical, commitment, digest, disclose, leaf_hash, opened

# RFC 8785 ---------------------------------------------------------------------------------------------------


def test_the_example_of_rfc_8785_becomes_its_bytes():
    given_text = r"""{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"""
    expected = (
        '{"literals":[null,true,false],'
        '"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )

    assert canonical(json.loads(given_text)) == expected.encode()


def test_keys_are_ordered_by_utf_16_as_in_the_example_of_rfc_8785():
    names = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }

    assert list(json.loads(canonical(names)).values()) == [
        "Carriage Return", "One", "Control", "Latin Small Letter O With Diaeresis", "Euro Sign",
        "Emoji: Grinning Face", "Hebrew Letter Dalet With Dagesh",
    ]  # fmt: skip


json_values = some.recursive(
    some.none() | some.booleans() | some.integers(-(2**53) + 1, 2**53 - 1)
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(some.characters(exclude_categories=["Cs"])) | some.text(some.characters(max_codepoint=127)),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(some.characters(max_codepoint=200)), inner),
)  # fmt: skip


@given(json_values)
def test_the_short_way_for_plain_values_gives_the_bytes_of_the_library(value):
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_are_written_as_in_appendix_b_of_rfc_8785(bits, text):
    (number,) = struct.unpack(">d", bytes.fromhex(bits))

    assert canonical(number) == text.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, -(2**53), "\ud800", {1: "a key that is no text"}])
def test_what_json_cannot_carry_exactly_is_refused(value):
    with pytest.raises(ValueError):
        canonical(value)


def test_the_order_of_keys_makes_no_difference_to_a_digest():
    assert digest({"a": 1, "b": [2.0]}) == digest({"b": [2], "a": 1})


# RFC 6962 and RFC 9901 --------------------------------------------------------------------------------------


def test_the_hash_of_an_entry_is_the_leaf_hash_of_rfc_6962():
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_a_commitment_is_the_digest_of_a_disclosure_as_in_rfc_9901():
    disclosure = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0"

    assert opened(disclosure) == ("family_name", "Möbius")
    assert commitment(disclosure) == "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"


# Half a surrogate pair never gets as far as here: whoever reads input refuses it.
texts = some.text(some.characters(exclude_categories=("Cs",)))
hostile = some.sampled_from(
    ["\x00", "\u202e", "\u2066x\u2069", "\ufeff", "\U000e0041", "'; DROP TABLE x--", "</script>", "~", '"', "\\"]
)
leaves = some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False)
values = some.recursive(
    leaves | texts | hostile,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(texts | hostile, inner, max_size=4),
    max_leaves=12,
)


@given(texts | hostile, values)
def test_a_disclosure_gives_back_name_and_value_with_their_types_and_order(name, value):
    disclosure = disclose(name, value)

    found_name, found = opened(disclosure)

    assert (found_name, found) == (name, value)
    assert repr(found) == repr(value)  # 1 is not 1.0 is not True, and keys stand in their order
    assert disclosure.isascii()


def test_equal_values_have_different_commitments():
    """Or whoever guesses a value could tell it from the body."""
    assert len({commitment(disclose("name", "same")) for _ in range(100)}) == 100


def test_a_salt_has_128_bits():
    disclosure = disclose("name", "value")
    padded = disclosure + "=" * (-len(disclosure) % 4)
    salt, *_ = json.loads(base64.urlsafe_b64decode(padded))
    assert len(base64.urlsafe_b64decode(salt + "==")) == 16


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_value_that_is_not_json_is_not_disclosed(value):
    with pytest.raises(ValueError):
        disclose("name", value)


@given(values)
def test_a_commitment_is_the_hash_of_what_is_kept_and_of_nothing_parsed(value):
    disclosure = disclose("name", value)

    expected = hashlib.sha256(disclosure.encode()).digest()

    assert base64.urlsafe_b64decode(commitment(disclosure) + "=") == expected
