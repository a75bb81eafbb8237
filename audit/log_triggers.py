# SPDX-License-Identifier: Apache-2.0
"""The triggers of the log's own tables: an entry never changes, but for its place, which is given once."""

from audit.guards import append_only, changed, no_delete, refuse
from audit.models import Disclosure, Entry, Log
from audit.triggers import Trigger

OTHER_FIELDS = [field.name for field in Entry._meta.concrete_fields if field.name != "leaf_index"]
PLACED = 'OLD."leaf_index" IS NULL AND NEW."leaf_index" IS NOT NULL AND NEW."leaf_index" >= 0'
PLACE_TAKEN = 'SELECT 1 FROM "audit_entry" WHERE "leaf_index" = NEW."leaf_index" AND "id" <> NEW."id"'

TRIGGERS = [
    *no_delete(Entry),
    refuse(
        Entry,
        "no_update",
        "UPDATE",
        f"NOT ({PLACED}) OR {changed(Entry, *OTHER_FIELDS)}",
        "an entry never changes; it is given its place once",
    ),
    # UPDATE OR REPLACE would delete the entry that holds the place; text would stand in SQLite's integer column.
    Trigger(
        "act_audit_entry_place",
        "audit_entry",
        "UPDATE",
        f"typeof(NEW.\"leaf_index\") NOT IN ('integer', 'null') OR EXISTS ({PLACE_TAKEN})",
        "the place is taken, or is no number",
        ("sqlite",),
    ),
    refuse(
        Entry,
        "unplaced",
        "INSERT",
        'NEW."leaf_index" IS NOT NULL',
        "an entry gets its place after it is committed",
    ),
    # SQLite has no SHA-256 of its own; there the verifier checks it.
    Trigger(
        "act_audit_entry_hash",
        "audit_entry",
        "INSERT",
        r"""NEW."entry_hash" IS DISTINCT FROM sha256('\x00'::bytea || NEW."body")""",
        "entry_hash is not the hash of body",
        ("postgresql",),
    ),
    *append_only(Disclosure),
    *append_only(Log),
]
