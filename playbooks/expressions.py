# SPDX-License-Identifier: Apache-2.0
"""Expressions in playbooks and rules: CEL (https://cel.dev), read, bounded and evaluated here and nowhere else.

An expression is pure: it reads the names it is given, and can neither loop for ever nor call anything. What bounds its
cost: 500 characters, and no macro (`map`, `filter`, `all`, `exists`, `exists_one`) within another one.

It fails closed: where data is missing, or is of another kind than the expression needs, there is no value, and whoever
asked has to say what follows. `has(payload.form)` asks whether something is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from playbooks.places import shown

if TYPE_CHECKING:
    from cel import Program

MAX_CHARACTERS = 500
LARGEST_INTEGER = 2**53 - 1  # what every reader of JSON can hold (RFC 8259, section 6)
KEYS_SHOWN = 12
COMPILED_KEPT = 1000

_STRING = r"[rRbB]{0,2}(?:\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')"
_TOKENS = re.compile(
    rf"(?P<text>{_STRING})|(?P<macro>\.(?:map|filter|all|exists|exists_one)\s*\()|(?P<open>\()|(?P<close>\))", re.S
)
_MACRO_VARIABLE = re.compile(r"\.(?:map|filter|all|exists|exists_one)\s*\(\s*(\w+)\s*,")
_TYPE_NAMES = frozenset(
    {"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type", "timestamp", "duration"}
)
_STEP_NAMED = re.compile(
    rf"\b(?P<of>steps|data)\s*(?:\.\s*(?P<field>\w+)\b(?!\s*\()|\[\s*(?:\"(?P<key>[^\"]+)\"|'(?P<quoted>[^']+)')\s*\])"
    rf"|{_STRING}",
    re.S,
)


class BadExpression(ValueError):
    """It cannot be used, whatever the data: what is wrong, and the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class Unevaluable(Exception):
    """The expression has no value of the kind that is needed; its text says which expression, where, and why."""


def check(text: str) -> None:
    """Raises BadExpression for one that does not parse, or could cost too much."""
    if len(text) > MAX_CHARACTERS:
        raise BadExpression(
            "The expression is too long.", f"At most {MAX_CHARACTERS} characters; do the rest in a service step."
        )
    _compiled(text)
    if _has_nested_macros(text):
        remedy = "Do it in two steps, the first of which keeps its result, or in a service step."
        raise BadExpression("A macro (such as `map` or `exists`) stands within another one.", remedy)


def names_in(text: str) -> frozenset[str]:
    """The names it reads that it does not make itself: `payload`, `data`, `item` …"""
    read = frozenset(_compiled(text).variables())
    return read - frozenset(_MACRO_VARIABLE.findall(text)) - _TYPE_NAMES


def steps_in(text: str) -> frozenset[str]:
    """The steps it names, by `steps["id"]` or `data.id`."""
    found = _STEP_NAMED.finditer(text)
    return frozenset(each["field"] or each["key"] or each["quoted"] for each in found if each["of"])


def evaluate(text: str, names: Mapping[str, Any], *, at: str) -> Any:
    """Its value over these names. `at` is the place that asks, for the message. Raises Unevaluable."""
    try:
        program = _compiled(text)
        # What it does not read is left out: each name is copied for the engine, whole.
        return program.execute({name: names[name] for name in program.variables() if name in names})
    except BadExpression as fault:
        raise Unevaluable(f"`{text}` at {at}: {fault.message}") from fault
    except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError, IndexError) as fault:
        raise Unevaluable(f"`{text}` at {at} has no value: {_why(fault)}.{_what_was_there(text, names)}") from fault


def as_data(value: Any, *, text: str, at: str) -> Any:
    """What an expression gave, as JSON: moments in ISO 8601, durations in seconds. Raises Unevaluable."""
    match value:
        case None | bool() | str():
            return value
        case int() if abs(value) <= LARGEST_INTEGER:
            return value
        case float() if abs(value) < float("inf"):
            return value
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {_key(key, text, at): as_data(each, text=text, at=at) for key, each in value.items()}
        case list() | tuple():
            return [as_data(each, text=text, at=at) for each in value]
    raise Unevaluable(f"`{text}` at {at} gives {value!r:.80}, which JSON cannot carry.")


def mapped(mapping: Mapping[str, Any], names: Mapping[str, Any], *, at: str) -> dict[str, Any]:
    """`{name: expression}` → `{name: value}`; what is no text stands for itself. Raises Unevaluable."""
    return {
        name: as_data(evaluate(entry, names, at=at), text=entry, at=at) if isinstance(entry, str) else entry
        for name, entry in mapping.items()
    }


@lru_cache(maxsize=COMPILED_KEPT)
def _compiled(text: str) -> Program:
    # Here and not above: its package loads a command line of its own, and few processes read an expression.
    import cel

    try:
        return cel.compile(text)
    except ValueError as fault:
        found = re.search(r"<input>:\d+:(\d+): (?:Syntax error: )?([^\n]*?)(?: expecting \{.*)?\n", f"{fault}\n")
        where = f" at character {found[1]}: {found[2]}" if found else ""
        remedy = 'Write a CEL expression, such as `payload.crowd > 500` or `steps["AI-Screen"].outcome == "PASS"`.'
        raise BadExpression(f"The expression {shown(text)} does not parse{where}.", remedy) from fault


def _has_nested_macros(text: str) -> bool:
    around: list[bool] = []  # for each open bracket, whether a macro opened it
    for token in _TOKENS.finditer(text):
        if token["macro"] and any(around):
            return True
        if token["macro"] or token["open"]:
            around.append(bool(token["macro"]))
        elif token["close"] and around:
            around.pop()
    return False


def _why(fault: Exception) -> str:
    match fault:
        case KeyError():
            return f"there is no {fault.args[0]!r}"
        case ZeroDivisionError():
            return "it divides by zero"
        case RuntimeError() if name := re.search(r"Undefined variable or function: '([^']*)'", str(fault)):
            return f"{name[1]!r} is not known here"
        case TypeError():
            return "its operands are of kinds that do not go together"
    return str(fault).partition("\n")[0].rstrip(".")


def _what_was_there(text: str, names: Mapping[str, Any]) -> str:
    """The keys of what it reads; never the values, which may be private."""
    told = [f"{name} has {_keys(names[name])}" for name in sorted(names_in(text)) if name in names]
    return f" There was: {'; '.join(told)}." if told else ""


def _keys(value: Any) -> str:
    if isinstance(value, Mapping):
        return _listed([str(key) for key in value]) or "nothing"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{len(value)} entries"
    return f"a {type(value).__name__}"


def _listed(keys: Sequence[str]) -> str:
    shown = ", ".join(key[:40] for key in keys[:KEYS_SHOWN])
    return f"{shown} and {len(keys) - KEYS_SHOWN} more" if len(keys) > KEYS_SHOWN else shown


def _key(key: Any, text: str, at: str) -> str:
    if isinstance(key, str):
        return key
    raise Unevaluable(f"`{text}` at {at} gives a mapping with the key {key!r:.80}; keys are texts.")
