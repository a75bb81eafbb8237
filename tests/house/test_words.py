# SPDX-License-Identifier: Apache-2.0
"""What is committed speaks of the project, and not of the place and the papers it was made with."""

import re
from pathlib import Path

from tests.house.tree import ROOT, committed_files

ITSELF = Path(__file__).resolve().relative_to(ROOT)
FOREIGN = {
    "a folder of the machine it was written on": r"(?<![\w.])/work/|/tmp/team\b|/root/",
    "a paper outside the project": r"\bshared/|\bdesign/[a-z]+\.md|\bDESIGN(\.md)?\b|\bSTYLE\.md",
    "a source document by its number": r"\bseeds? 00\d|\bseeds/",
    "an issue by its number": r"\bissues? ?#? ?\d+\b",
    "unfinished work": r"\b(TODO|FIXME|XXX)\b",
}


def foreign_words(path: Path) -> list[str]:
    try:
        text = (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []  # a picture or a PDF
    return [
        f"{path}:{number} names {what}: {found.group()!r}"
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in FOREIGN.items()
        if (found := re.search(pattern, line))
    ]


def test_no_committed_file_speaks_of_the_place_it_was_made():
    found = [words for path in committed_files() if path != ITSELF for words in foreign_words(path)]

    assert not found, "\n".join(found)
