# SPDX-License-Identifier: Apache-2.0
"""Text of others, made fit to be looked at: what the eye cannot see, or is led astray by, becomes a code point.

The text itself is stored as it was sent. The result is plain text; the page that shows it escapes it as any other.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

# Controls, formats (zero-width and bidirectional ones among them), private use, unassigned, line separators.
HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
# Letters and marks that show nothing: joiner, fillers, variation selectors, the empty Braille pattern.
HIDDEN_CHARACTERS = frozenset(
    map(chr, [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x180E), 0x2800, 0x3164, 0xFFA0])
) | frozenset(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
LAYOUT = frozenset("\n\t")


def made_visible(text: str) -> str:
    """The text with hidden characters as `<U+202E>`."""
    return "".join(f"<U+{ord(char):04X}>" if _is_hidden(char) else char for char in text)


def as_text(value: Any) -> str:
    """A JSON value, laid out for reading, in the order it has."""
    return made_visible(json.dumps(value, ensure_ascii=False, indent=2))


def _is_hidden(char: str) -> bool:
    if char in LAYOUT:
        return False
    return char in HIDDEN_CHARACTERS or unicodedata.category(char) in HIDDEN_CATEGORIES
