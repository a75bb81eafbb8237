# SPDX-License-Identifier: Apache-2.0
"""Pages are found, their links lead somewhere, and the tests they call on are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.house.tree import ROOT, committed_files, names_of_all_tests, names_of_tests_in

PAGES = [path for path in committed_files() if path.suffix == ".md"]
README, QUESTIONS = Path("README.md"), Path("docs/explanation/questions.md")
A_TEST = r"test_[a-z0-9_]+"
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


class Link(NamedTuple):
    text: str
    target: Path  # relative to the root
    anchor: str


def prose(page: Path) -> str:
    return BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))


def links(page: Path) -> Iterator[Link]:
    """Those within the project."""
    for text, address in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", address):
            path, _, anchor = address.partition("#")
            target = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
            yield Link(text, target.relative_to(ROOT), anchor)


def anchors(page: Path) -> set[str]:
    """As the forges make them of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_page_of_the_documents_is_in_the_index_of_the_readme():
    index = prose(README).partition("\n## Documents\n")[2]
    listed = {str(link.target) for link in links(README) if f"({link.target})" in index}

    assert {str(page) for page in PAGES if page.parts[0] == "docs"} - listed == set()


def test_every_other_file_of_the_documents_is_on_a_page():
    shown = {link.target for page in PAGES for link in links(page)}
    files = {path for path in committed_files() if path.parts[0] == "docs" and path.suffix != ".md"}

    assert files - shown == set()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page):
    lost = [
        link
        for link in links(page)
        if not (ROOT / link.target).exists() or (link.anchor and link.anchor not in anchors(link.target))
    ]

    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_test_that_a_page_names_is_there(page):
    assert set(re.findall(f"`({A_TEST})`", prose(page))) - names_of_all_tests() == set()


def test_each_question_is_answered_by_tests_and_each_of_these_tests_answers_one():
    _, *sections = re.split(r"^## ", prose(QUESTIONS), flags=re.MULTILINE)
    held = [link for link in links(QUESTIONS) if re.fullmatch(f"`{A_TEST}`", link.text)]
    (file,) = {link.target for link in held}

    assert len(sections) == 4
    assert [section for section in sections if not re.search(rf"\[`{A_TEST}`\]", section)] == []
    assert {link.text.strip("`") for link in held} == names_of_tests_in(file)
