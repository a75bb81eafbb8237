# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies: documents as authors may write them, in every shorthand and of every kind."""

from hypothesis import strategies as st

WORDS = st.text("abcXYZ019_.-", max_size=12).map(lambda text: f"s{text}")
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=3)
CONDITIONS = st.sampled_from(["payload.crowd > 500", "true", 'steps["a"].outcome == "PASS"', "has(data.a)"])
SECONDS = st.integers(1, 10**6) | st.sampled_from(["15m", "1h30m", "PT15M", "P2D", "1w2d"])
INTERVALS = SECONDS | st.floats(0.001, 10**6) | st.just("1.5s")
LEVELS = st.sampled_from(["low", "medium", "high", "critical"])
ENDINGS = st.sampled_from(["FAIL_RUN", "CONTINUE", "SKIP_DOWNSTREAM"])


def some(required=None, **optional):
    return st.fixed_dictionaries(required or {}, optional={k: v | st.none() for k, v in optional.items()})


LINE_CALLS = st.builds(
    lambda action, rest: " ".join([action, *rest]),
    WORDS,
    st.lists(st.sampled_from(["$40", "$1.5", "to=clerk", "note='two words'"]), max_size=2, unique=True).filter(
        lambda rest: {"$40", "$1.5"} - set(rest)
    ),
)
CALLS = LINE_CALLS | some({"action": WORDS}, arguments=OBJECTS)
WORDED_CALLS = CALLS | st.just("Check the applicant's form") | some({"action": st.just("Any words")}, arguments=OBJECTS)
FIELD_SCHEMAS = some(
    type=st.sampled_from(["string", "integer", "number", "boolean"]),
    title=TEXTS,
    enum=st.lists(JSON, min_size=1, max_size=3),
    minimum=NUMBERS,
    maxLength=st.integers(0, 100),
).map(lambda schema: {key: value for key, value in schema.items() if value is not None})
SCHEMAS = st.dictionaries(TEXTS, FIELD_SCHEMAS, max_size=3).map(
    lambda properties: {"type": "object", "properties": properties, "required": sorted(properties)[:1]}
)
POLICIES = some(
    maximum_attempts=st.integers(0, 20),
    initial_interval=INTERVALS,
    backoff_coefficient=st.floats(1, 100) | st.integers(1, 100),
    maximum_interval=INTERVALS,
    jitter=st.sampled_from(["none", "full"]),
    non_retryable_error_types=st.lists(WORDS, max_size=2),
    retry_rules=st.lists(
        some(
            {"error_type": WORDS, "action": st.sampled_from(["RETRY", "FAIL", "DEFAULT"])},
            delay=INTERVALS,
            reason=TEXTS,
        ),
        max_size=2,
    ),
)
OPTIONS = st.lists(
    st.sampled_from(["approve", "PASS", "FAIL", {"key": "defer", "label": "Later"}, {"key": "no", "ends": "fail"}]),
    max_size=3,
    unique_by=str,
)
MAPPINGS = st.dictionaries(TEXTS, CONDITIONS | NUMBERS | st.booleans(), max_size=2)
COMMON = {
    "title": TEXTS,
    "description": TEXTS,
    "when": CONDITIONS,
    "input": MAPPINGS,
    "output": MAPPINGS,
    "retries": st.integers(0, 20) | POLICIES,
    "timeouts": some(schedule_to_start=SECONDS, start_to_close=SECONDS, schedule_to_close=SECONDS, heartbeat=SECONDS),
    "timeout_policy": st.sampled_from(["RETRY", "FAIL_RUN", "ALERT_ONLY"]),
    "max_minutes": st.integers(1, 1000),
    "token_ttl": SECONDS,
    "on_failure": ENDINGS,
    "on_reject": ENDINGS,
    "on_exhausted": st.sampled_from(["FAIL", "INCIDENT"]),
    "compensate": CALLS,
    "effect": st.sampled_from(["keyed", "query_first", "once"]),
}
PERFORMED = COMMON | {"options": OPTIONS, "policy": OBJECTS, "severity": LEVELS, "priority": LEVELS}


def performed(required, **optional):
    return some(required, **PERFORMED, **optional)


PERFORMED_STEPS = st.one_of(
    performed({"type": st.just("agent")}, role=WORDS.map("agent:{}".format), call=WORDED_CALLS),
    performed({"role": WORDS.map("agent:{}".format)}, call=WORDED_CALLS),
    performed({"agent": WORDS}, action=TEXTS.map("do {}".format)),
    performed({"type": st.sampled_from(["human", "hitl"])}, role=WORDS.map("human:{}".format), form=SCHEMAS),
    performed({"type": st.sampled_from(["service", "script"])}, role=WORDS.map("svc:{}".format), call=CALLS),
    performed({"service": WORDS, "action": WORDS}, role=WORDS.map("svc:{}".format)),
)
CONCURRENCY = {"max_concurrency": st.integers(1, 9)}
FAN = CONCURRENCY | {
    "tolerated_failure_count": st.integers(0, 9),
    "tolerated_failure_percentage": st.floats(0, 100) | st.integers(0, 100),
}


def _without_when(case):
    return {key: value for key, value in case.items() if key != "when"}


def _composites(steps):
    blocks = st.lists(steps, max_size=2)
    branches = st.lists(st.builds(lambda block: {"steps": block}, blocks), min_size=1, max_size=2)
    cases = st.lists(st.builds(lambda block, when: {"when": when, "tasks": block}, blocks, CONDITIONS), max_size=2)
    cases = st.builds(lambda first, last: [*first, _without_when(last)], cases, st.just({"key": "else", "steps": []}))
    join = st.sampled_from(["ALL", "ANY", "ALL_DONE", 1])
    handled = some({"steps": blocks}, then=ENDINGS)
    return st.one_of(
        some({"type": st.just("agent")}, **COMMON | {"on_failure": handled, "on_reject": handled}),
        some({"type": st.just("wait"), "duration": SECONDS}, **COMMON | {"on_failure": handled}),
        some({"layer": st.just("GovernanceLayer"), "action": st.just("enforce")}, **COMMON),
        some({"type": st.just("parallel"), "branches": branches}, join=st.just("ALL"), **COMMON, **FAN),
        some({"type": st.just("parallel"), "branches": branches}, join=join, **COMMON, **CONCURRENCY),
        some({"type": st.just("parallel"), "tasks": st.lists(steps, min_size=1, max_size=2)}, join=join, **COMMON),
        some({"type": st.just("foreach"), "items": CONDITIONS, "steps": blocks}, **COMMON, **FAN),
        some({"type": st.just("switch"), "cases": cases}, **COMMON),
        some({"type": st.just("wait"), "duration": SECONDS}, **COMMON),
        some({"type": st.just("wait"), "signal": WORDS}, timeout=SECONDS, **COMMON),
        some({"type": st.just("wait"), "until": st.just("2026-06-01T09:00:00Z")}, **COMMON),
        some({"type": st.just("playbook"), "playbook": WORDS}, version=st.integers(1, 9), **COMMON),
    )


def _named(document):
    """Every performed step gets an id of its own, every second under the other word; groups keep theirs or none."""
    count = 0
    pending = [*document.get("steps", []), *document.get("tasks", [])]
    while pending:
        step = pending.pop()
        detours = [step[key] for key in ("on_failure", "on_reject") if isinstance(step.get(key), dict)]
        blocks = [step, *(step.get("branches") or []), *(step.get("cases") or []), *detours]
        pending += [inner for block in blocks for key in ("steps", "tasks") for inner in block.get(key) or []]
        if step.get("type") not in ("parallel", "foreach", "switch", "wait", "playbook") and "layer" not in step:
            step["id" if count % 2 else "name"] = f"step-{count}"
            count += 1
    return document


def _copied(value):
    """Hypothesis may put one object in two places, and these are written to."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


STEPS = st.recursive(PERFORMED_STEPS, lambda steps: PERFORMED_STEPS | _composites(steps), max_leaves=5)
BLOCKS = st.lists(STEPS, max_size=3)
DOCUMENTS = (
    st.builds(
        lambda word, block, rest: {**rest, word: block},
        st.sampled_from(["steps", "tasks"]),
        BLOCKS,
        some(
            {"id": WORDS},
            title=TEXTS,
            description=TEXTS,
            payload_schema=SCHEMAS,
            web_form=some(public=st.booleans(), title=TEXTS, intro=TEXTS, thanks=TEXTS),
        ),
    )
    .map(_copied)
    .map(_named)
)
