# SPDX-License-Identifier: Apache-2.0
"""One transition as one statement: end a task, open the next, write the log, move the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

SCHEMA = Path(__file__).with_name("schema.sql")
HASH = bytes(32)
TRANSITION = """
WITH ended AS (
    UPDATE task SET state = 'done', outcome = 'PASS' WHERE id = %s AND state = 'claimed' RETURNING run_id, id
), opened AS (
    INSERT INTO task (run_id, step, role, state) SELECT run_id, 2, 'agent:validator', 'ready' FROM ended
), told AS (
    INSERT INTO log (run_id, task_id, kind, actor, hash)
    SELECT run_id, id, 'completed', 'agent:validator', %s FROM ended
)
UPDATE run SET position = 2, updated_at = now() FROM ended WHERE run.id = ended.run_id
"""


def make_tables(connection: psycopg.Connection[Any]) -> None:
    connection.execute(SCHEMA.read_bytes(), prepare=False)


def claimed(connection: psycopg.Connection[Any], count: int) -> range:
    """So many more runs, each with a first task that is claimed. A task has the number of its run."""
    found = connection.execute("SELECT greatest((SELECT max(id) FROM run), (SELECT max(id) FROM task), 0)").fetchone()
    assert found is not None
    numbers = range(found[0] + 1, found[0] + 1 + count)
    ends = [numbers[0], numbers[-1]]
    connection.execute("INSERT INTO run (id) SELECT generate_series(%s::bigint, %s)", ends)
    connection.execute(
        "INSERT INTO task (id, run_id, step, role, state) "
        "SELECT n, n, 1, 'agent:validator', 'claimed' FROM generate_series(%s::bigint, %s) n",
        ends,
    )
    connection.execute("SELECT setval('run_id_seq', %s), setval('task_id_seq', %s)", [numbers[-1], numbers[-1]])
    connection.execute("VACUUM ANALYZE", prepare=False)
    return numbers


def transition(connection: psycopg.Connection[Any], number: int) -> None:
    done = connection.execute(TRANSITION, [number, HASH], prepare=True)
    assert done.rowcount == 1, f"task {number} was not claimed"
