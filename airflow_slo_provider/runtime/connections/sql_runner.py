"""Any Airflow SQL connection as a place indicators come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.database_faults import classify
from airflow_slo_provider.core.redaction import secrets_of, server_text
from airflow_slo_provider.exceptions import QueryError

if TYPE_CHECKING:
    from airflow_slo_provider.indicators.sql.runner import DbApiRunner
    from airflow_slo_provider.indicators.sql.source import SQLSource

#: Airflow's connection types whose database has another name.
_DIALECTS = {"postgres": "postgresql"}


def _hook_of(connection: Any) -> Any:
    from airflow.sdk.exceptions import AirflowException

    try:
        return connection.get_hook()
    except AirflowException:  # no provider that is installed knows the type
        return None


class HookRunner:
    """Runs queries through the hook of an Airflow connection: one connection and one read-only transaction per session.

    :param conn_id: an Airflow connection whose hook is a ``DbApiHook``
    :param timeout: seconds a query may take (PostgreSQL and SQLite)
    :param windowed: whether every query must bound its rows by ``:date_from`` and ``:date_to``, as an indicator's must
    """

    def __init__(self, conn_id: str, *, timeout: float = 60, windowed: bool = True) -> None:
        from airflow.sdk import BaseHook

        self._conn_id = conn_id
        self._timeout = timeout
        self._windowed = windowed
        connection = BaseHook.get_connection(conn_id)
        kind = str(connection.conn_type)
        self.dialect = _DIALECTS.get(kind, kind)
        named = {str(name): str(value) for name, value in connection.extra_dejson.items()}
        # Remembered from now on, whatever a driver says of this connection.
        secrets_of(basic=(connection.login or "", connection.password or ""), named=named)
        self._hook: Any = _hook_of(connection)
        if not hasattr(self._hook, "get_conn") or not hasattr(self._hook, "get_records"):
            raise QueryError(f"connection {conn_id} is of type {kind}, which is no SQL database", reason="bad_connection")
        self._runner: DbApiRunner | None = None

    def limit(self, seconds: float) -> None:
        """Let no later query of this session take longer than this; see :meth:`.DbApiRunner.limit`."""
        if self._runner is not None:
            self._runner.limit(seconds)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold one connection and one read-only transaction."""
        from airflow_slo_provider.indicators.sql.runner import DbApiRunner

        if self._runner is not None:
            yield
            return
        with closing(self.connect()) as connection:
            self._runner = DbApiRunner(connection, dialect=self.dialect, timeout=self._timeout, windowed=self._windowed)
            try:
                with self._runner.session():
                    yield
            finally:
                self._runner = None

    def __call__(self, query: str, parameters: Mapping[str, Any], /) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Run one statement."""
        with self.session():
            if self._runner is None:
                raise RuntimeError("a session without a runner")
            return self._runner(query, parameters)

    def connect(self) -> Any:
        """Open a DB-API connection of its own; whoever asked closes it.

        :raises QueryError: when it cannot be opened. The message never holds the password.
        """
        try:
            return self._hook.get_conn()
        except Exception as error:
            fault = classify(error)
            reason = fault.reason if fault.reason != "bad_query" else "bad_connection"
            # Not chained: a driver may quote the connection string, and a traceback would print it.
            message = f"connection {self._conn_id}: {type(error).__name__}: {server_text(error)}"
            raise QueryError(message, reason=reason, transient=fault.transient) from None


def one_reading_statement(statement: str, dialect: str) -> None:
    """Refuse what is not exactly one SELECT: whatever a table's name, a condition or a query was put together from.

    :raises QueryError: reason ``bad_query``
    """
    from airflow_slo_provider.indicators.sql.statement import BACKSLASHES, read_statement

    read_statement(statement, backslashes=dialect in BACKSLASHES, windowed=False)


def sql_source(conn_id: str, *, timeout: float = 60) -> SQLSource:
    """Make the source of a ``DataSource`` of type SQL.

    :param conn_id: its ``connectionDetails.airflowConnId``
    :raises QueryError: when the connection is no SQL database
    """
    from airflow_slo_provider.indicators.sql.source import SQLSource

    return SQLSource(HookRunner(conn_id, timeout=timeout), name=f"connection {conn_id}")
