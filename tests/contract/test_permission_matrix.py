# SPDX-License-Identifier: Apache-2.0
"""Every address by every method by everybody, against the declared table of who may do what.

- Nothing breaks: no answer is a 5xx.
- Reading changes nothing, for anybody.
- An act takes effect for exactly those whom its row names; a call that takes no effect leaves the database as it was,
  but for entries of refused attempts.
- Whoever is not let in reads nothing but the public pages; whoever may not see a run never reads what is in it.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.db.models import Model
from django.test import Client
from django.urls import URLPattern, get_resolver, resolve

from accounts.models import RateCount
from audit.models import Disclosure, Entry, Result
from tests.contract.table import TABLE, Act, Row
from tests.contract.world import BLIND, CANARY, EVERYBODY, SHUT_OUT, World, build, surroundings

pytestmark = [pytest.mark.django_db, pytest.mark.once]  # who may do what is decided above the database

CHANGING = ("POST", "PUT", "PATCH", "DELETE")
NO_EVIDENCE = {"sessions", "axes", "contenttypes"}  # apps whose rows a visit may touch
WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE|TRUNCATE|WITH (hit|new)0)\b", re.IGNORECASE)
NOTES_A_VISIT = re.compile(
    r'UPDATE "accounts_apikey" SET "last_used_at"|(INTO|UPDATE|FROM) "?(django_session|axes_\w+|accounts_ratecount)\b'
)
NAMES = re.compile(r"\w+")
# What a browser, or somebody's program, would send to make any page of the admin change or delete something.
PUSHY = {
    "action": "delete_selected",
    "_selected_action": "1",
    "select_across": "1",
    "post": "yes",
    "_save": "Save",
    "username": "taken_over",
    "is_superuser": "on",
    "state": "completed",
    "name": "",
}


@pytest.fixture(scope="module")
def shared_world(shared_db: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        surroundings(patch, tmp_path_factory.mktemp("marks"))
        yield build()


@pytest.fixture
def world(shared_world: World, db: None) -> World:
    """Each test has it as it was built."""
    return shared_world


# Asking, and seeing what came of it -----------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    status: int
    location: str
    body: bytes
    wrote: tuple[str, ...]  # statements that write anything but the notes of a visit
    took_effect: bool

    @property
    def leads_to_the_log_in(self) -> bool:
        return self.status == 302 and self.location.startswith("/admin/login/")


class Caller:
    """Somebody who asks. Whatever they change is undone after each call, their cookies included."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self._client: Client = world.clients[name]
        self._at_rest = content_of(tables())

    def asks(self, method: str, path: str, body: Mapping[str, Any] | None = None, **headers: str) -> Outcome:
        cookies = copy.deepcopy(self._client.cookies)
        with _undone(), _statements() as said:
            response = self._call(method, path, body, headers)
            content = b"".join(response.streaming_content) if response.streaming else response.content
            wrote = tuple(sql for sql in said if WRITES.match(sql) and not NOTES_A_VISIT.search(sql))
            took_effect = content_of(tables_in(wrote)).items() - self._at_rest.items() != set()
        self._client.cookies = cookies
        return Outcome(response.status_code, response.headers.get("Location", ""), content, wrote, took_effect)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Any:
        if body is None:
            return self._client.generic(method, path, headers=headers)
        if path.startswith(("/admin/", "/forms/")) and method == "POST":
            return self._client.post(path, body, headers=headers)
        return self._client.generic(method, path, json.dumps(body), content_type="application/json", headers=headers)


@contextmanager
def _undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@contextmanager
def _statements() -> Iterator[list[str]]:
    said: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        said.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield said


def tables() -> dict[str, type[Model]]:
    """Those of evidence, by name: all but the notes of a visit."""
    found = apps.get_models(include_auto_created=True, include_swapped=False)
    kept = (each for each in found if each._meta.app_label not in NO_EVIDENCE and each not in {Disclosure, RateCount})
    return {model._meta.db_table: model for model in kept}


def tables_in(statements: Iterable[str]) -> dict[str, type[Model]]:
    """Those that are named in statements, since to read all of them would take ten times as long as the call did."""
    every = tables()
    return {name: every[name] for sql in statements for name in NAMES.findall(sql) if name in every}


def content_of(tables: Mapping[str, type[Model]]) -> dict[str, str]:
    """The digest of each table, without the entries of refused attempts."""
    found = {}
    for table, model in tables.items():
        rows = model._base_manager.order_by("pk")
        if model is Entry:
            rows = rows.exclude(result=Result.DENIED)
        columns = [field.attname for field in model._meta.concrete_fields if field.name != "last_used_at"]
        found[table] = hashlib.sha256(repr(list(rows.values_list(*columns))).encode()).hexdigest()
    return found


# The table ------------------------------------------------------------------------------------------------


def routes() -> set[str]:
    return {_normal(route) for route in _routes(get_resolver(), "")}


def _routes(resolver: Any, prefix: str) -> Iterator[str]:
    for each in resolver.url_patterns:
        route = prefix + str(each.pattern)
        if isinstance(each, URLPattern):
            yield route
        else:
            yield from _routes(each, route)


def _normal(route: str) -> str:
    """Which apps are listed in the pattern of their pages, and in which order, is no matter here."""
    return re.sub(r"\(\?P<app_label>[^)]*\)", "<app_label>", route)


def test_every_address_stands_in_the_table_once():
    declared = [row.route for row in TABLE]

    assert routes() - set(declared) == set(), "say in tests/contract/table.py who may do what there"
    assert set(declared) - routes() == set(), "these are gone"
    assert len(declared) == len(set(declared))


def test_every_row_leads_to_its_address(world):
    wrong = [
        f"{path} is {found}, not {row.route}"
        for row in TABLE
        for path in [at(world) for at in row.at] + [act.at(world) for act in row.acts if act.at]
        if (found := _normal(resolve(path).route)) != row.route.replace("/^", "/")
    ]

    assert wrong == []


def test_the_auditor_changes_nothing_but_what_is_their_own():
    own = {"auth/token", "admin/login/", "admin/logout/", "admin/password_change/", "admin/accounts/apikey/add/"}
    own |= {"admin/approvals/preference/mine/"}
    public = {"forms/<str:playbook>", r"^forms/answer/(?P<token>[A-Za-z0-9_-]{43})\Z"}

    assert {row.route for row in TABLE for act in row.acts if "auditor" in act.to} == own | public


def test_every_act_is_somebodys_and_every_caller_has_something_to_do():
    named = {name for row in TABLE for act in row.acts for name in act.to}

    assert named == set(EVERYBODY)


# Reading --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERYBODY)
def test_reading_breaks_nothing_changes_nothing_and_tells_nobody_too_much(world, name):
    caller = Caller(world, name)
    wrong = []
    for row in TABLE:
        for method in ("GET",) if row.is_page and name != "superuser" else ("GET", "HEAD", "OPTIONS"):
            for at in row.at:
                path = at(world)
                wrong += [
                    f"{method} {path}: {what}" for what in _faults_of_reading(row, name, caller.asks(method, path))
                ]

    assert wrong == []


def _faults_of_reading(row: Row, name: str, outcome: Outcome) -> Iterator[str]:
    if outcome.status >= 500:
        yield f"broke with {outcome.status}"
    if outcome.wrote:
        yield f"wrote by {outcome.wrote[0][:80]}"
    if name in BLIND and CANARY.encode() in outcome.body:
        yield "told what is in a run"
    if name in SHUT_OUT and not row.is_public and not _is_shut(outcome):
        yield f"answered {outcome.status} to somebody who is shut out"


def _is_shut(outcome: Outcome) -> bool:
    to_the_admin = outcome.status == 302 and outcome.location in {"/admin/", "/admin/nowhere/"}
    return outcome.status in {401, 404, 405} or outcome.leads_to_the_log_in or to_the_admin


# Acting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERYBODY)
def test_each_act_takes_effect_for_whom_the_table_names_and_for_nobody_else(world, name):
    caller = Caller(world, name)
    wrong = []
    for row in TABLE:
        for act in _tries(row):
            path = (act.at or row.at[0])(world)
            outcome = caller.asks(act.method, path, act.sent(world, name))
            wrong += [f"{act.method} {path}: {what}" for what in _faults_of_acting(row, act, name, outcome)]

    assert wrong == []


def _tries(row: Row) -> Iterator[Act]:
    yield from row.acts
    declared = {act.method for act in row.acts}
    for method in CHANGING:
        if method not in declared:
            yield Act(method, (), PUSHY if row.is_page else {})


def _faults_of_acting(row: Row, act: Act, name: str, outcome: Outcome) -> Iterator[str]:
    if outcome.status >= 500:
        yield f"broke with {outcome.status}"
    if outcome.took_effect != (name in act.to):
        effect = "took effect" if outcome.took_effect else f"took no effect ({outcome.status} {outcome.body[:200]!r})"
        yield f"{effect} for {name}"
    if outcome.took_effect and outcome.status >= 400:
        yield f"took effect and answered {outcome.status}"
    if act.method == "DELETE" and outcome.status < 300:
        yield f"answered {outcome.status} to DELETE"
    if name in BLIND and CANARY.encode() in outcome.body:
        yield "told what is in a run"
    if name in SHUT_OUT and not row.is_public and not _is_shut(outcome):
        yield f"answered {outcome.status} to somebody who is shut out"


# Ways round -----------------------------------------------------------------------------------------------

ODD = {
    "a second slash before": lambda path: f"/{path}",
    "a second slash within": lambda path: path.replace("/", "//", 2).removeprefix("/"),
    "a slash behind": lambda path: f"{path.rstrip('/')}//",
    "a dot behind": lambda path: f"{path}.",
    "a suffix": lambda path: f"{path.rstrip('/')}.json",
    "a parameter": lambda path: f"{path.rstrip('/')};.json",
    "a step up": lambda path: f"/healthz/%2e%2e{path}",
    "a plain step up": lambda path: f"/healthz/..{path}",
    "a step up behind": lambda path: f"{path.rstrip('/')}/x/%2e%2e",
    "an encoded slash": lambda path: path.replace("/", "/%2f", 1),
    "a backslash": lambda path: path.replace("/", "\\", 1),
    "capitals": lambda path: path.upper(),
    "NUL": lambda path: f"{path}%00",
    "NUL within": lambda path: f"{path[:-2]}%00{path[-2:]}",
    "NUL asked for": lambda path: f"{path}?q=%00&o=1&state__exact=%00&role=%00",
    "a line end": lambda path: f"{path}%0a",
    "a question": lambda path: f"{path}?_method=GET&format=json&user=1",
}
SPOOFED = {
    "X-HTTP-Method-Override": "GET",
    "X-HTTP-Method": "POST",
    "X-Method-Override": "PATCH",
    "X-Original-URL": "/healthz",
    "X-Rewrite-URL": "/healthz",
    "X-Forwarded-User": "root",
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Host": "localhost",
    "Remote-User": "root",
    "X-Remote-User": "root",
    "X-Auth-User": "root",
    "X-User-Id": "1",
    "From": "root@example.org",
}


@pytest.mark.parametrize("name", ["anonymous", "foreign_agent", "auditor"])
def test_no_odd_way_of_writing_an_address_gains_anything(world, name):
    caller = Caller(world, name)
    wrong = []
    for row in TABLE:
        act = next(iter(row.acts), None)
        for how, odd in ODD.items():
            path = odd(((act and act.at) or row.at[0])(world))
            tries = [("GET", None), *([(act.method, act.sent(world, name))] if act else [])]
            for method, body in tries:
                outcome = caller.asks(method, path, body)
                faults = _faults_of_an_odd_way(name, outcome, may=act is not None and name in act.to)
                wrong += [f"{method} {path} ({how}): {what}" for what in faults]

    assert wrong == []


def _faults_of_an_odd_way(name: str, outcome: Outcome, *, may: bool = False) -> Iterator[str]:
    if outcome.status >= 500:
        yield f"broke with {outcome.status}"
    if outcome.took_effect and not may:
        yield "took effect"
    if name in BLIND and CANARY.encode() in outcome.body:
        yield "told what is in a run"


@pytest.mark.parametrize("name", ["anonymous", "foreign_agent", "auditor"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_header_turns_a_call_into_another_or_its_caller_into_somebody_else(world, name, method):
    caller = Caller(world, name)
    wrong = []
    for row in TABLE:
        for act in row.acts:
            if name in act.to:
                continue
            path = (act.at or row.at[0])(world)
            sent = {**SPOOFED, "X-HTTP-Method-Override": act.method}
            outcome = caller.asks(method, path, act.sent(world, name), **sent)
            wrong += [f"{method} {path}: {what}" for what in _faults_of_an_odd_way(name, outcome)]

    assert wrong == []
