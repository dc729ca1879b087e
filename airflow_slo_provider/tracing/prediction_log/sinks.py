"""Targets of a prediction log: a table of SQLite or PostgreSQL, or Parquet files."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.timestamps import in_utc
from airflow_slo_provider.tracing.prediction_log.predictions import Prediction

if TYPE_CHECKING:
    from sqlalchemy import Engine, Table

COLUMNS = ("request_id", "trace_id", "model_version", "prediction", "latency", "status", "timestamp")


def open_sink(target: str, *, table: str) -> SqlSink | ParquetSink:
    """Open the target named by a SQLAlchemy URL, the path of a SQLite file, or a directory.

    :param target: the URL or path
    :param table: name of the table, for a database
    :raises ValueError: for a URL of another kind
    """
    if target.startswith(("sqlite:", "postgresql")):
        return SqlSink(target, table=table)
    if target.startswith("file://"):
        return ParquetSink(Path(target.removeprefix("file://")))
    if "://" in target:
        raise ValueError(f"{target.partition(':')[0]} cannot hold a prediction log: use SQLite, PostgreSQL, or a directory")
    if Path(target).suffix in (".db", ".sqlite", ".sqlite3"):
        return SqlSink(f"sqlite:///{target}", table=table)
    return ParquetSink(Path(target))


class SqlSink:
    """A database table, created if missing. Existing rows are left unchanged, so a batch may be written twice.

    :param url: SQLAlchemy URL
    :param table: name of the table
    """

    def __init__(self, url: str, *, table: str) -> None:
        self._url, self._name = url, table
        self._engine: Engine | None = None
        self._table: Table | None = None
        self._pid = 0

    def write(self, rows: Sequence[Prediction]) -> None:
        """Write a batch in one transaction."""
        engine, table = self._open()
        if engine.dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import insert as postgres_insert

            statement: Any = postgres_insert(table).on_conflict_do_nothing()
        else:
            from sqlalchemy.dialects.sqlite import insert as sqlite_insert

            statement = sqlite_insert(table).on_conflict_do_nothing()
        with engine.begin() as connection:
            connection.execute(statement, [{**asdict(row), "timestamp": row.timestamp.astimezone(UTC)} for row in rows])

    def read(self, request_ids: list[str] | None) -> list[Prediction]:
        """Read rows in order of time."""
        from sqlalchemy import select

        engine, table = self._open()
        query = select(table).order_by(table.c.timestamp, table.c.request_id)
        found: list[Prediction] = []
        # Databases limit the number of parameters of a statement.
        batches = [None] if request_ids is None else [request_ids[at : at + 500] for at in range(0, len(request_ids), 500)]
        with engine.connect() as connection:
            for ids in batches:
                chosen = query if ids is None else query.where(table.c.request_id.in_(ids))
                for row in connection.execute(chosen):
                    values = {name: getattr(row, name) for name in COLUMNS}
                    timestamp = values.pop("timestamp")
                    found.append(Prediction(**values, timestamp=in_utc(timestamp, zone=UTC)))
        return sorted(found, key=lambda row: (row.timestamp, row.request_id))

    def close(self) -> None:
        """Close the database connections."""
        if self._engine is not None and self._pid == os.getpid():
            self._engine.dispose()

    def _open(self) -> tuple[Engine, Table]:
        # Connections do not survive a fork.
        if self._engine is None or self._table is None or self._pid != os.getpid():
            from sqlalchemy import Column, DateTime, Float, Index, MetaData, String, Table, Text, create_engine

            self._engine, self._pid = create_engine(self._url, pool_pre_ping=True), os.getpid()
            self._table = Table(
                self._name,
                MetaData(),
                Column("request_id", String(200), primary_key=True),
                Column("trace_id", String(32), primary_key=True),
                Column("timestamp", DateTime(timezone=True), primary_key=True),
                Column("model_version", String(200), nullable=False),
                Column("prediction", Text),
                Column("latency", Float, nullable=False),
                Column("status", String(50), nullable=False),
            )
            Index(f"{self._name}_timestamp", self._table.c.timestamp)
            self._table.create(self._engine, checkfirst=True)
        return self._engine, self._table


class ParquetSink:
    """A directory of Parquet files, one per batch, each written atomically.

    :param directory: created if missing
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, rows: Sequence[Prediction]) -> None:
        """Write a batch to a file named after its rows, so that writing the same batch again replaces it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema(
            [
                ("request_id", pa.string()),
                ("trace_id", pa.string()),
                ("model_version", pa.string()),
                ("prediction", pa.string()),
                ("latency", pa.float64()),
                ("status", pa.string()),
                ("timestamp", pa.timestamp("us", tz="UTC")),
            ]
        )
        self._directory.mkdir(parents=True, exist_ok=True)
        first = rows[0].timestamp.astimezone(UTC)
        mark = uuid.uuid5(uuid.NAMESPACE_OID, "".join(f"{row.request_id}{row.trace_id}{row.timestamp}" for row in rows))
        path = self._directory / f"predictions-{first:%Y%m%dT%H%M%S%f}-{mark.hex[:12]}.parquet"
        partial = path.with_suffix(f".{os.getpid()}.partial")
        pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=schema), partial)
        partial.replace(path)

    def read(self, request_ids: list[str] | None) -> list[Prediction]:
        """Read rows in order of time."""
        import pyarrow.parquet as pq

        found = []
        selected = None if request_ids is None else set(request_ids)
        for path in sorted(self._directory.glob("predictions-*.parquet")):
            for row in pq.read_table(path).to_pylist():
                if selected is None or row["request_id"] in selected:
                    timestamp: datetime = row.pop("timestamp")
                    found.append(Prediction(**row, timestamp=timestamp.astimezone(UTC)))
        return sorted(found, key=lambda row: (row.timestamp, row.request_id))

    def close(self) -> None:
        """Do nothing: no file stays open."""
