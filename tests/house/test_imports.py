# SPDX-License-Identifier: Apache-2.0
"""The arrows between the rooms of the house point one way.

approvals → runs → playbooks → accounts → audit → the ground of config. The roof of config may see all; the
demonstration stands above everything; the client in hms_act/ knows the HTTP API and nothing else. An import
counts wherever it stands: at the top, inside a function, or for type checking only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house.tree import ROOT, committed_files

GROUND = {
    f"config.{name}"
    for name in (
        "errors",
        "clock",
        "api",
        "admin",
        "batch",
        "crash",
        "csp",
        "guard",
        "invariant",
        "mail",
        "converters",
        "lists",
        "listed",
        "openapi",
        "prepared",
        "problem",
        "state",
        "wake",
    )
}
ROOMS_UPWARD = ("audit", "accounts", "playbooks", "runs", "approvals")  # each may see those before it
TOP, CLIENT = "demo", "hms_act"
PACKAGES = {"config", *ROOMS_UPWARD, TOP, CLIENT}

# A signal of a row's life is an arrow that no import shows. What the whole installation goes through is not.
MODEL_SIGNALS = {"pre_init", "post_init", "pre_save", "post_save", "pre_delete", "post_delete", "m2m_changed"}
SIGNAL_MODULES = {"django_fsm.signals", "simple_history.signals"}


@dataclass(frozen=True)
class Import:
    path: str
    line: int
    importer: str  # dotted module
    imported: str  # dotted module or name

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.importer} imports {self.imported}"


# Reading ---------------------------------------------------------------------------------------------------


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path, source: str) -> Iterator[Import]:
    """Every import in a source file, by statement or by a literal `import_module("…")`."""
    importer = module_of(path)
    for node in ast.walk(ast.parse(source, str(path))):
        for imported in _imported_by(node, path):
            yield Import(str(path), getattr(node, "lineno", 0), importer, imported)


def _imported_by(node: ast.AST, path: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = _absolute(node, path)
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__", "import_string"}:
        return [str(first.value) for first in node.args[:1] if isinstance(first, ast.Constant)]
    return []


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    if not node.level:
        return node.module or ""
    package = path.parent.parts[: len(path.parent.parts) - node.level + 1]
    return ".".join([*package, node.module] if node.module else package)


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def all_imports() -> list[Import]:
    """Imports of every module of the house, one of our packages by another or of anything else."""
    sources = [path for path in committed_files() if path.suffix == ".py" and path.parts[0] in PACKAGES]
    return [each for path in sources for each in imports_of(path, (ROOT / path).read_text(encoding="utf-8"))]


# Judging ---------------------------------------------------------------------------------------------------


def fault_of(each: Import) -> str:
    """Why this import may not be, or "" if it may."""
    importer, imported = place_of(each.importer), place_of(each.imported)
    if not imported or importer in (imported, TOP):
        return ""
    if is_roof(importer):
        return f"nobody imports {imported}: settings and URLs name it as text" if imported in {TOP, CLIENT} else ""
    if importer == CLIENT:
        return "the client speaks HTTP and imports nothing of the server"
    if imported in {TOP, CLIENT}:
        return f"nobody but the demonstration imports {imported}"
    if is_roof(imported):
        return f"{imported} is the roof: what is under it asks django.conf.settings or a registry"
    if importer in GROUND:
        return "" if imported in GROUND else f"{importer} is the ground: it may see only {', '.join(sorted(GROUND))}"
    if imported in ROOMS_UPWARD and _height(imported) > _height(importer):
        return f"{imported} stands above {importer}: let {imported} register itself in a registry of {importer}"
    return ""


def is_roof(place: str) -> bool:
    """All of config that is not ground: it may see every room, and no room may see it."""
    return place.startswith("config.") and place not in GROUND


def place_of(module: str) -> str:
    """The room, or the module of config, that a dotted name belongs to; "" for what is not ours."""
    parts = module.split(".")
    if parts[0] == "config":
        return ".".join(parts[:2])
    return parts[0] if parts[0] in PACKAGES else ""


def _height(room: str) -> int:
    return ROOMS_UPWARD.index(room)


def faults(imports: list[Import]) -> list[str]:
    return [f"{each}: {fault}" for each in imports if (fault := fault_of(each))]


# The house -------------------------------------------------------------------------------------------------


def test_imports_point_one_way():
    found = faults(all_imports())

    assert not found, "\n".join(found)


def test_the_ground_is_there():
    modules = {module_of(path) for path in committed_files() if path.parts[0] == "config"}

    assert modules >= GROUND


def test_no_room_listens_to_the_life_of_a_row():
    found = [
        f"{each}: what follows from a change is called by the service that makes it"
        for each in all_imports()
        if each.imported.rpartition(".")[0] in SIGNAL_MODULES
        or each.imported.rpartition(".")[2] in MODEL_SIGNALS
        or each.imported in {"django.dispatch.Signal", *SIGNAL_MODULES}
    ]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "reason"),
    [
        ("audit/x.py", "from runs.models import Run", "runs stands above audit"),
        ("audit/x.py", "def late():\n    import runs.services", "runs stands above audit"),
        ("audit/x.py", "from importlib import import_module\nimport_module('runs')", "runs stands above audit"),
        ("runs/x.py", "from ..approvals import services", "approvals stands above runs"),
        ("runs/x.py", "from config import settings", "config.settings is the roof"),
        ("runs/x.py", "from demo import actions", "nobody but the demonstration imports demo"),
        ("runs/x.py", "import hms_act", "nobody but the demonstration imports hms_act"),
        ("hms_act/x.py", "from config.errors import Refused", "the client speaks HTTP"),
        ("config/errors.py", "from audit import actions", "config.errors is the ground"),
        ("config/urls.py", "import demo.views", "nobody imports demo"),
    ],
)
def test_an_arrow_the_wrong_way_is_seen(path, source, reason):
    (found,) = faults([each for each in imports_of(Path(path), source) if place_of(each.imported)])

    assert path in found
    assert reason in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("approvals/x.py", "from runs.models import Task"),
        ("runs/x.py", "from . import models"),
        ("runs/x.py", "from django.conf import settings"),
        ("audit/x.py", "from config import clock"),
        ("config/urls.py", "from runs import api"),
        ("demo/x.py", "from hms_act import next_task\nfrom runs import services"),
    ],
)
def test_an_arrow_the_right_way_is_let_pass(path, source):
    assert faults(list(imports_of(Path(path), source))) == []
