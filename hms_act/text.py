# SPDX-License-Identifier: Apache-2.0
"""Text for a terminal. What others wrote is shown without the power to move the cursor or reorder the line."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


def plain(text: object) -> str:
    """One line: white space as single spaces, controls and invisible characters as their code points."""
    line = " ".join(str(text).split())
    return "".join(f"<U+{ord(c):04X}>" if unicodedata.category(c) in INVISIBLE else c for c in line)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligned columns, two spaces apart."""
    cells = [[plain("" if value is None else value) for value in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)
