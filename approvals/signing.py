# SPDX-License-Identifier: Apache-2.0
"""The key that signs receipts, and the ring of public keys that proves them.

Web processes alone sign, since people decide in them. The key is read when the first receipt is signed, and kept in
the process's memory; a worker is started without it, refuses to load it, and verifies with the public keys of the
database, like everybody else. With a new key the older receipts stay valid: their public key stays in the ring.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, transaction

from approvals.models import Receipt, SigningKey
from approvals.proof import action_digest, signed_bytes
from audit import actions
from audit.services import SYSTEM, Actor, Line, act, log_origin, record
from config import clock
from config.errors import NotFound, Refused

HOW = "give an Ed25519 key: `openssl genpkey -algorithm ed25519`, or 32 random bytes in base64"


class NoSigningKey(Refused):
    """This process holds no key to sign receipts with, so nothing was decided. Tell who runs the installation."""

    code = "no_signing_key"
    status = 503


# The private key ------------------------------------------------------------------------------------------


def can_sign() -> bool:
    """Whether a key was given to this process, or may be made by it."""
    return bool(settings.SIGNS_RECEIPTS and (settings.RECEIPT_SIGNING_KEY or settings.EMBEDDED))


def sign(receipt: Receipt) -> None:
    """Set the receipt's key and signature. Raises NoSigningKey in a process that has no key."""
    if not can_sign():
        raise NoSigningKey
    key = _private_key(settings.RECEIPT_SIGNING_KEY, str(settings.RECEIPT_KEY_FILE))
    receipt.key_id = id_of(_raw(key.public_key()))
    receipt.signature = base64.b64encode(key.sign(signed_bytes(receipt, log=log_origin()))).decode()


@cache
def _private_key(given: str, file_name: str) -> Ed25519PrivateKey:
    return _read(given or _embedded(Path(file_name)))


def _read(text: str) -> Ed25519PrivateKey:
    try:
        if text.startswith("-----"):
            key = load_pem_private_key(text.encode(), password=None)
        else:
            key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(text, validate=True))
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ImproperlyConfigured(f"RECEIPT_SIGNING_KEY is no signing key: {HOW}.")
    return key


def _embedded(path: Path) -> str:
    """The key of an embedded installation, made once, whole, and readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with tempfile.NamedTemporaryFile(dir=path.parent) as file:  # 0600
            file.write(made)
            file.flush()
            try:
                os.link(file.name, path)  # another process may have been sooner
            except FileExistsError:
                return path.read_text()
    return path.read_text()


# The ring -------------------------------------------------------------------------------------------------


def id_of(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:16]


def register() -> None:
    """Put our public key into the ring, if it is not there. Called when a web process starts, and after migrations."""
    if not can_sign():
        return
    key = _private_key(settings.RECEIPT_SIGNING_KEY, str(settings.RECEIPT_KEY_FILE))
    public = _raw(key.public_key())
    with transaction.atomic():
        at = clock.now()
        shown = {"public_key": base64.b64encode(public).decode(), "created_at": at}
        row, made = SigningKey.objects.get_or_create(id=id_of(public), defaults=shown)
        # The first one comes with the installation, as the origin of its log does; what changes later is told.
        if made and SigningKey.objects.exclude(pk=row.pk).exists():
            record([Line(actions.SIGNING_KEY_ADDED, row.audit_subject(), SYSTEM, at)])


def register_or_stop() -> None:
    """For a process in which people decide. Raises ImproperlyConfigured without a key."""
    if not can_sign():
        raise ImproperlyConfigured(f"RECEIPT_SIGNING_KEY is not set: {HOW}. It is for web processes alone.")
    register()


def register_after_migrate(using: str = DEFAULT_DB_ALIAS, **_: Any) -> None:
    tables = connections[using].introspection.table_names()
    if using == DEFAULT_DB_ALIAS and SigningKey._meta.db_table in tables and "audit_log" in tables:
        register()


@act(actions.SIGNING_KEY_CHANGE_DENIED)
def distrust(*, key_id: str, reason: str, actor: Actor) -> SigningKey:
    """Nothing is done any more on receipts under this key; what was done stays proven. Raises NotFound."""
    key = SigningKey.objects.select_for_update().filter(pk=key_id).first()
    if key is None:
        raise NotFound(f"No key {key_id} has signed receipts here.")
    if key.distrusted_at is None:
        key.distrusted_at = clock.now()
        key.save(update_fields=["distrusted_at"])
        record([Line(actions.SIGNING_KEY_DISTRUSTED, key.audit_subject(), actor, key.distrusted_at, note=reason)])
    return key


def why_untrusted(receipt: Receipt) -> str:
    """Why the receipt proves nothing: an unknown or distrusted key, or a signature of something else; "" if it does."""
    key = SigningKey.objects.filter(pk=receipt.key_id).first()
    if key is None:
        return f"no key {receipt.key_id} is known here"
    if key.distrusted_at is not None:
        return f"the key {receipt.key_id} is trusted no more"
    if action_digest(receipt.request_id, receipt.revision, receipt.action) != receipt.digest:
        return "what it says was approved is not what was signed"
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.public_key))
    try:
        public.verify(base64.b64decode(receipt.signature), signed_bytes(receipt, log=log_origin()))
    except (InvalidSignature, ValueError):
        return "its signature is of something else"
    return ""


def _raw(public: Ed25519PublicKey) -> bytes:
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)
