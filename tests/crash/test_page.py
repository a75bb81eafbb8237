# SPDX-License-Identifier: Apache-2.0
"""The page of promises names the test that holds each of them. (That these tests exist: `tests/house/test_docs.py`.)"""

import re

from tests.house.tree import ROOT

PAGE = ROOT / "docs/explanation/reliability.md"


def test_no_line_of_its_tables_is_without_a_test():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "---" not in line]
    promises = [line for line in lines if not line.endswith("| held by |")]

    assert promises
    assert [line for line in promises if not re.search("`test_[a-z0-9_]+`", line)] == []
