# SPDX-License-Identifier: Apache-2.0
"""The register of actions and the code agree: a name that nothing records is a promise to nobody."""

import ast
import re

import pytest

from audit import actions
from audit.models import Entry
from tests.house.tree import ROOT, committed_files

ROOMS = {"accounts", "approvals", "audit", "config", "demo", "playbooks", "runs"}
REGISTER = {
    name: value for name, value in vars(actions).items() if name.isupper() and isinstance(value, str) and name != "ALL"
}


def names_in_use():
    """Every `actions.NAME` in the code of the server."""
    for path in committed_files():
        if path.suffix == ".py" and path.parts[0] in ROOMS:
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "actions":
                    yield node.attr


@pytest.fixture(scope="module")
def in_use():
    return set(names_in_use())


@pytest.mark.parametrize("name", sorted(REGISTER))
def test_a_registered_name_is_used(name, in_use):
    assert name in in_use


def test_every_name_in_use_is_registered(in_use):
    assert in_use - {"ALL"} - vars(actions).keys() == set()


def test_no_two_names_stand_for_one_action():
    assert len(set(REGISTER.values())) == len(REGISTER)
    assert set(REGISTER.values()) == actions.ALL


@pytest.mark.parametrize("action", sorted(actions.ALL))
def test_an_action_is_a_thing_and_what_happened_to_it(action):
    assert re.fullmatch(r"[a-z]+(\.[a-z]+)?\.[a-z_]+", action)
    assert len(action) <= Entry._meta.get_field("action").max_length


@pytest.mark.parametrize("name", sorted(REGISTER))
def test_names_of_refusals_say_so(name):
    assert name.endswith("_DENIED") == REGISTER[name].endswith("_denied")
