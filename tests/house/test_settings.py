# SPDX-License-Identifier: Apache-2.0
"""`.env.example` names every setting a server reads from its environment, and no other."""

import ast
import re

from tests.house.tree import ROOT

READERS = {"_text", "_number", "_flag"}


def read_by_settings() -> set[str]:
    tree = ast.parse((ROOT / "config/settings.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    names = {
        node.args[0].value
        for node in calls
        if getattr(node.func, "id", "") in READERS and isinstance(node.args[0], ast.Constant)
    }
    return {str(name) for name in names}


def named_by_example() -> set[str]:
    return set(re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def test_the_example_names_every_setting_and_no_other():
    assert named_by_example() == read_by_settings()


def test_the_environment_is_read_in_one_place():
    tree = ast.parse((ROOT / "config/settings.py").read_text())
    (reader,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "_text"]
    within = {id(node) for node in ast.walk(reader)}
    readings = [
        node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]

    assert readings
    assert [node.lineno for node in readings if id(node) not in within] == []
