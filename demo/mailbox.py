# SPDX-License-Identifier: Apache-2.0
"""Reading the mails that the demonstration writes to files instead of sending them."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

BETWEEN = b"\n" + b"-" * 79 + b"\n"  # what Django's file back end writes after each mail


def mails(folder: Path) -> Iterator[EmailMessage]:
    """All of them, oldest file first. A mail that is being written is left for the next look."""
    for path in sorted(folder.glob("*.log")):
        *whole, _ = path.read_bytes().split(BETWEEN)
        for content in whole:
            yield email.message_from_bytes(content, policy=email.policy.default)


def mails_to(folder: Path, address: str) -> list[EmailMessage]:
    return [mail for mail in mails(folder) if address in (mail["To"] or "")]


def text_of(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    return str(body.get_content()) if body is not None else ""
