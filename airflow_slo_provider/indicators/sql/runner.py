"""Running one statement on a plain DB-API connection [PEP 249], in a read-only transaction where the database can."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.sql.statement import BACKSLASHES, read_statement

#: More rows than this are an indicator that should aggregate in the database.
MOST_ROWS = 500_000
QUERY_SECONDS = 60

#: The module of a connection's class -> the database it speaks to.
_DIALECTS = {"sqlite3": "sqlite", "psycopg": "postgresql", "psycopg2": "postgresql", "MySQLdb": "mysql", "pymysql": "mysql"}


class SQLRunner(Protocol):
    """Runs one statement with named parameters and returns (column names, rows)."""

    def __call__(self, query: str, parameters: Mapping[str, Any], /) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Run it; a driver's exceptions may pass through."""
        ...


class DbApiRunner:
    """Runs queries on a connection. Within :meth:`session` all of them see the same data, where the database can.

    :param connection: a DB-API connection for this use alone: its transaction is rolled back before and after
    :param dialect: ``sqlite``, ``postgresql``, ...; known from the connection where it is one of the common drivers
    :param paramstyle: known from the driver's module where not given
    :param timeout: seconds a query may take (PostgreSQL and SQLite)
    :param windowed: whether every query must bound its rows by ``:date_from`` and ``:date_to``, as an indicator's must
    """

    def __init__(
        self,
        connection: Any,
        *,
        dialect: str | None = None,
        paramstyle: str | None = None,
        timeout: float = QUERY_SECONDS,
        windowed: bool = True,
    ) -> None:
        self._connection = connection
        module = type(connection).__module__.split(".")[0]
        self.dialect = dialect or _DIALECTS.get(module)
        self._paramstyle = paramstyle or str(getattr(sys.modules.get(module), "paramstyle", "format"))
        self._timeout = self._limit = timeout
        self._windowed = windowed
        self._inside = False

    def limit(self, seconds: float) -> None:
        """Let no later query take longer than this, however long it might by ``timeout``.

        :param seconds: what is left of an evaluation's deadline
        """
        self._limit = min(self._timeout, seconds)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold one read-only transaction, so that good and all events are counted at one instant."""
        if self._inside:
            yield
            return
        self._inside = True
        self._limit = self._timeout  # that of an evaluation before is over
        try:
            self._begin()
            yield
        finally:
            self._inside = False
            self._end()

    def __call__(self, query: str, parameters: Mapping[str, Any], /) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        """Run one statement.

        :raises QueryError: for more rows than 500,000, or an answer that is not a table
        """
        statement = read_statement(query, backslashes=self.dialect in BACKSLASHES, windowed=self._windowed)
        text, values = statement.bind(parameters, paramstyle=self._paramstyle)
        with self.session():
            try:
                return self._fetch(text, values, query)
            except Exception:
                # PostgreSQL refuses every further statement of a failed transaction: begin a new one for the next query.
                self._end()
                self._begin()
                raise

    def _fetch(self, text: str, values: Any, query: str) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
        cursor = self._connection.cursor()
        try:
            self._limit_sqlite()
            if self.dialect == "postgresql" and self._limit < self._timeout:
                cursor.execute(self._statement_timeout())
            cursor.execute(text, values)
            if cursor.description is None:
                raise QueryError("the statement answered without a table", reason="wrong_shape", query=query)
            rows = cursor.fetchmany(MOST_ROWS + 1)
            columns = [column[0] for column in cursor.description]
        finally:
            cursor.close()
        if len(rows) > MOST_ROWS:
            raise QueryError(f"more than {MOST_ROWS} rows; aggregate them in the query", reason="too_many_rows", query=query)
        return columns, [_in_order(row, columns) for row in rows]

    def _begin(self) -> None:
        self._connection.rollback()
        if self.dialect == "postgresql":
            cursor = self._connection.cursor()
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # A column without time zone is compared in the session's zone.
            cursor.execute("SET LOCAL TIME ZONE 'UTC'")
            cursor.execute(self._statement_timeout())
            cursor.close()
        elif self.dialect == "sqlite":
            self._connection.execute("PRAGMA query_only=ON")
            self._connection.execute("BEGIN")

    def _statement_timeout(self) -> str:
        return f"SET LOCAL statement_timeout = {max(1, int(self._limit * 1000))}"

    def _end(self) -> None:
        try:
            self._connection.rollback()
            if self.dialect == "sqlite":
                self._connection.set_progress_handler(None, 0)
                self._connection.execute("PRAGMA query_only=OFF")
        except Exception:  # a connection that is already lost; the query's own error says so
            return

    def _limit_sqlite(self) -> None:
        if self.dialect == "sqlite":
            deadline = time.monotonic() + self._limit
            self._connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)


def _in_order(row: Any, columns: Sequence[str]) -> Sequence[Any]:
    """Take a row as a sequence; some cursors are set up to return dicts."""
    return [row[column] for column in columns] if isinstance(row, Mapping) else tuple(row)


def dbapi_runner(connection: Any, *, dialect: str | None = None, timeout: float = QUERY_SECONDS) -> DbApiRunner:
    """Make a runner of a DB-API connection, e.g. ``sqlite3.connect(...)`` or ``psycopg.connect(...)``."""
    return DbApiRunner(connection, dialect=dialect, timeout=timeout)
