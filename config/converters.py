# SPDX-License-Identifier: Apache-2.0
"""Parts of paths."""


class Number:
    """A row's number, within what both databases can hold: a longer one is an unknown path, not a fault."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)
