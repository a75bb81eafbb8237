# SPDX-License-Identifier: Apache-2.0
"""What a file is, by its first bytes, and what it may be called. Files of others are never opened here.

Only kinds that people hand each other to read are taken: PDF, pictures, plain text, and archives (the documents of
office programs are archives), which stay packed. A name is a caller's word: it loses its folders, and says nothing of
the kind.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from audit.shown import made_visible

MAX_NAME = 200
UNNAMED = "unnamed"
TEXT_CONTROLS = frozenset("\t\n\r\f")
# Office documents: archives whose ending is kept, so that the right program opens them after a download.
PACKED_ENDINGS = (".zip", ".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".epub")


@dataclass(frozen=True, slots=True)
class FileKind:
    media_type: str
    endings: tuple[str, ...]  # the first is added to a name that has none of them
    is_it: Callable[[bytes], bool]

    @property
    def label(self) -> str:
        return self.endings[0].removeprefix(".").upper()


def _starts(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda content: content.startswith(signatures)


def _is_webp(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def _is_text(content: bytes) -> bool:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not any(unicodedata.category(char) == "Cc" and char not in TEXT_CONTROLS for char in text)


KINDS = (
    FileKind("application/pdf", (".pdf",), _starts(b"%PDF-")),
    FileKind("image/png", (".png",), _starts(b"\x89PNG\r\n\x1a\n")),
    FileKind("image/jpeg", (".jpg", ".jpeg"), _starts(b"\xff\xd8\xff")),
    FileKind("image/gif", (".gif",), _starts(b"GIF87a", b"GIF89a")),
    FileKind("image/webp", (".webp",), _is_webp),
    FileKind("application/zip", PACKED_ENDINGS, _starts(b"PK\x03\x04")),
    FileKind("text/plain", (".txt", ".csv", ".json", ".md", ".log", ".eml", ".xml", ".yaml", ".yml"), _is_text),
)
BY_TYPE: Mapping[str, FileKind] = {kind.media_type: kind for kind in KINDS}


def kind_of(content: bytes) -> FileKind | None:
    """None for anything that is not on the list."""
    return next((kind for kind in KINDS if kind.is_it(content)), None)


def plain_name(given: str) -> str:
    """The name without its folders, hidden characters spelt out: `../../a<RLO>b` is `a<U+202E>b`."""
    last = given.replace("\\", "/").rpartition("/")[2].strip()
    name = made_visible(last).replace("\n", " ").replace("\t", " ").strip()
    return UNNAMED if name in {"", ".", ".."} else name


def download_name(name: str, media_type: str) -> str:
    """What a browser is told to call it: nothing that a file system takes amiss, and the ending of what it is."""
    safe = re.sub(r"[^\w .()+-]", "_", name).strip(". ") or UNNAMED
    endings = BY_TYPE[media_type].endings
    return safe if safe.lower().endswith(endings) else f"{safe}{endings[0]}"
