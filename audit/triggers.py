# SPDX-License-Identifier: Apache-2.0
"""The one list of database triggers, and the database brought to agree with it.

Each room declares its own (`declare`); nothing else creates triggers. `install` runs after every `migrate`,
because SQLite loses a table's triggers without a word when Django remakes the table. All triggers refuse:
they raise the database's integrity error, so that what the words forbid cannot be done by the shell either.

A condition may name only its own row and table: on SQLite, a trigger that mentions another table stands in
the way of that table's next remake. On PostgreSQL conditions stand in function bodies, not in WHEN, so that
no trigger stands in the way of a column's next change; and every trigger is ENABLE ALWAYS, so that
`session_replication_role` does not skip it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from django.db import connections, transaction

PREFIX = "act_"  # what carries it in the database is ours: found undeclared, it is dropped
NAME_LIMIT = 63  # of PostgreSQL's identifiers; a longer one would be cut silently
INSTALL_LOCK = 0x61637474  # one process at a time changes triggers

Event = Literal["INSERT", "UPDATE", "DELETE", "TRUNCATE"]
Signature = tuple[Any, ...]  # what a trigger is in its database; equal signatures do the same


@dataclass(frozen=True, slots=True)
class Trigger:
    """Refuses `event` on a row of `table` where `condition` holds: SQL over OLD and NEW, read by both databases."""

    name: str
    table: str
    event: Event
    condition: str
    message: str
    vendors: tuple[str, ...] = ("postgresql", "sqlite")

    def __post_init__(self) -> None:
        assert self.name.startswith(PREFIX), f"{self.name} does not start with {PREFIX}"
        assert len(self.name) <= NAME_LIMIT, f"{self.name} is longer than {NAME_LIMIT}"
        assert "'" not in self.message, f"the message of {self.name} holds a quote"


@dataclass(frozen=True, slots=True)
class Made:
    """One trigger as it stands in a database: on SQLite a rule each.

    On PostgreSQL all rules of a table's event are one, since each call of a trigger costs as much as several rules
    (measured: a fifth of what a completed step costs the server).
    """

    name: str
    table: str
    event: Event
    rules: tuple[Trigger, ...]


_declared: dict[str, Trigger] = {}


def declare(*triggers: Trigger) -> None:
    """Add to the list. A room calls this when its app is ready."""
    for trigger in triggers:
        assert _declared.setdefault(trigger.name, trigger) == trigger, f"{trigger.name} is declared twice"


def declared(vendor: str) -> list[Made]:
    rules = [trigger for trigger in _declared.values() if vendor in trigger.vendors]
    if vendor == "sqlite":
        return [Made(rule.name, rule.table, rule.event, (rule,)) for rule in rules]
    found: dict[tuple[str, Event], list[Trigger]] = {}
    for rule in rules:
        found.setdefault((rule.table, rule.event), []).append(rule)
    return [Made(_name_of(group), *of, tuple(group)) for of, group in found.items()]


def _name_of(group: list[Trigger]) -> str:
    first = group[0]
    return first.name if len(group) == 1 else f"{PREFIX}{first.table}_on_{first.event.lower()}"


def install(using: str = "default") -> None:
    """Create what is missing or differs, drop what is no longer declared. Tables not made yet are left for later."""
    dialect = _dialect(using)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        dialect.lock(cursor)
        found, wanted = dialect.found(cursor), _wanted(dialect, cursor)
        statements = [dialect.drop(name, found[name]) for name in found.keys() - wanted.keys()]
        for name, trigger in wanted.items():
            if found.get(name) != dialect.signature(trigger):
                statements.append(dialect.create(trigger, found.get(name)))
        for sql in [sql for group in statements for sql in group]:
            cursor.execute(sql)


def remove(using: str = "default") -> None:
    """Drop every trigger of ours. Only the owner of the tables can; nothing but tests and migrations may."""
    dialect = _dialect(using)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        dialect.lock(cursor)
        for name, signature in dialect.found(cursor).items():
            for sql in dialect.drop(name, signature):
                cursor.execute(sql)


@contextmanager
def disabled(using: str = "default") -> Iterator[None]:
    """Switch all triggers off, and on again at the end. For tests that clean up after themselves, and migrations."""
    dialect = _dialect(using)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        for name, signature in dialect.found(cursor).items():
            for sql in dialect.disable(name, signature):
                cursor.execute(sql)
    try:
        yield
    finally:
        install(using)


def missing(using: str = "default") -> list[str]:
    """Names of declared triggers that the database does not hold, or not as declared. Empty is right."""
    dialect = _dialect(using)
    with connections[using].cursor() as cursor:
        found = dialect.found(cursor)
    return sorted(t.name for t in declared(dialect.vendor) if found.get(t.name) != dialect.signature(t))


def undeclared(using: str = "default") -> list[str]:
    """Names of triggers of ours that the database holds though nothing declares them. Empty is right."""
    dialect = _dialect(using)
    with connections[using].cursor() as cursor:
        return sorted(dialect.found(cursor).keys() - {t.name for t in declared(dialect.vendor)})


def _wanted(dialect: _Dialect, cursor: Any) -> dict[str, Made]:
    tables = set(connections[cursor.db.alias].introspection.table_names(cursor))
    return {trigger.name: trigger for trigger in declared(dialect.vendor) if trigger.table in tables}


class _Dialect(Protocol):
    vendor: str

    def lock(self, cursor: Any) -> None: ...
    def found(self, cursor: Any) -> dict[str, Signature]: ...
    def signature(self, trigger: Made) -> Signature: ...
    def create(self, trigger: Made, found: Signature | None) -> list[str]: ...
    def drop(self, name: str, found: Signature) -> list[str]: ...
    def disable(self, name: str, found: Signature) -> list[str]: ...


class _SQLite:
    vendor = "sqlite"

    def lock(self, cursor: Any) -> None:
        """Transactions are immediate: this one holds the write lock already."""

    def found(self, cursor: Any) -> dict[str, Signature]:
        cursor.execute("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
        return {name: (table, sql) for name, table, sql in cursor.fetchall() if name.startswith(PREFIX)}

    def signature(self, trigger: Made) -> Signature:
        return trigger.table, self._sql(trigger)

    def create(self, trigger: Made, found: Signature | None) -> list[str]:
        return [*(self.drop(trigger.name, found) if found else []), self._sql(trigger)]

    def drop(self, name: str, found: Signature) -> list[str]:
        return [f'DROP TRIGGER "{name}"']

    def disable(self, name: str, found: Signature) -> list[str]:
        return self.drop(name, found)

    def _sql(self, trigger: Made) -> str:
        (rule,) = trigger.rules
        # IS is this comparison's older name, known to every SQLite that Django supports.
        condition = rule.condition.replace("IS DISTINCT FROM", "IS NOT")
        return (
            f'CREATE TRIGGER "{trigger.name}" BEFORE {trigger.event} ON "{trigger.table}" FOR EACH ROW '
            f"WHEN {condition} BEGIN SELECT RAISE(ABORT, '{rule.name}: {rule.message}'); END"
        )


class _PostgreSQL:
    vendor = "postgresql"

    ENABLED_ALWAYS = "A"
    # The bits of pg_trigger.tgtype: FOR EACH ROW, BEFORE, and the event.
    ROW, BEFORE = 1, 2
    EVENTS: dict[Event, int] = {"INSERT": 4, "DELETE": 8, "UPDATE": 16, "TRUNCATE": 32}

    def lock(self, cursor: Any) -> None:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [INSTALL_LOCK])

    def found(self, cursor: Any) -> dict[str, Signature]:
        cursor.execute(
            """
            SELECT t.tgname, c.relname, t.tgtype, t.tgqual IS NULL AND t.tgattr = '', p.prosrc, t.tgenabled
            FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid
            WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace
            """
        )
        return {name: tuple(signature) for name, *signature in cursor.fetchall() if name.startswith(PREFIX)}

    def signature(self, trigger: Made) -> Signature:
        scope = 0 if trigger.event == "TRUNCATE" else self.ROW
        kind = scope | self.BEFORE | self.EVENTS[trigger.event]
        return trigger.table, kind, True, self._body(trigger), self.ENABLED_ALWAYS

    def create(self, trigger: Made, found: Signature | None) -> list[str]:
        enable = f'ALTER TABLE "{trigger.table}" ENABLE ALWAYS TRIGGER "{trigger.name}"'
        if found and found[:-1] == self.signature(trigger)[:-1]:
            return [enable]
        scope = "STATEMENT" if trigger.event == "TRUNCATE" else "ROW"
        return [
            *(self.drop(trigger.name, found) if found else []),
            # The path is fixed, so that nobody's own schema lends other meanings to functions and operators.
            f'CREATE OR REPLACE FUNCTION "{trigger.name}"() RETURNS trigger LANGUAGE plpgsql '
            f"SET search_path = pg_catalog, pg_temp AS $act${self._body(trigger)}$act$",
            f'CREATE TRIGGER "{trigger.name}" BEFORE {trigger.event} ON "{trigger.table}" '
            f'FOR EACH {scope} EXECUTE FUNCTION "{trigger.name}"()',
            enable,
        ]

    def drop(self, name: str, found: Signature) -> list[str]:
        return [f'DROP TRIGGER "{name}" ON "{found[0]}"', f'DROP FUNCTION "{name}"()']

    def disable(self, name: str, found: Signature) -> list[str]:
        return [f'ALTER TABLE "{found[0]}" DISABLE TRIGGER "{name}"']

    def _body(self, trigger: Made) -> str:
        row = {"DELETE": "OLD", "TRUNCATE": "NULL"}.get(trigger.event, "NEW")
        refusals = "".join(
            f"IF {rule.condition} THEN RAISE EXCEPTION USING MESSAGE = '{rule.name}: {rule.message}', "
            f"ERRCODE = 'integrity_constraint_violation', TABLE = '{rule.table}', CONSTRAINT = '{rule.name}'; END IF; "
            for rule in trigger.rules
        )
        if len(trigger.rules) > 1:  # asked all at once first: each question costs by itself
            broken = " OR ".join(f"({rule.condition})" for rule in trigger.rules)
            refusals = f"IF {broken} THEN {refusals}END IF; "
        return f"BEGIN {refusals}RETURN {row}; END"


_DIALECTS: dict[str, _Dialect] = {"sqlite": _SQLite(), "postgresql": _PostgreSQL()}


def _dialect(using: str) -> _Dialect:
    return _DIALECTS[connections[using].vendor]
