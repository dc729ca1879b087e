"""Write rows that are unique per task instance and check: insert them, or replace those of an earlier try."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger.schema.tables import checks

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from airflow_slo_provider.ledger.records import RunKey

#: Databases whose upsert statement is supported.
UPSERTS = ("sqlite", "postgresql")


def upsert(connection: Connection, rows: list[dict[str, Any]], key: RunKey) -> None:
    """Insert rows, or replace those of the same identity written by this try or an earlier one."""
    insert = insert_statement(connection)
    replaced = {column: insert.excluded[column] for column in rows[0] if column != "identity"}
    statement = insert.on_conflict_do_update(index_elements=["identity"], set_=replaced, where=_replaceable(key))
    connection.execute(statement, rows)


def insert_statement(connection: Connection) -> Any:
    """Return the ``insert`` of the connection's database dialect, which supports conflict clauses."""
    from sqlalchemy.dialects import postgresql, sqlite

    return postgresql.insert(checks()) if connection.dialect.name == "postgresql" else sqlite.insert(checks())


def delete_and_insert(connection: Connection, rows: list[dict[str, Any]], key: RunKey) -> None:
    """Delete and insert rows, for databases without a supported upsert. The unique index rejects a concurrent writer."""
    from sqlalchemy import insert, select

    table = checks()
    delete_replaced(connection, rows, key)
    for row in rows:
        if connection.execute(select(table.c.id).where(table.c.identity == row["identity"])).first() is None:
            connection.execute(insert(table).values(**row))


def delete_replaced(connection: Connection, rows: list[dict[str, Any]], key: RunKey) -> None:
    """Delete the rows to be replaced, so that the new rows get new numbers, which show the order of writing."""
    from sqlalchemy import delete

    table = checks()
    connection.execute(delete(table).where(table.c.identity.in_([row["identity"] for row in rows]), _replaceable(key)))


def require_written(connection: Connection, rows: list[dict[str, Any]], key: RunKey) -> None:
    """Raise an error if a later try, or a later run of the same id, has kept its rows.

    :raises LedgerError: when not all rows are stored as just written
    """
    from sqlalchemy import func, select

    table, written = checks(), {row["identity"]: row["recorded_at"] for row in rows}
    query = select(func.count()).where(
        table.c.identity.in_(written),
        table.c.recorded_at.in_(set(written.values())),
        table.c.try_number == key.try_number,
        table.c.instance == key.instance,
    )
    if connection.execute(query).scalar_one() != len(written):
        task = f"{key.dag_id}.{key.task_id} in run {key.run_id}"
        message = f"try {key.try_number} of {task} was not recorded and does not count: a later try has recorded its own result"
        raise LedgerError(message, reason="superseded")


def next_attempt(connection: Connection, key: RunKey, name: str) -> int:
    """Return the attempt number of this try's decision: that of the decision it replaces, or the one after a completed decision.

    A try replaces its own decision, and one of an earlier try without a result. It does not replace the decision of a later try:
    that one's number is returned, and :func:`upsert` rejects the earlier try.

    :param connection: connection of a write transaction
    :param key: the task instance, with environment and test flag
    :param name: name of the decision's check
    """
    return _next_attempt(connection, key, "decision", name, "", _is_complete)


def next_observation(connection: Connection, key: RunKey, kind: str, name: str, labels: str) -> int:
    """Return the attempt number of this try's observation, like :func:`next_attempt`.

    An observation of an earlier try is kept, as it was made at another time. Only one without a result is replaced.
    """
    return _next_attempt(connection, key, kind, name, labels, lambda verdict, _: verdict != "unknown")


def _next_attempt(
    connection: Connection, key: RunKey, kind: str, name: str, labels: str, is_kept: Callable[[str, dict[str, Any]], bool]
) -> int:
    from sqlalchemy import select

    table = checks()
    columns = ("dag_id", "run_id", "task_id", "map_index", "environment")
    same = [table.c[column] == getattr(key, column) for column in columns]
    same += [table.c.test_run == int(key.test_run), table.c.kind == kind, table.c.name == name, table.c.labels == labels]
    found = (table.c.attempt, table.c.try_number, table.c.instance, table.c.verdict, table.c.evidence)
    query = select(*found).where(*same).order_by(table.c.attempt)
    newest = None
    for newest in connection.execute(query):
        if newest.try_number == key.try_number and newest.instance == key.instance:
            return int(newest.attempt)
    if newest is None:
        return 0
    is_later = newest.try_number < key.try_number or newest.instance < key.instance
    return int(newest.attempt) + int(is_later and is_kept(newest.verdict, json.loads(newest.evidence)))


def _replaceable(key: RunKey) -> ColumnElement[bool]:
    """Return the filter for the rows that a try may replace: its own, and those of earlier tries.

    For a run that was deleted and created again Airflow counts tries from 1, but the ids of its tries are still later ones.
    """
    from sqlalchemy import and_, or_

    table = checks()
    own = and_(table.c.try_number == key.try_number, table.c.instance == key.instance)
    return or_(own, table.c.try_number < key.try_number, table.c.instance < key.instance)


def _is_complete(verdict: str, evidence: dict[str, Any]) -> bool:
    """Return whether a decision is complete. Rows of older releases have no flag: they are complete if they have a result."""
    return bool(evidence.get("complete", verdict != "unknown"))
