"""Run one statement on a DB-API connection [PEP 249], in a read-only transaction where the database supports it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, Protocol

from airflow_slo_provider.core.database_faults import database_error
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.sql.statement import BACKSLASHES, read_statement

#: An indicator with more rows than this should aggregate in the database.
MOST_ROWS = 500_000
QUERY_SECONDS = 60
#: Seconds for a statement that reads a whole table: a golden set, or a dataset that is checked for drift.
TABLE_SECONDS = 3600
#: Characters of a statement that are quoted in an error.
_QUOTED = 2000

#: Top-level module of a connection's class -> SQL dialect.
_DIALECTS = {
    "sqlite3": "sqlite", "duckdb": "duckdb", "psycopg": "postgresql", "psycopg2": "postgresql",
    "MySQLdb": "mysql", "pymysql": "mysql",
}  # fmt: skip
#: Exceptions that drivers of databases without transactions raise on rollback.
_NO_TRANSACTIONS = frozenset({"AttributeError", "NotImplementedError", "NotSupportedError"})

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]


class SQLRunner(Protocol):
    """Run one statement with named parameters and return (column names, rows)."""

    def __call__(self, query: str, parameters: Mapping[str, Any], /) -> Table:
        """Run the statement; exceptions of the driver may propagate."""
        ...


def dialect_of(connection: Any) -> str | None:
    """Return the SQL dialect of a connection; None for a driver that is not one of the common ones."""
    return _DIALECTS.get(_module(connection))


class DbApiRunner:
    """Run queries on a DB-API connection.

    Within :meth:`session` all queries see the same data, where the database supports it.

    :param connection: a DB-API connection that nothing else uses: its transaction is rolled back before and after
    :param dialect: ``sqlite``, ``postgresql``, ...; detected for the common drivers if not set
    :param paramstyle: PEP 249 parameter style; read from the driver's module if not set
    :param name: name of the database, for messages
    :param timeout: seconds that a query may take (PostgreSQL and SQLite)
    :param windowed: require ``:date_from`` and ``:date_to`` in every query, as for an indicator
    :param limited: refuse an answer of more than 500,000 rows, as for an indicator
    """

    def __init__(
        self,
        connection: Any,
        *,
        dialect: str | None = None,
        paramstyle: str | None = None,
        name: str | None = None,
        timeout: float = QUERY_SECONDS,
        windowed: bool = True,
        limited: bool = True,
    ) -> None:
        self._connection = connection
        self.dialect = dialect or dialect_of(connection)
        self._paramstyle = paramstyle or str(getattr(sys.modules.get(_module(connection)), "paramstyle", "format"))
        self._name = name
        self._timeout = self._limit = timeout
        self._windowed, self._limited = windowed, limited
        self._inside = self._begun = False

    def limit(self, seconds: float) -> None:
        """Limit the time of all later queries, if ``timeout`` allows them more.

        :param seconds: the time left until the deadline of an evaluation
        """
        self._limit = min(self._timeout, seconds)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Open one read-only transaction, so that all queries see the same snapshot of the database."""
        if self._inside:
            yield
            return
        self._inside = True
        self._limit = self._timeout  # reset the limit of the previous evaluation
        try:
            self._begin()
            yield
        finally:
            self._inside = False
            self._end()

    def __call__(self, query: str, parameters: Mapping[str, Any], /) -> Table:
        """Run one statement.

        :param query: the statement, with named parameters such as ``:date_from``
        :param parameters: their values
        :return: the column names and the rows
        :raises QueryError: when the database refuses the statement, or does not answer (``transient``); when the statement is
            not exactly one SELECT, returns too many rows, or does not return a table
        """
        statement = read_statement(query, backslashes=self.dialect in BACKSLASHES, windowed=self._windowed)
        # With parameters, even an empty list of them, PostgreSQL refuses a second statement. Other drivers format the text only
        # if there are parameters.
        bound = statement.names or self.dialect == "postgresql"
        arguments = statement.bind(parameters, paramstyle=self._paramstyle) if bound else statement.pieces
        with self.session():
            if not self._begun:
                self._begin()
            try:
                with self._query_errors(query):
                    return self._fetch(arguments, query)
            except Exception:
                self._end()  # PostgreSQL refuses every further statement of a failed transaction
                raise

    def _fetch(self, arguments: Sequence[Any], query: str) -> Table:
        with self._cursor() as cursor:
            if self.dialect == "sqlite":
                deadline = time.monotonic() + self._limit
                self._connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            elif self.dialect == "postgresql" and self._limit < self._timeout:
                cursor.execute(self._statement_timeout())
            cursor.execute(*arguments)
            if cursor.description is None:
                raise QueryError("the statement returned no table", reason="wrong_shape", query=query)
            rows = cursor.fetchmany(MOST_ROWS + 1) if self._limited else cursor.fetchall()
            columns = [column[0] for column in cursor.description]
        if self._limited and len(rows) > MOST_ROWS:
            raise QueryError(f"more than {MOST_ROWS} rows; aggregate them in the query", reason="too_many_rows", query=query)
        return columns, [_ordered(row, columns) for row in rows]

    def _begin(self) -> None:
        with self._query_errors():
            if self.dialect == "duckdb":
                self._connection.execute("BEGIN")
            else:
                self._roll_back()
            if self.dialect == "postgresql":
                with self._cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                    # A column without time zone is compared in the session's zone.
                    cursor.execute("SET LOCAL TIME ZONE 'UTC'")
                    cursor.execute(self._statement_timeout())
            elif self.dialect == "sqlite":
                self._connection.execute("PRAGMA query_only=ON")
                self._connection.execute("BEGIN")
        self._begun = True

    def _end(self) -> None:
        self._begun = False
        with suppress(Exception):  # if the connection is already lost, the query's own error reports it
            self._roll_back()
            if self.dialect == "sqlite":
                self._connection.set_progress_handler(None, 0)
                self._connection.execute("PRAGMA query_only=OFF")

    def _roll_back(self) -> None:
        try:
            self._connection.rollback()
        except Exception as error:
            if not _NO_TRANSACTIONS & {cls.__name__ for cls in type(error).__mro__}:
                raise

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        if self.dialect == "duckdb":
            yield self._connection  # DuckDB cursors are connections of their own, outside of the transaction
            return
        with closing(self._connection.cursor()) as cursor:
            yield cursor

    @contextmanager
    def _query_errors(self, query: str | None = None) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Not chained: drivers quote rows and addresses, and a traceback would print them.
            raise database_error(error, query=query and query[:_QUOTED], source=self._name) from None

    def _statement_timeout(self) -> str:
        return f"SET LOCAL statement_timeout = {max(1, int(self._limit * 1000))}"


def _module(connection: Any) -> str:
    return type(connection).__module__.partition(".")[0].lstrip("_")


def _ordered(row: Any, columns: Sequence[str]) -> Sequence[Any]:
    """Return a row as a sequence in column order; some cursors return dicts."""
    return [row[column] for column in columns] if isinstance(row, Mapping) else tuple(row)


def dbapi_runner(connection: Any, *, dialect: str | None = None, timeout: float = QUERY_SECONDS) -> DbApiRunner:
    """Create a runner for a DB-API connection, e.g. ``sqlite3.connect(...)`` or ``psycopg.connect(...)``.

    :param connection: a DB-API connection that nothing else uses
    :param dialect: ``sqlite``, ``postgresql``, ...; detected for the common drivers if not set
    :param timeout: seconds that a query may take (PostgreSQL and SQLite)
    """
    return DbApiRunner(connection, dialect=dialect, timeout=timeout)
