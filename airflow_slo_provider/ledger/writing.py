"""Writing rows of which each task instance has one: inserted once, or replaced by a later try."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.ledger.schema import checks

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from airflow_slo_provider.ledger.records import RunKey

#: Databases whose way to insert a row or replace it is known here.
UPSERTS = ("sqlite", "postgresql")


def upsert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Insert rows, or replace those of the same identity that an earlier try wrote."""
    table, insert = checks(), insert_into(connection)
    replaced = {column: insert.excluded[column] for column in rows[0] if column != "identity"}
    statement = insert.on_conflict_do_update(
        index_elements=["identity"], set_=replaced, where=insert.excluded.try_number >= table.c.try_number
    )
    connection.execute(statement, rows)


def insert_into(connection: Connection) -> Any:
    """The insert of the connection's database, which knows what to do on a conflict."""
    from sqlalchemy.dialects import postgresql, sqlite

    return postgresql.insert(checks()) if connection.dialect.name == "postgresql" else sqlite.insert(checks())


def delete_and_insert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Delete and insert, for databases whose upsert differs. The unique index refuses whoever comes second at the same time."""
    from sqlalchemy import delete, insert, select

    table = checks()
    for row in rows:
        connection.execute(delete(table).where(table.c.identity == row["identity"], table.c.try_number <= row["try_number"]))
        if connection.execute(select(table.c.id).where(table.c.identity == row["identity"])).first() is None:
            connection.execute(insert(table).values(**row))


def next_attempt(connection: Connection, key: RunKey, name: str) -> int:
    """Return the attempt that a decision of this try is: the one that it replaces, or the one after a completed decision.

    A try replaces what it wrote itself, and what an earlier try wrote that found nothing out. What a later try wrote it leaves:
    its number is returned, and :func:`upsert` refuses the earlier try.

    :param key: the task instance, as the ledger has it
    :param name: name of the decision's check
    """
    from sqlalchemy import select

    table = checks()
    columns = ("dag_id", "run_id", "task_id", "map_index", "environment")
    query = (
        select(table.c.attempt, table.c.try_number, table.c.verdict, table.c.evidence)
        .where(*(table.c[column] == getattr(key, column) for column in columns))
        .where(table.c.test_run == int(key.test_run), table.c.kind == "decision", table.c.name == name)
        .order_by(table.c.attempt)
    )
    newest = None
    for newest in connection.execute(query):
        if newest.try_number == key.try_number:
            return int(newest.attempt)
    if newest is None:
        return 0
    later = newest.try_number < key.try_number and _is_complete(newest.verdict, json.loads(newest.evidence))
    return int(newest.attempt) + int(later)


def _is_complete(verdict: str, evidence: dict[str, Any]) -> bool:
    """Whether a decision was acted upon. Earlier releases did not say it: theirs was, where something was found out."""
    return bool(evidence.get("complete", verdict != "unknown"))
