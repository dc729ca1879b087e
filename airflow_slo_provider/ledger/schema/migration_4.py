"""Migrate the ledger to schema 4: columns for try id, environment, group labels, test run and attempt; table of corrections."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Error for a process that opened the ledger before this migration and writes to it afterwards. Its rows would have no
#: environment and would be treated as production's.
OLDER_WRITER = (
    "this ledger was upgraded to schema 4 while this process had it open: restart the process, "
    "with the airflow-slo-provider that the others have"
)
#: The columns of each index. Every query is limited to one environment, so each index begins with it.
INDEXES = {
    "checks_by_check": ("environment", "kind", "name", "checked_at", "id"),
    "checks_by_kind": ("environment", "kind", "checked_at", "id"),
    "checks_by_dag": ("environment", "dag_id", "checked_at", "id"),
    "checks_by_time": ("environment", "checked_at", "id"),
    "checks_by_dag_and_check": ("environment", "dag_id", "kind", "name", "checked_at", "id"),
    "checks_by_run": ("environment", "dag_id", "run_id", "task_id", "map_index"),
    "checks_by_service": ("environment", "kind", "name", "service", "labels", "checked_at", "id"),
    "checks_by_dag_and_service": ("environment", "dag_id", "kind", "name", "service", "labels", "checked_at", "id"),
}


def add_environments(connection: Connection) -> None:
    """Add the columns, reject rows without them, prefix every index with the environment, create the table of corrections."""
    from sqlalchemy import Column, Index, MetaData, Table

    if connection.dialect.name == "postgresql":
        _columns_on_postgresql(connection)
    else:
        _columns_on_sqlite(connection)
    columns = dict.fromkeys(column for of_index in INDEXES.values() for column in of_index)
    table = Table("checks", MetaData(), *(Column(name) for name in columns))
    for name, of_index in INDEXES.items():
        connection.exec_driver_sql(f"DROP INDEX {name}")
        Index(name, *(table.c[column] for column in of_index)).create(connection, checkfirst=False)
    _create_corrections(connection)
    if connection.dialect.name == "postgresql":
        # Without statistics PostgreSQL assumes 200 distinct values of a column: until the next autoanalyze it would expect hardly
        # any rows of the only environment, and might choose a wrong index.
        connection.exec_driver_sql("ANALYZE checks")


def _columns_on_postgresql(connection: Connection) -> None:
    """Add the columns by a catalogue change only, without rewriting rows.

    The default is an expression that raises an error, so that an insert without the column fails with a clear message.
    """
    new = (
        "instance VARCHAR(64) DEFAULT ''",
        "environment VARCHAR(100) DEFAULT ''",
        "labels VARCHAR(500) DEFAULT ''",
        "test_run INTEGER DEFAULT 0",
    )
    for column in (*new, "attempt INTEGER DEFAULT 0"):
        connection.exec_driver_sql(f"ALTER TABLE checks ADD COLUMN {column} NOT NULL")
    for name in ("environment", "labels", "test_run"):
        connection.exec_driver_sql(f"ALTER TABLE checks ALTER COLUMN {name} DROP DEFAULT")
    refusal = f"CAST(CAST('{OLDER_WRITER}' AS TEXT) AS INTEGER)"
    connection.exec_driver_sql(f"ALTER TABLE checks ALTER COLUMN attempt SET DEFAULT {refusal}")


def _columns_on_sqlite(connection: Connection) -> None:
    """Add the columns; a trigger rejects rows without the last of them, since SQLite has no other means."""
    new = ("instance VARCHAR(64) DEFAULT '' NOT NULL", "environment VARCHAR(100) DEFAULT '' NOT NULL")
    more = ("labels VARCHAR(500) DEFAULT '' NOT NULL", "test_run INTEGER DEFAULT 0 NOT NULL", "attempt INTEGER")
    for column in (*new, *more):
        connection.exec_driver_sql(f"ALTER TABLE checks ADD COLUMN {column}")
    connection.exec_driver_sql("UPDATE checks SET attempt = 0")
    connection.exec_driver_sql(
        "CREATE TRIGGER checks_older_writer BEFORE INSERT ON checks WHEN NEW.attempt IS NULL "
        f"BEGIN SELECT RAISE(ABORT, '{OLDER_WRITER}'); END"
    )


def _create_corrections(connection: Connection) -> None:
    from sqlalchemy import BigInteger, Column, Identity, Index, Integer, MetaData, String, Table, Text

    table = Table(
        "slo_corrections",
        MetaData(),
        Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
        Column("identity", String(64), nullable=False),
        Column("environment", String(100), nullable=False),
        Column("service", String(250), nullable=False),
        Column("name", String(500), nullable=False),
        Column("labels", String(500), nullable=False),
        Column("starts", BigInteger, nullable=False),
        Column("ends", BigInteger, nullable=False),
        Column("reason", Text, nullable=False),
        Column("recorded_by", Text, nullable=False),
        Column("recorded_at", BigInteger, nullable=False),
        Index("slo_corrections_identity", "identity", unique=True),
        Index("slo_corrections_by_end", "environment", "ends"),
    )
    table.create(connection, checkfirst=False)
