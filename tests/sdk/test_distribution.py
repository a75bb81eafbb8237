# SPDX-License-Identifier: Apache-2.0
"""The client is a distribution of its own: what it carries, needs and promises agrees with the rest."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
import tomllib
from itertools import takewhile
from pathlib import Path

import hms_act
from approvals.models import OPEN_REQUESTS, RequestState
from hms_act import Client, HmsActError, Playbook, Step, Worker
from hms_act.answers import CLOSED, ENDED
from hms_act.cli import _parser
from runs.models import ENDED_RUNS

ROOT = Path(hms_act.__file__).parent.parent
CLIENT = ROOT / "hms_act"
MADE = tomllib.loads((CLIENT / "pyproject.toml").read_text())
REFERENCE = (ROOT / "docs" / "reference" / "sdk.md").read_text()
COMMANDS = (ROOT / "docs" / "reference" / "cli.md").read_text()


def imported_modules() -> set[str]:
    found: set[str] = set()
    for file in CLIENT.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found


def public_methods(owner: type) -> set[str]:
    return {name for name in dir(owner) if callable(getattr(owner, name)) and not name.startswith("_")}


def test_it_imports_what_it_declares_and_the_standard_library():
    extra = {"cryptography", "rfc8785"}  # imported by whoever verifies receipts, and then alone
    assert imported_modules() - set(sys.stdlib_module_names) == {"hms_act", "httpx2"} | extra
    project = MADE["project"]
    assert [re.split("[=<>]", one)[0] for one in project["dependencies"]] == ["httpx2"]
    assert {re.split("[=<>]", one)[0] for one in project["optional-dependencies"]["receipts"]} == extra


def test_it_pins_what_the_server_pins():
    server = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]

    assert set(MADE["project"]["dependencies"]) <= set(server)


def test_its_licence_is_the_projects():
    assert (CLIENT / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_everything_it_is_made_of_is_packed():
    """Files at the top alone are packed; a folder of modules would be left behind."""
    assert "/*.py" in MADE["tool"]["hatch"]["build"]["include"]
    assert {file.parent for file in CLIENT.rglob("*.py")} == {CLIENT}


def test_what_it_takes_for_ended_is_what_the_server_calls_so():
    assert set(ENDED_RUNS) == ENDED
    assert set(RequestState) - set(OPEN_REQUESTS) == CLOSED


def test_its_command_is_there():
    module, function = MADE["project"]["scripts"]["hms-act"].split(":")

    assert callable(getattr(importlib.import_module(module), function))


def test_everything_it_exports_exists():
    assert sorted(hms_act.__all__) == hms_act.__all__
    assert all(hasattr(hms_act, name) for name in hms_act.__all__)


def test_the_reference_names_every_function_method_and_error():
    methods = set().union(*map(public_methods, (Client, Worker, Playbook, Step)))
    errors = {name for name in hms_act.__all__ if is_error(getattr(hms_act, name))}
    functions = {"run_playbook", "next_task", "complete_task"}

    assert [name for name in sorted(methods | errors | functions) if not re.search(rf"\b{name}\b", REFERENCE)] == []


def is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, HmsActError)


def test_the_reference_has_a_row_for_every_command_with_its_options():
    rows = {}
    for signature in re.findall(r"^\| `hms-act ([^`]*)` \|", COMMANDS, re.MULTILINE):
        words = [word for word in re.split(r"[\s\[\]…]+", signature) if word]
        name = " ".join(takewhile(str.isalpha, takewhile(str.islower, words)))
        rows[name] = {word for word in words if word.startswith("--")}

    assert rows == options_by_command(_parser())


def options_by_command(parser: argparse.ArgumentParser, name: str = "") -> dict[str, set[str]]:
    """What the parser takes, without the two options that every command takes."""
    found: dict[str, set[str]] = {}
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for word, inner in action.choices.items():
                found |= options_by_command(inner, f"{name} {word}".strip())
    if not found:
        options = {option for action in parser._actions for option in action.option_strings if option != "-h"}
        found[name] = options - {"--help", "--json", "--url"}
    return found
