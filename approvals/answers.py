# SPDX-License-Identifier: Apache-2.0
"""What a request asks to be answered: the form, its options, and whether an answer fits.

A form is JSON Schema of the safe subset (`playbooks/json_schema.py`), checked when a request is made, and held
against the answer before anything changes. What is found wrong with a secret is said without repeating it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from approvals.models import ActionRequest, RequestType
from config.errors import Invalid, Problem
from playbooks.json_schema import flaws, ordered
from playbooks.payloads import payload_problems
from playbooks.places import path_text

MAX_OPTIONS = 12
RESERVED = ("PASS", "FAIL")  # what approval and rejection are called where no option says otherwise
FAILS = "fail"
SECRET = {"format": "password", "writeOnly": True}
# `required_fields` have no place to mark a secret; a field of such a name is one.
NAMES_OF_SECRETS = re.compile(
    r"(^|[_\-. ])(pass(word|wd|phrase|code)|secrets?|api[_\-. ]?key|(access|auth|bearer|refresh)[_\-. ]?token|"
    r"private[_\-. ]?key|credentials?)($|[_\-. ])",
    re.IGNORECASE,
)
KEY_ALONE = {"api_key": "API key"}  # what a request for an API key asks for, if it does not say


# The form -------------------------------------------------------------------------------------------------


def form_of(
    request_type: str, required_fields: Mapping[str, str], form: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """The schema of the answer: as given, or of required texts. Raises Invalid."""
    if form is not None and required_fields:
        remedy = "Put the fields into the form's `properties`, and their names into `required`."
        raise Invalid("Send a form or required_fields.", errors=[Problem("required_fields", "beside a form", remedy)])
    if form is not None:
        return _checked(form)
    is_key = request_type == RequestType.API_KEY
    asked = required_fields or (KEY_ALONE if is_key else {})
    if not asked:
        return None
    fields = {
        name: {"type": "string", "minLength": 1, "title": text, **(SECRET if is_key or _sounds_secret(name) else {})}
        for name, text in asked.items()
    }
    return {"type": "object", "properties": fields, "required": list(fields)}


def _sounds_secret(name: str) -> bool:
    in_words = re.sub(r"([a-z])([A-Z])", r"\1_\2", name)
    return NAMES_OF_SECRETS.search(in_words) is not None


def _checked(form: Mapping[str, Any]) -> dict[str, Any]:
    found = flaws(form)
    if found:
        problems = [Problem(path_text(("form", *flaw.at)), flaw.message, flaw.remedy) for flaw in found]
        raise Invalid("The form is not one that can be asked.", errors=problems)
    return ordered(form)


# Options --------------------------------------------------------------------------------------------------


def options_of(given: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """[{key, label, ends}] as a request keeps them. Raises Invalid."""
    problems = list(_option_problems(given))
    if problems:
        raise Invalid("These options cannot be offered.", errors=problems)
    return [{"key": one["key"], "label": one.get("label") or one["key"], "ends": one.get("ends", "")} for one in given]


def _option_problems(given: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    if len(given) > MAX_OPTIONS:
        yield Problem("options", f"more than {MAX_OPTIONS}", "Offer what a person can weigh up at one glance.")
    seen: set[str] = set()
    for number, one in enumerate(given):
        if one["key"] in seen:
            yield Problem(f"options[{number}].key", "stands there twice", "Give each option a key of its own.")
        seen.add(one["key"])
        if one["key"] in RESERVED and (one["key"] == "FAIL") != (one.get("ends") == FAILS):
            remedy = "PASS goes on, and FAIL ends failed; give another outcome another key."
            yield Problem(f"options[{number}].key", f"{one['key']} has a meaning of its own", remedy)
    if given and all(one.get("ends") == FAILS for one in given):
        yield Problem("options", "every one of them rejects", "Offer one that goes on.")


# The answer -----------------------------------------------------------------------------------------------


def answer_problems(
    request: ActionRequest, answer: Mapping[str, Any], *, only: Collection[str] | None = None
) -> list[Problem]:
    """Every way in which an answer, or these `only` of its fields, does not fit the form."""
    form = request.form
    if form is not None and only is not None:
        properties = {name: part for name, part in form.get("properties", {}).items() if name in only}
        form = {"type": "object", "properties": properties}
    return payload_problems(form, answer, name="response_data")
