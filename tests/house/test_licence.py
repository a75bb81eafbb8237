# SPDX-License-Identifier: Apache-2.0
"""Every source file says under which licence it stands."""

from pathlib import Path

from tests.house.tree import ROOT, committed_files

LINE = "SPDX-License-Identifier: Apache-2.0"
WITHIN_LINES = 3
SUFFIXES = {".py", ".toml", ".sh", ".html", ".css", ".js", ".yaml", ".yml", ".sql"}
NAMES = {"Makefile", "Dockerfile", ".gitignore", ".env.example", "run"}
VENDORED = "vendor"  # a folder of this name holds other people's files, each beside its own licence


def is_source(path: Path) -> bool:
    return (path.suffix in SUFFIXES or path.name in NAMES) and VENDORED not in path.parts


def says_its_licence(path: Path) -> bool:
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()[:WITHIN_LINES]
    return any(LINE in line for line in lines)


def test_every_source_file_says_its_licence_in_its_first_lines():
    silent = [str(path) for path in committed_files() if is_source(path) and not says_its_licence(path)]

    assert not silent, f"without '{LINE}' in the first {WITHIN_LINES} lines: {', '.join(silent)}"


def test_the_licence_itself_is_there_in_full():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")

    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
