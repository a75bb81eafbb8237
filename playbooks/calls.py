# SPDX-License-Identifier: Apache-2.0
"""What a performer is asked to do, as one line of text or as an object.

    hms_ach.charge $40                          → hms_ach.charge {"amount": "40.00", "currency": "USD"}
    permit.mail template=granted to="the clerk"  → permit.mail {"template": "granted", "to": "the clerk"}
    {"action": "permit.mail", "arguments": {"copies": 2}}

An argument in a line is always text; the object form says numbers. Services are called by name, so their line has
to read so. A line for an agent or a person is words for its reader: one that does not read so is kept whole.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from playbooks.definition import Call
from playbooks.places import Flaw, Flawed, Path, did_you_mean, shown

ACTION = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$"
MAX_WORDS = 500
REMEDY = (
    "Write `service.action`, `service.action key=value`, `service.action $40`, "
    "or an object of `action` and `arguments`."
)

_ACTION = re.compile(ACTION.rstrip("$"))
_DOLLARS = re.compile(r"\$(\d{1,12})(?:\.(\d{1,2}))?", re.ASCII)
_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,99})=(.*)", re.DOTALL)


def service_call(value: Any) -> Call:
    """A call that names an action. Raises Flawed."""
    call = _object_call(value) if isinstance(value, Mapping) else _line_call(value)
    if not _ACTION.fullmatch(call.action):
        at: Path = ("action",) if isinstance(value, Mapping) else ()
        raise Flawed(Flaw(at, f"{shown(call.action)} is not the name of an action.", REMEDY))
    return call


def worded_call(value: Any) -> Call:
    """A call for an agent or a person, who read words. Raises Flawed."""
    if isinstance(value, Mapping):
        return _object_call(value)
    try:
        return service_call(value)
    except Flawed:
        if not isinstance(value, str) or not value.strip() or len(value) > MAX_WORDS:
            raise
        return Call(value)


def _object_call(value: Mapping[str, Any]) -> Call:
    flaws = [
        Flaw((key,), f"`{key}` is not a field of a call.", did_you_mean(key, ("action", "arguments")) or REMEDY)
        for key in value
        if key not in ("action", "arguments")
    ]
    action, arguments = value.get("action"), value.get("arguments")
    arguments = {} if arguments is None else arguments
    if not isinstance(action, str) or not action.strip() or len(action) > MAX_WORDS:
        flaws.append(Flaw(("action",), "The call names no `action`.", REMEDY))
    if not isinstance(arguments, Mapping):
        flaws.append(Flaw(("arguments",), "The `arguments` are not a mapping.", "Write each as a key and a value."))
    if flaws:
        raise Flawed(*flaws)
    assert isinstance(action, str)
    return Call(action, dict(arguments))


def _line_call(value: Any) -> Call:
    if not isinstance(value, str):
        raise Flawed(Flaw((), f"{shown(value)} is not a call.", REMEDY))
    try:
        action, *words = shlex.split(value)
    except ValueError:
        raise Flawed(Flaw((), f"{shown(value)} is empty, or a quote in it is not closed.", REMEDY))
    arguments: dict[str, str] = {}
    for word in words:
        for key, text in _arguments(word).items():
            if key in arguments:
                raise Flawed(Flaw((), f"The call gives `{key}` twice.", "Keep one of the two."))
            arguments[key] = text
    return Call(action, arguments)


def _arguments(word: str) -> dict[str, str]:
    if dollars := _DOLLARS.fullmatch(word):
        whole, cents = dollars.groups(default="")
        return {"amount": f"{int(whole)}.{cents:0<2}", "currency": "USD"}
    if pair := _PAIR.fullmatch(word):
        return {pair[1]: pair[2]}
    raise Flawed(Flaw((), f"{shown(word)} is not an argument of a call.", REMEDY))
