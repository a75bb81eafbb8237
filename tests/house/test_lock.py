# SPDX-License-Identifier: Apache-2.0
"""The lock files hold what pyproject.toml asks for, each package by version and hash, from no named address."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.tree import ROOT

PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)")


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Package → (version, number of hashes) of a lock file."""
    packages: dict[str, tuple[str, int]] = {}
    current = ""
    for line in (ROOT / name).read_text().splitlines():
        if pin := PIN.match(line):
            current = canonicalize_name(pin["name"])
            packages[current] = (pin["version"], 0)
        elif "--hash=sha256:" in line:
            version, hashes = packages[current]
            packages[current] = (version, hashes + 1)
    return packages


def asked_for(*groups: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = list(project["project"]["dependencies"])
    for group in groups:
        lines += project["dependency-groups"][group]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize(
    ("lock", "groups"), [("requirements.txt", ["build"]), ("requirements-dev.txt", ["build", "dev"])]
)
def test_the_lock_holds_what_the_project_asks_for(lock, groups):
    packages = locked(lock)
    missing = [
        str(wanted)
        for wanted in asked_for(*groups)
        if not wanted.specifier.contains(packages.get(canonicalize_name(wanted.name), ("0.dev0", 0))[0])
    ]

    assert not missing, f"{lock} does not hold {', '.join(missing)}: run make lock"


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_every_locked_package_has_its_hashes(lock):
    assert [name for name, (_, hashes) in locked(lock).items() if not hashes] == []


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_the_lock_names_no_address(lock):
    assert not re.search(r"://|--index|--find-links", (ROOT / lock).read_text())


def test_both_locks_agree():
    core, dev = locked("requirements.txt"), locked("requirements-dev.txt")

    assert {name: dev.get(name, ("none", 0))[0] for name in core} == {
        name: version for name, (version, _) in core.items()
    }
