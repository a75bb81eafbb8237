# SPDX-License-Identifier: Apache-2.0
"""Where steps stand in a run, as text.

    screen                  a step of the playbook
    check/0/screen          a step in the first branch of `check` (or in the first case of a switch)
    regions[3]/survey       a step for the fourth item of `regions`
    charge/on_failure/tell  a step that follows the failure of `charge`
    charge~compensate       what undoes `charge`

Ids are unique in a playbook, so the last one of a path says which step it is, and a path need not be looked up.
The path of a block is that of its steps without their id: "", `check/0`, `regions[3]`, `charge/on_failure`.
"""

from __future__ import annotations

import re

ROOT = ""
UNDONE = "~compensate"

_ITEM = re.compile(r"\[(\d+)\]")


def within(block: str, step_id: str) -> str:
    return f"{block}/{step_id}" if block else step_id


def step_id_of(path: str) -> str:
    return path.removesuffix(UNDONE).rpartition("/")[2]


def block_of(path: str) -> str:
    return path.rpartition("/")[0]


def holder_of(block: str) -> tuple[str, int | str]:
    """The path of the step around a block, and which of its blocks it is: a number, or the field of a handler."""
    if block.endswith("]"):
        path, _, number = block[:-1].rpartition("[")
        return path, int(number)
    path, _, part = block.rpartition("/")
    return path, int(part) if part.isdecimal() else part


def is_beneath(path: str, above: str) -> bool:
    return above == ROOT or path.startswith((f"{above}/", f"{above}["))


def items_around(path: str) -> list[tuple[str, int]]:
    """The foreach steps around a path, outermost first, each with the number of the item it stands for."""
    return [(path[: found.start()], int(found[1])) for found in _ITEM.finditer(path)]
