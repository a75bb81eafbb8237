# SPDX-License-Identifier: Apache-2.0
"""The key ring under which secrets are kept: each value under a data key of its own, wrapped by a key of the ring.

New values are wrapped by the newest key; any key of the ring opens what it has wrapped. A value is bound to its place
(`place`: which request, which field), so that it opens nowhere else. Both are AES-256-GCM (NIST SP 800-38D): what was
changed does not open at all. A value is destroyed by forgetting its wrapped key.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

NONCE_BYTES = 12
KEY_ID_CHARACTERS = 16


class KeyMissing(Exception):
    """The key that wraps it is not in this process's ring."""


class Damaged(Exception):
    """What is stored is not what was sealed, or stands in another place."""


@dataclass(frozen=True, slots=True)
class Sealed:
    ciphertext: bytes
    wrapped_key: bytes
    key_id: str  # of the key of the ring


class KeyRing:
    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys`: 32 bytes each, newest first."""
        self._keys = {key_id(key): AESGCM(key) for key in keys}
        self.newest = key_id(keys[0]) if keys else ""

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __repr__(self) -> str:
        return f"<key ring of {len(self._keys)}>"

    def seal(self, value: bytes, place: bytes) -> Sealed:
        data_key = AESGCM.generate_key(256)
        return Sealed(_locked(AESGCM(data_key), value, place), self._wrapped(data_key, place), self.newest)

    def opened(self, sealed: Sealed, place: bytes) -> bytes:
        """Raises KeyMissing, Damaged."""
        return _unlocked(AESGCM(self._data_key(sealed, place)), sealed.ciphertext, place)

    def rewrapped(self, sealed: Sealed, place: bytes) -> Sealed:
        """The same value under the newest key. Raises KeyMissing, Damaged."""
        return Sealed(sealed.ciphertext, self._wrapped(self._data_key(sealed, place), place), self.newest)

    def _wrapped(self, data_key: bytes, place: bytes) -> bytes:
        assert self.newest, "an empty ring seals nothing"
        return _locked(self._keys[self.newest], data_key, place)

    def _data_key(self, sealed: Sealed, place: bytes) -> bytes:
        if sealed.key_id not in self._keys:
            raise KeyMissing(f"the key {sealed.key_id} is not in the ring")
        return _unlocked(self._keys[sealed.key_id], sealed.wrapped_key, place)


def ring() -> KeyRing:
    """Of this installation, as this process read it at its start."""
    return KeyRing(settings.SECRETS_KEYS)


def key_id(key: bytes) -> str:
    """Names a key without telling it."""
    return hashlib.sha256(b"hms-act secrets key " + key).hexdigest()[:KEY_ID_CHARACTERS]


def _locked(cipher: AESGCM, value: bytes, place: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, value, place)


def _unlocked(cipher: AESGCM, locked: bytes, place: bytes) -> bytes:
    try:
        return cipher.decrypt(locked[:NONCE_BYTES], locked[NONCE_BYTES:], place)
    except (InvalidTag, ValueError):
        raise Damaged("it does not open")
