# SPDX-License-Identifier: Apache-2.0
"""Where in a document something is, and what is wrong there.

A path is the keys and positions that lead to a value; people read it as `steps[2].retries`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import NamedTuple

Path = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")


class Flaw(NamedTuple):
    """A fault at `at`, counted from the value that was checked, not from the top of the document."""

    at: Path
    message: str
    remedy: str


class Flawed(ValueError):
    """A value that cannot be used, with every reason found."""

    def __init__(self, *flaws: Flaw) -> None:
        self.flaws = flaws
        super().__init__(" ".join(flaw.message for flaw in flaws))


def path_text(path: Path) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{_sayable(json.dumps(part, ensure_ascii=False))}]"
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean …? ` with the nearest known word, or nothing if none is near."""
    spellings = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower()[:100], spellings, n=1, cutoff=0.6)
    return f"Did you mean `{spellings[near[0]]}`?" if near else ""


def listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def shown(value: object) -> str:
    """A value as an author would write it, short enough for a sentence."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = type(value).__name__
    return _sayable(text if len(text) <= 60 else text[:57] + "…")


def _sayable(text: str) -> str:
    """Without lone surrogates, which no answer could be encoded with."""
    return text.encode(errors="backslashreplace").decode()
