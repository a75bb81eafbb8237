# SPDX-License-Identifier: Apache-2.0
"""Whatever comes in, the answer is a definition or a refusal that can be sent as JSON, and it comes soon."""

import copy
import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from playbooks import schema
from playbooks.parse import DocumentInvalid, digest, parse, parse_data, publish_problems, to_document
from tests.playbooks.documents import DOCUMENTS

FIELDS = sorted({name for model in schema.STEP_MODELS.values() for name in model.model_fields} | {"payload_schema"})
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=10)
    | st.sampled_from(["agent", "human:x", "parallel", "a.b $4", "x", "PT1H", "payload.x"])
    | st.sampled_from(["\ud800", "\0", "agent step", "retry policy", "option key", "x" * 600]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=12,
)
SIGNS = list("{}[]:,'|>#~\"\n\t\0")
WORDS = ["<<", "*a", "&a ", "!t ", "steps", "id", "type", "agent", "\\u0000", "\\ud800", "1e999", "NaN", "%YAML"]
PIECES = st.sampled_from([*SIGNS, *WORDS, "- ", "\n  ", "? ", "---\n", "...\n"])


def answer(read):
    """Nothing but a definition comes of a document, or a refusal that has problems and can be sent."""
    refusal = None
    try:
        parsed = read()
    except DocumentInvalid as refused:
        refusal = refused
    if refusal is None:
        assert digest(to_document(parsed.definition))
        assert isinstance(publish_problems(parsed.definition, known_calls=[]), list)
        return
    assert refusal.errors
    assert all(problem.message for problem in refusal.errors)
    sent = {"detail": refusal.detail, "errors": [problem.as_json() for problem in refusal.errors]}
    assert json.dumps(sent, ensure_ascii=False).encode()


@given(st.binary(max_size=60) | st.text(st.characters(), max_size=60) | st.lists(PIECES, max_size=25).map("".join))
def test_any_text(text):
    answer(lambda: parse(text, default_id="p"))


@given(ANYTHING)
def test_any_data(data):
    answer(lambda: parse_data(data, default_id="p"))


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=6), max_size=3))
def test_any_values_in_the_fields_of_steps(steps):
    answer(lambda: parse_data({"id": "p", "steps": steps, "payload_schema": steps[0] if steps else None}))


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(DOCUMENTS, st.data())
def test_a_document_with_one_value_exchanged(document, data):
    broken = copy.deepcopy(document)
    places = list(places_in(broken))
    place, key = data.draw(st.sampled_from(places))
    place[key] = data.draw(ANYTHING)
    answer(lambda: parse_data(broken, default_id="p"))
    answer(lambda: parse(json.dumps(broken), default_id="p"))


def places_in(value):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from places_in(inner)


SLOW = {
    "nothing but unknown fields": json.dumps({f"retires_{n}": 1 for n in range(9_990)}),
    "nothing but unknown fields of a step": json.dumps(
        {"steps": [{"type": "agent", **{f"tokn_ttl{n}": 1 for n in range(9_900)}}]}
    ),
    "nothing but unknown kinds": json.dumps({"steps": [{"type": "agnt" * 5}] * 9_900}),
    "names that are not among the properties": json.dumps(
        {
            "steps": [],
            "payload_schema": {
                "type": "object",
                "properties": {f"minLength{n}": {} for n in range(450)},
                "required": [f"maxLength{n}" for n in range(450)],
            },
        }
    ),
    "flow mappings that never end": "{a: " * 250_000,
    "flow lists that never end": "[ " * 500_000,
    "block lists within block lists": "- " * 500_000,
    "complex keys within complex keys": "? " * 500_000,
    "a key a hundred thousand times": "{" + '"a":1,' * 100_000 + '"a":1}',
    "an open string of escapes": '{"a": "' + '\\"' * 500_000,
    "half a million comments": "#\n" * 500_000,
    "a call of two hundred thousand words": json.dumps(
        {"steps": [{"id": "x", "type": "script", "call": "a " + "b=c " * 200_000}]}
    ),
    "options without end": json.dumps({"steps": [{"id": "x", "type": "hitl", "options": ["a"] * 90_000}]}),
    "conditions of parentheses": json.dumps({"steps": [{"id": "x", "type": "hitl", "when": "(" * 500}] * 2_000}),
}


@pytest.mark.parametrize("text", SLOW.values(), ids=SLOW)
def test_a_hostile_document_is_refused_within_seconds(text):
    began = time.process_time()
    with pytest.raises(DocumentInvalid):
        parse(text)

    assert time.process_time() - began < 5
