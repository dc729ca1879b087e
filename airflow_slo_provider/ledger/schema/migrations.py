"""The history of the ledger's schema. A step, once released, is never edited; a new one is appended.

No step may drop data. The version is the number of steps applied, kept in ``slo_ledger_schema``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from airflow_slo_provider.exceptions import LedgerError
from airflow_slo_provider.ledger.schema.migration_4 import add_environments

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Any fixed number, the same in every release: the PostgreSQL advisory lock under which the schema changes.
_ADVISORY_LOCK = 0x510_1ED6E4


def _create_checks(connection: Connection) -> None:
    """Schema 1: the table of checks and its indexes."""
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
        # The id breaks ties, so that "newest first" needs no sort.
        Index("checks_by_check", "kind", "name", "checked_at", "id"),
        Index("checks_by_kind", "kind", "checked_at", "id"),
        Index("checks_by_dag", "dag_id", "checked_at", "id"),
        Index("checks_by_time", "checked_at", "id"),
    )
    table.create(connection, checkfirst=False)


def _index_dags_and_runs(connection: Connection) -> None:
    """Schema 2: what one DAG found, and what one run found, without a look at other rows.

    A person who may read few DAGs sees the newest check of each; the page of a task instance shows the checks of that one.
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
    """Schema 3: the service that a check is about, out of its evidence, where no index finds it.

    SLOs of several services may have one name. The one that is checked seldom is found behind any number of others' checks.
    """
    from sqlalchemy import Column, Index, MetaData, Table, text

    connection.execute(text("ALTER TABLE checks ADD COLUMN service VARCHAR(250) DEFAULT '' NOT NULL"))
    if connection.dialect.name == "postgresql":
        told = "CASE json_typeof(CAST(evidence AS json) -> 'service') WHEN 'string' THEN CAST(evidence AS json) ->> 'service' END"
        # Writes the table anew, once; an update would leave it twice as large and take five times as long.
        fill = f"ALTER TABLE checks ALTER COLUMN service TYPE VARCHAR(250) USING substr(COALESCE({told}, ''), 1, 250)"
    else:
        told, is_text = "json_extract(evidence, '$.service')", "json_type(evidence, '$.service') = 'text'"
        fill = f"UPDATE checks SET service = substr({told}, 1, 250) WHERE {is_text}"  # noqa: S608 - only our own words
    connection.execute(text(fill))
    columns = ("dag_id", "kind", "name", "service", "checked_at", "id")
    table = Table("checks", MetaData(), *(Column(name) for name in columns))
    for index in (
        Index("checks_by_service", *(table.c[name] for name in columns[1:])),
        Index("checks_by_dag_and_service", *(table.c[name] for name in columns)),
    ):
        index.create(connection, checkfirst=False)


MIGRATIONS: Sequence[Callable[[Connection], None]] = (
    _create_checks,
    _index_dags_and_runs,
    _add_service,
    add_environments,
)


def version_of(connection: Connection) -> int | None:
    """Return the schema version of a database, None where there is no ledger in it yet."""
    from sqlalchemy import inspect, text

    if not inspect(connection).has_table("slo_ledger_schema"):
        return None
    return int(connection.execute(text("SELECT COALESCE(MAX(version), 0) FROM slo_ledger_schema")).scalar_one())


def newest_schema() -> int:
    """Return the version of the schema that this release works with."""
    return len(MIGRATIONS)


def check_version(version: int | None, *, where: str) -> bool:
    """Say whether the schema is current.

    :raises LedgerError: when a newer release wrote it; this one would not understand what it reads
    """
    newest = newest_schema()
    if version is not None and version > newest:
        raise LedgerError(
            f"ledger {where} has schema {version}, this release of airflow-slo-provider knows up to {newest}; "
            "upgrade airflow-slo-provider here, or use another ledger",
            reason="newer_schema",
        )
    return version == newest


def migrate(connection: Connection, *, where: str) -> None:
    """Bring the schema up to date, inside the caller's write transaction.

    Several processes may open a new ledger at once. On SQLite the caller's ``BEGIN IMMEDIATE`` lets one in at a time, on
    PostgreSQL an advisory lock does; whoever comes second finds the work done.

    :raises LedgerError: when the database holds a table ``checks`` that is not ours, or a newer schema
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
            raise LedgerError(
                f"database {where} already has a table 'checks' that is not this ledger's; "
                "give the ledger a database or schema of its own",
                reason="foreign_table",
            )
        versions.create(connection, checkfirst=False)
    for number, step in enumerate(MIGRATIONS[version or 0 :], start=(version or 0) + 1):
        step(connection)
        connection.execute(versions.insert().values(version=number, applied_at=time.time_ns() // 1000))
