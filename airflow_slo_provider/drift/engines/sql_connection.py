"""Running statements on a plain database connection, in one snapshot where the database has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from airflow_slo_provider.core.database_faults import classify
from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.exceptions import QueryError


class ConnectionRunner:
    """Runs statements on a DB-API connection [PEP 249]; within :meth:`session` all of them see the same rows, where the
    database can.

    :param connection: for this use alone: its transaction is rolled back before and after
    :param dialect: see :class:`~airflow_slo_provider.drift.engines.sql.SQLData`
    :param name: which database, for messages
    :param timeout: seconds a statement may take (PostgreSQL)
    """

    def __init__(self, connection: Any, dialect: str, *, name: str = "", timeout: float = 3600) -> None:
        self._connection = connection
        self._name = name or f"a {dialect} database"
        self._timeout = timeout
        self._dialect = dialect
        self._inside = False

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold one read-only transaction."""
        if self._inside:
            yield
            return
        self._inside = True
        try:
            if self._dialect == "postgresql":
                with self._translated("ROLLBACK"):
                    self._connection.rollback()
                self._execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                self._execute("SET LOCAL TIME ZONE 'UTC'")
                self._execute(f"SET LOCAL statement_timeout = {max(1, int(self._timeout * 1000))}")
            elif self._dialect in ("sqlite", "duckdb"):
                self._execute("BEGIN")
            yield
        finally:
            self._inside = False
            if self._dialect in ("postgresql", "sqlite", "duckdb"):
                # Nothing was written. Of a connection that is lost the statement's own error tells, which this must not hide.
                with suppress(Exception):
                    self._connection.rollback()

    def __call__(self, statement: str, parameters: Mapping[str, Any], /) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Run one statement, and return (column names, rows).

        :raises QueryError: when the database refuses, or does not answer (``transient``)
        """
        with self.session():
            cursor = self._execute(statement)
            # Rows may still be in the database: a driver fetches some of them with the statement, some of them here.
            with self._translated(statement):
                return [column[0] for column in cursor.description], cursor.fetchall()

    def _execute(self, statement: str) -> Any:
        with self._translated(statement):
            # A cursor of DuckDB is a connection of its own, outside of the transaction.
            cursor = self._connection if self._dialect == "duckdb" else self._connection.cursor()
            cursor.execute(statement)
        return cursor

    @contextmanager
    def _translated(self, statement: str) -> Iterator[None]:
        """Say a driver's error in our words."""
        try:
            yield
        except Exception as error:  # drivers have no common base class
            fault = classify(error)
            text = f"{type(error).__name__}: {server_text(error)}"
            raise QueryError(
                text, reason=fault.reason, transient=fault.transient, query=statement[:2000], source=self._name
            ) from None  # a driver quotes rows and addresses, and a traceback would print them
