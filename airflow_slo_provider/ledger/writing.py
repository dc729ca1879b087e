"""Writing rows of which each task instance has one: inserted once, or replaced by a later try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_slo_provider.ledger.schema import checks

if TYPE_CHECKING:
    from sqlalchemy import Connection

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


def replace(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Delete and insert, for databases whose upsert differs. The unique index refuses whoever comes second at the same time."""
    from sqlalchemy import delete, insert, select

    table = checks()
    for row in rows:
        connection.execute(delete(table).where(table.c.identity == row["identity"], table.c.try_number <= row["try_number"]))
        if connection.execute(select(table.c.id).where(table.c.identity == row["identity"])).first() is None:
            connection.execute(insert(table).values(**row))
