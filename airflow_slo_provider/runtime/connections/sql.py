"""Use Airflow SQL connections for indicators, golden sets and drift checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.database_faults import classify_connect_error
from airflow_slo_provider.core.redaction import collect_secrets, server_text
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.sql.runner import QUERY_SECONDS, TABLE_SECONDS, DbApiRunner, Table

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from airflow_slo_provider.drift import SQLData
    from airflow_slo_provider.indicators.sql.source import SQLSource

#: Airflow's connection types whose SQL dialect has another name.
_DIALECTS = {"postgres": "postgresql", "gcpbigquery": "bigquery"}


class HookRunner:
    """Run queries through the hook of an Airflow connection: one connection and one read-only transaction per session.

    :param conn_id: an Airflow connection whose hook is a ``DbApiHook``
    :param options: arguments of :class:`~airflow_slo_provider.sql.runner.DbApiRunner`
    :raises QueryError: reason ``bad_connection``, if the connection is not a SQL database
    """

    def __init__(self, conn_id: str, **options: Any) -> None:
        from airflow.sdk import BaseHook

        self._name = f"connection {conn_id}"
        connection = BaseHook.get_connection(conn_id)
        kind = str(connection.conn_type)
        self.dialect = _DIALECTS.get(kind, kind)
        self._options = {**options, "dialect": self.dialect, "name": self._name}
        named = {str(name): str(value) for name, value in connection.extra_dejson.items()}
        # Registered for redaction, because a driver's error may quote the connection's secrets.
        collect_secrets(basic=(connection.login or "", connection.password or ""), named=named)
        self._hook: Any = _hook_of(connection)
        if not hasattr(self._hook, "get_conn") or not hasattr(self._hook, "get_records"):
            raise QueryError(f"{self._name} is of type {kind}, which is not a SQL database", reason="bad_connection")
        self._runner: DbApiRunner | None = None

    def limit(self, seconds: float) -> None:
        """Set the time limit of all further queries of this session; see :meth:`.DbApiRunner.limit`.

        :param seconds: the limit
        """
        if self._runner is not None:
            self._runner.limit(seconds)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold one connection and one read-only transaction while the context is open."""
        if self._runner is not None:
            yield
            return
        with closing(self._connect()) as connection:
            self._runner = DbApiRunner(connection, **self._options)
            try:
                with self._runner.session():
                    yield
            finally:
                self._runner = None

    def __call__(self, query: str, parameters: Mapping[str, Any], /) -> Table:
        """Run one statement.

        :param query: the statement
        :param parameters: its parameters
        """
        with self.session():
            if self._runner is None:
                raise RuntimeError("a session without a runner")
            return self._runner(query, parameters)

    def _connect(self) -> Any:
        try:
            return self._hook.get_conn()
        except Exception as error:
            fault = classify_connect_error(error)
            # Not chained: a driver may quote the connection string, and a traceback would print it.
            message = f"{self._name}: {type(error).__name__}: {server_text(error)}"
            raise QueryError(message, reason=fault.reason, transient=fault.transient) from None


def _hook_of(connection: Any) -> Any:
    from airflow.sdk.exceptions import AirflowException

    try:
        return connection.get_hook()
    except AirflowException:  # no installed provider has this connection type
        return None


def sql_source(conn_id: str, *, timeout: float = QUERY_SECONDS) -> SQLSource:
    """Return the indicator source for a ``DataSource`` of type SQL.

    :param conn_id: the Airflow connection: ``connectionDetails.airflowConnId`` of the document
    :param timeout: time limit of a query in seconds
    :raises QueryError: if the connection is not a SQL database
    """
    from airflow_slo_provider.indicators.sql.source import SQLSource

    return SQLSource(HookRunner(conn_id, timeout=timeout), name=f"connection {conn_id}")


def read_sql(query: str, conn_id: str) -> pd.DataFrame:
    """Return the rows of a query as a DataFrame.

    :param query: one SELECT; it runs in a read-only transaction if the database supports them
    :param conn_id: an Airflow SQL connection
    :raises QueryError: if the query is not a single SELECT, the connection is not a SQL database, or the database refuses the
        query
    """
    import pandas as pd

    from airflow_slo_provider.sql.statement import BACKSLASHES, read_statement

    runner = _whole_tables(conn_id)
    read_statement(query, backslashes=runner.dialect in BACKSLASHES, windowed=False)
    with runner.session():
        try:
            names, rows = runner(query, {})
        except QueryError as error:
            # Not chained: a driver may quote the connection string, and a traceback would print it.
            raise QueryError(
                f"connection {conn_id}: the database refused the query ({error.message.partition(':')[0]})",
                reason=error.reason, transient=error.transient, query=query,
            ) from None  # fmt: skip
    return pd.DataFrame([list(row) for row in rows], columns=list(names))


def sql_data(source: str, conn_id: str, *, where: str = "", within: tuple[str, datetime, datetime] | None = None) -> SQLData:
    """Return the rows of a table or SELECT behind an Airflow SQL connection, for drift checks.

    :param source: name of a table, or a SELECT
    :param conn_id: an Airflow SQL connection
    :param where: condition in SQL; none by default
    :param within: a column and the range of its values: from the first timestamp, included, to the second, excluded
    :raises QueryError: if the connection is not a SQL database, or its dialect is not supported
    """
    from airflow_slo_provider.drift import SQLData

    runner = _whole_tables(conn_id)
    name = f"connection {conn_id}: {' '.join(source.split())[:200]}"
    return SQLData(runner, source, dialect=runner.dialect, where=where, within=within, name=name)


def _whole_tables(conn_id: str) -> HookRunner:
    return HookRunner(conn_id, timeout=TABLE_SECONDS, windowed=False, limited=False)
