# SPDX-License-Identifier: Apache-2.0
"""The page of promises names the test that holds each of them."""

import re

from tests.house.tree import ROOT, committed_files

PAGE = ROOT / "docs/explanation/reliability.md"
A_TEST = r"test_[a-z0-9_]+"


def tests_of_the_house() -> set[str]:
    sources = [path for path in committed_files() if path.parts[0] == "tests" and path.suffix == ".py"]
    return {name for path in sources for name in re.findall(rf"^ *def ({A_TEST})\(", (ROOT / path).read_text(), re.M)}


def test_every_test_that_the_page_names_is_there():
    assert set(re.findall(f"`({A_TEST})`", PAGE.read_text())) - tests_of_the_house() == set()


def test_no_line_of_its_tables_is_without_a_test():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "---" not in line]
    promises = [line for line in lines if not line.endswith("| held by |")]

    assert promises
    assert [line for line in promises if not re.search(f"`{A_TEST}`", line)] == []
