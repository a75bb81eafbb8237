# SPDX-License-Identifier: Apache-2.0
"""The key ring: what is sealed opens in its place and nowhere else, and moves to a newer key without being opened."""

import pytest

from approvals.keyring import Damaged, KeyMissing, KeyRing, Sealed, key_id

OLD, NEW, OTHER = (bytes([number]) * 32 for number in (1, 2, 3))
PLACE = b"har_3f9c0a7be412\napi_key"
VALUE = b"sk_live_canary"


def test_what_is_sealed_opens_in_its_place():
    keys = KeyRing([OLD])

    assert keys.opened(keys.seal(VALUE, PLACE), PLACE) == VALUE


def test_nothing_of_the_value_stands_in_what_is_stored():
    sealed = KeyRing([OLD]).seal(VALUE, PLACE)

    assert VALUE not in sealed.ciphertext + sealed.wrapped_key
    assert OLD not in sealed.ciphertext + sealed.wrapped_key


def test_equal_values_are_sealed_differently():
    keys = KeyRing([OLD])
    first, second = keys.seal(VALUE, PLACE), keys.seal(VALUE, PLACE)

    assert first.ciphertext != second.ciphertext
    assert first.wrapped_key != second.wrapped_key


def test_in_another_place_it_does_not_open():
    keys = KeyRing([OLD])

    with pytest.raises(Damaged):
        keys.opened(keys.seal(VALUE, PLACE), b"har_000000000000\napi_key")


@pytest.mark.parametrize("part", ["ciphertext", "wrapped_key"])
@pytest.mark.parametrize("at", [0, 12, -1])
def test_changed_by_one_bit_it_does_not_open(part, at):
    keys = KeyRing([OLD])
    sealed = keys.seal(VALUE, PLACE)
    changed = bytearray(getattr(sealed, part))
    changed[at] ^= 1
    parts = {name: getattr(sealed, name) for name in ("ciphertext", "wrapped_key", "key_id")}

    with pytest.raises(Damaged):
        keys.opened(Sealed(**{**parts, part: bytes(changed)}), PLACE)


@pytest.mark.parametrize("cut", [b"", b"short"])
def test_cut_short_it_does_not_open(cut):
    keys = KeyRing([OLD])
    sealed = keys.seal(VALUE, PLACE)

    with pytest.raises(Damaged):
        keys.opened(Sealed(cut, sealed.wrapped_key, sealed.key_id), PLACE)


def test_one_value_key_opens_no_other_value():
    keys = KeyRing([OLD])
    first, second = keys.seal(VALUE, PLACE), keys.seal(b"another", PLACE)

    with pytest.raises(Damaged):
        keys.opened(Sealed(first.ciphertext, second.wrapped_key, second.key_id), PLACE)


def test_new_values_are_wrapped_by_the_newest_key_and_older_ones_still_open():
    before = KeyRing([OLD]).seal(VALUE, PLACE)
    keys = KeyRing([NEW, OLD])

    assert keys.opened(before, PLACE) == VALUE
    assert keys.seal(VALUE, PLACE).key_id == key_id(NEW)


def test_rewrapped_it_opens_without_the_old_key_and_its_ciphertext_is_the_same():
    before = KeyRing([OLD]).seal(VALUE, PLACE)

    after = KeyRing([NEW, OLD]).rewrapped(before, PLACE)

    assert after.ciphertext == before.ciphertext
    assert KeyRing([NEW]).opened(after, PLACE) == VALUE
    with pytest.raises(KeyMissing):
        KeyRing([OLD]).opened(after, PLACE)


def test_without_its_key_it_neither_opens_nor_is_rewrapped():
    sealed = KeyRing([OLD]).seal(VALUE, PLACE)

    with pytest.raises(KeyMissing):
        KeyRing([OTHER]).opened(sealed, PLACE)
    with pytest.raises(KeyMissing):
        KeyRing([OTHER]).rewrapped(sealed, PLACE)


def test_a_key_is_named_without_being_told():
    keys = KeyRing([OLD, NEW])

    assert OLD.hex() not in key_id(OLD)
    assert repr(keys) == "<key ring of 2>"
    assert not KeyRing([])
