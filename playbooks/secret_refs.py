# SPDX-License-Identifier: Apache-2.0
"""Secrets by reference: `env:NAME` or `file:/path`, read at the moment of use in the process that uses them.

The value is kept nowhere: not in the database, the history, the log, or the text of a fault. Only references that
the operator listed in HMS_ACT_CONNECTOR_SECRETS can be used; otherwise whoever may write a connector could send
themselves the server's own secrets.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

MAX_REFERENCE = 300
MAX_SECRET_BYTES = 8 * 1024
MIN_SECRET = 8  # characters; anything shorter is guessed, and would be blotted out of innocent texts
REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/[!-~]+")
VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")  # what a header can carry: visible ASCII, blanks inside
MASK = "[secret]"


class NotListed(Exception):
    """The reference is not one that the operator listed."""


class SecretUnavailable(Exception):
    """This host has no usable secret under the reference; once it has, trying again will find it."""


def check_reference(reference: str, listed: Collection[str]) -> None:
    """Raises NotListed with a sentence."""
    if len(reference) > MAX_REFERENCE or not REFERENCE.fullmatch(reference):
        raise NotListed("Name where the secret is, as env:NAME or file:/path; the secret itself is never written here.")
    if reference not in listed:
        raise NotListed(f"{reference} is not on the list of HMS_ACT_CONNECTOR_SECRETS: the operator adds it.")


def read(reference: str, listed: Collection[str]) -> str:
    """The secret. Raises NotListed, SecretUnavailable; neither says anything of the value."""
    check_reference(reference, listed)
    scheme, _, name = reference.partition(":")
    found = os.environ.get(name, "") if scheme == "env" else _content(name)
    secret = found.strip()
    if not secret:
        raise SecretUnavailable(f"There is nothing at {reference} on this host.")
    if len(secret) < MIN_SECRET:
        raise SecretUnavailable(f"What is at {reference} has less than {MIN_SECRET} characters: that is no secret.")
    if not VALUE.fullmatch(secret):
        raise SecretUnavailable(f"What is at {reference} has characters that no header carries.")
    return secret


def _content(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_SECRET_BYTES).decode("ascii")
    except OSError as fault:
        raise SecretUnavailable(f"file:{path} cannot be read on this host: {fault.strerror}.")
    except UnicodeDecodeError:
        raise SecretUnavailable(f"What is at file:{path} has characters that no header carries.")


def masked(value: Any, secrets: Collection[str]) -> Any:
    """The JSON value with every secret in its texts and keys blotted out: a service may repeat what it was sent."""
    if isinstance(value, str):
        for written in sorted({each for secret in secrets for each in _spellings(secret)}, key=len, reverse=True):
            value = value.replace(written, MASK)
        return value
    if isinstance(value, list):
        return [masked(item, secrets) for item in value]
    if isinstance(value, dict):
        return {masked(name, secrets): masked(item, secrets) for name, item in value.items()}
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return MASK if is_number and json.dumps(value) in secrets else value


def _spellings(secret: str) -> Iterator[str]:
    """As a service may write it: as it is, in JSON of either kind, in HTML, in an address."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield escape(secret)
    yield escape(secret, quote=False)
    yield quote(secret, safe="")
    yield quote_plus(secret)
