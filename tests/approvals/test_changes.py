# SPDX-License-Identifier: Apache-2.0
"""How two values differ, and when a difference only narrows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.changes import changes_between, only_narrows

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [{"path": "a", "before": 1, "after": 2}]),
        ({"a": 1}, {"a": True}, [{"path": "a", "before": 1, "after": True}]),
        ({"a": None}, {}, [{"path": "a", "before": None}]),
        ({}, {"a": None}, [{"path": "a", "after": None}]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, [{"path": "a.b[1]", "before": 2, "after": 3}]),
        ({"a": [1]}, {"a": [1, 2]}, [{"path": "a", "before": [1], "after": [1, 2]}]),
    ],
)
def test_each_change_is_found_at_its_place(before, after, found):
    assert [change.as_json() for change in changes_between(before, after)] == found


@given(JSON, JSON)
def test_nothing_is_found_between_equals_and_something_between_others(before, after):
    assert changes_between(before, before) == []
    assert bool(changes_between(before, after)) == (repr(before) != repr(after)) or before == after


@pytest.mark.parametrize(
    ("before", "after", "narrows"),
    [
        ({"input": {"amount": 50}}, {"input": {"amount": 40}}, True),
        ({"input": {"amount": 50}}, {"input": {"amount": 60}}, False),
        ({"input": {"amount": 50}}, {"input": {"amount": -60}}, False),
        ({"input": {"amount": 50}}, {"input": {"amount": "40"}}, False),
        ({"input": {"amount": True}}, {"input": {"amount": False}}, False),
        ({"input": {"amount": 50, "to": "a"}}, {"input": {"amount": 40, "to": "b"}}, False),
        ({"input": {"amount": 50}}, {"input": {}}, False),
        ({"input": {"to": ["a", "b"]}}, {"input": {"to": ["b"]}}, True),
        ({"input": {"to": ["a", "b"]}}, {"input": {"to": []}}, False),
        ({"input": {"to": ["a", "b"]}}, {"input": {"to": ["a", "c"]}}, False),
        ({"input": {"amount": 50}}, {"input": {"amount": 50}}, False),
    ],
)
def test_only_what_the_policy_names_narrows(before, after, narrows):
    assert only_narrows(before, after, {"input.amount": "down", "input.to": "subset"}) is narrows
