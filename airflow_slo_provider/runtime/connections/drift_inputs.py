"""What a drift check needs of Airflow: files through ObjectStoragePath, tables through SQL connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_slo_provider.drift import SQLData
    from airflow_slo_provider.drift.engines.sql_connection import ConnectionRunner
    from airflow_slo_provider.runtime.connections.sql_runner import HookRunner

#: Airflow's connection types whose database has another name here.
_DIALECTS = {"gcpbigquery": "bigquery"}


def object_path(uri: str) -> Any:
    """Return what opens a path: the text itself where it is local, else Airflow's path object with its connection.

    :param uri: a local path, or e.g. ``s3://conn_id@bucket/key``
    """
    if "://" not in uri or uri.startswith("file://"):
        return uri
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(uri)


class _HookStatements:
    """Runs statements on an Airflow connection: one database connection and one snapshot per session."""

    def __init__(self, runner: HookRunner, dialect: str, *, name: str, timeout: float) -> None:
        self._runner, self._dialect, self._name, self._timeout = runner, dialect, name, timeout
        self._open: ConnectionRunner | None = None

    @contextmanager
    def session(self) -> Iterator[None]:
        from airflow_slo_provider.drift.engines.sql_connection import ConnectionRunner

        if self._open is not None:
            yield
            return
        with closing(self._runner.connect()) as connection:
            self._open = ConnectionRunner(connection, self._dialect, name=self._name, timeout=self._timeout)
            try:
                with self._open.session():
                    yield
            finally:
                self._open = None

    def __call__(self, statement: str, parameters: Mapping[str, Any], /) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        from airflow_slo_provider.runtime.connections.sql_runner import one_reading_statement

        one_reading_statement(statement, self._dialect)
        with self.session():
            if self._open is None:
                raise RuntimeError("a session without a connection")
            return self._open(statement, parameters)


def _between(dialect: str, column: str, start: datetime, end: datetime) -> list[str]:
    from airflow_slo_provider.drift.engines.sql_dialects import DIALECTS

    # A plain name is left to the database, which may fold its case.
    spoken = DIALECTS.get(dialect, DIALECTS["postgresql"])
    name = column if column.isidentifier() and column.isascii() else spoken.identifier(column)
    first, last = start.astimezone(UTC), end.astimezone(UTC)
    if dialect == "sqlite":
        # Its times are texts, which sort before the same moment with an offset behind it.
        name = f"datetime({name})"
        return [f"{name} >= '{first:%Y-%m-%d %H:%M:%S}'", f"{name} < '{last:%Y-%m-%d %H:%M:%S}'"]
    return [f"{name} >= '{first.isoformat(sep=' ')}'", f"{name} < '{last.isoformat(sep=' ')}'"]


def sql_data(
    source: str,
    conn_id: str,
    *,
    where: str = "",
    within: tuple[str, datetime, datetime] | None = None,
    timeout: float = 3600,
) -> SQLData:
    """Return the rows of a table or SELECT behind an Airflow SQL connection.

    :param source: a table's name, or a SELECT
    :param where: SQL condition
    :param within: a column, and the times between which its values lie: from the first, up to the second
    :param timeout: seconds a statement may take (PostgreSQL)
    :raises QueryError: when the connection is no SQL database, or one whose dialect is not spoken
    """
    from airflow_slo_provider.drift import SQLData
    from airflow_slo_provider.runtime.connections.sql_runner import HookRunner

    runner = HookRunner(conn_id)
    dialect = _DIALECTS.get(runner.dialect, runner.dialect)
    name = f"connection {conn_id}: {' '.join(source.split())[:200]}"
    if within is not None:
        where = " AND ".join([*([f"({where}\n)"] if where else []), *_between(dialect, *within)])
    statements = _HookStatements(runner, dialect, name=f"connection {conn_id}", timeout=timeout)
    return SQLData(statements, source, dialect=dialect, where=where, name=name)
