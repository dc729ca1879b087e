"""Schema migrations of the ledger. A released migration is never edited; new ones are appended.

No migration may drop data. The schema version is the number of applied migrations, stored in ``slo_ledger_schema``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger.schema.migration_4 import add_environments

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Key of the PostgreSQL advisory lock for migrations: an arbitrary number, the same in every release.
_ADVISORY_LOCK = 0x510_1ED6E4


def _create_checks(connection: Connection) -> None:
    """Migrate to schema 1: create the table of checks and its indexes."""
    from sqlalchemy import BigInteger, Column, Float, Identity, Index, Integer, MetaData, String, Table, Text

    number = Float(53)
    table = Table(
        "checks",
        MetaData(),
        Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
        Column("identity", String(64), nullable=False),
        Column("dag_id", String(250), nullable=False),
        Column("run_id", String(250), nullable=False),
        Column("task_id", String(250), nullable=False),
        Column("map_index", Integer, nullable=False),
        Column("try_number", Integer, nullable=False),
        Column("recorded_at", BigInteger, nullable=False),
        Column("kind", String(100), nullable=False),
        Column("name", String(500), nullable=False),
        Column("verdict", String(20), nullable=False),
        Column("value", number),
        Column("unit", Text),
        Column("good", number),
        Column("total", number),
        Column("target", number),
        Column("op", String(10)),
        Column("message", Text, nullable=False),
        Column("checked_at", BigInteger, nullable=False),
        Column("interval_start", BigInteger),
        Column("interval_end", BigInteger),
        Column("model_version", Text),
        Column("evidence", Text, nullable=False),
        Column("result_version", Integer, nullable=False),
        Index("checks_identity", "identity", unique=True),
        # The id breaks ties, so that sorting newest first needs no sort step.
        Index("checks_by_check", "kind", "name", "checked_at", "id"),
        Index("checks_by_kind", "kind", "checked_at", "id"),
        Index("checks_by_dag", "dag_id", "checked_at", "id"),
        Index("checks_by_time", "checked_at", "id"),
    )
    table.create(connection, checkfirst=False)


def _index_dags_and_runs(connection: Connection) -> None:
    """Migrate to schema 2: add indexes for the checks of one DAG and of one run.

    The pages query the newest check per DAG for users who may read only some DAGs, and the checks of one task instance.
    """
    from sqlalchemy import Column, Index, MetaData, Table

    columns = ("dag_id", "kind", "name", "checked_at", "id", "run_id", "task_id", "map_index")
    table = Table("checks", MetaData(), *(Column(name) for name in columns))
    for index in (
        Index("checks_by_dag_and_check", *(table.c[name] for name in columns[:5])),
        Index("checks_by_run", *(table.c[name] for name in ("dag_id", "run_id", "task_id", "map_index"))),
    ):
        index.create(connection, checkfirst=False)


def _add_service(connection: Connection) -> None:
    """Migrate to schema 3: copy a check's service from the evidence to an indexed column.

    SLOs of several services may share a name. Without the index, finding a rarely checked one means reading any number of checks
    of the others.
    """
    from sqlalchemy import Column, Index, MetaData, Table, text

    connection.execute(text("ALTER TABLE checks ADD COLUMN service VARCHAR(250) DEFAULT '' NOT NULL"))
    if connection.dialect.name == "postgresql":
        name = "CASE json_typeof(CAST(evidence AS json) -> 'service') WHEN 'string' THEN CAST(evidence AS json) ->> 'service' END"
        # Rewrites the table once; an UPDATE would double its size and take five times as long.
        fill = f"ALTER TABLE checks ALTER COLUMN service TYPE VARCHAR(250) USING substr(COALESCE({name}, ''), 1, 250)"
    else:
        name, is_text = "json_extract(evidence, '$.service')", "json_type(evidence, '$.service') = 'text'"
        fill = f"UPDATE checks SET service = substr({name}, 1, 250) WHERE {is_text}"  # noqa: S608 - only our own words
    connection.execute(text(fill))
    columns = ("dag_id", "kind", "name", "service", "checked_at", "id")
    table = Table("checks", MetaData(), *(Column(name) for name in columns))
    for index in (
        Index("checks_by_service", *(table.c[name] for name in columns[1:])),
        Index("checks_by_dag_and_service", *(table.c[name] for name in columns)),
    ):
        index.create(connection, checkfirst=False)


MIGRATIONS: Sequence[Callable[[Connection], None]] = (_create_checks, _index_dags_and_runs, _add_service, add_environments)


def version_of(connection: Connection) -> int | None:
    """Return the schema version of a database; None if it has no ledger yet."""
    from sqlalchemy import inspect, text

    if not inspect(connection).has_table("slo_ledger_schema"):
        return None
    return int(connection.execute(text("SELECT COALESCE(MAX(version), 0) FROM slo_ledger_schema")).scalar_one())


def newest_schema() -> int:
    """Return the schema version of this release."""
    return len(MIGRATIONS)


def check_version(version: int | None, *, where: str) -> bool:
    """Return whether the schema is current.

    :raises LedgerError: when a newer release wrote it, which this one cannot read
    """
    newest = newest_schema()
    if version is not None and version > newest:
        found = f"ledger {where} has schema {version}, this release of airflow-slo-provider knows up to {newest}"
        raise LedgerError(f"{found}; upgrade airflow-slo-provider here, or use another ledger", reason="newer_schema")
    return version == newest


def migrate(connection: Connection, *, where: str) -> None:
    """Apply all missing migrations in the caller's write transaction.

    Several processes may open a new ledger at once. They are serialised by the caller's ``BEGIN IMMEDIATE`` on SQLite, and by an
    advisory lock on PostgreSQL; the later ones find the schema up to date.

    :raises LedgerError: when the database has a foreign table ``checks``, or a newer schema
    """
    from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, inspect, text

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
    version = version_of(connection)
    if check_version(version, where=where):
        return
    versions = Table(
        "slo_ledger_schema",
        MetaData(),
        Column("version", Integer, primary_key=True, autoincrement=False),
        Column("applied_at", BigInteger, nullable=False),
    )
    if version is None:
        if inspect(connection).has_table("checks"):
            found = f"database {where} already has a table 'checks' that is not this ledger's"
            raise LedgerError(f"{found}; give the ledger a database or schema of its own", reason="foreign_table")
        versions.create(connection, checkfirst=False)
    for number, step in enumerate(MIGRATIONS[version or 0 :], start=(version or 0) + 1):
        step(connection)
        connection.execute(versions.insert().values(version=number, applied_at=time.time_ns() // 1000))
