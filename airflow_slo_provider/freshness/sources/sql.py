"""Query when a table was last updated: from a timestamp column or a custom query, in total or by group.

For text timestamps the database returns the greatest text. In a uniform format and zone that is the latest timestamp; in a
mixture it may be an earlier one: the column may then appear older than it is, but never fresher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from airflow_slo_provider.core.timestamps import EPOCH, read_seconds, read_timestamp
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError
from airflow_slo_provider.freshness.group_names import join_cells, name_groups
from airflow_slo_provider.freshness.observation import Observation
from airflow_slo_provider.sql.runner import SQLRunner

#: Databases that fold unquoted names to upper case: a lower-case name is treated as an unquoted name.
_FOLD_UP = frozenset({"snowflake", "oracle", "db2", "exasol"})
#: SQLite reads "name" as a string literal if there is no such column; `name` is always an identifier.
_BACKTICKS = frozenset({"sqlite", "mysql", "mariadb", "gcpbigquery", "bigquery", "spark", "databricks", "hive", "hiveserver2"})
_BRACKETS = frozenset({"mssql", "sqlserver"})


@dataclass(frozen=True, kw_only=True)
class TableQuery:
    """A query for the latest timestamp of a table.

    :param table: name of the table, with a schema if needed: ``features`` or ``warehouse.features``; exactly as in the database
    :param timestamp_column: the column that holds the timestamp
    :param group_by: columns that define a group; one age is measured per group
    :param zone: time zone of naive timestamps; None rejects them
    :raises ValueError: for an invalid table or column name
    """

    table: str
    timestamp_column: str
    group_by: tuple[str, ...] = ()
    zone: tzinfo | None = None

    def text(self, dialect: str | None) -> str:
        """Return the SQL statement.

        :param dialect: ``postgresql``, ``sqlite``, ``mysql``, ...; anything else is quoted as standard SQL
        """
        table = ".".join(quote(part, dialect) for part in self.table.split("."))
        column = quote(self.timestamp_column, dialect)
        if not self.group_by:
            return f"SELECT MAX({column}) FROM {table}"  # noqa: S608 - every name is quoted
        names = ", ".join(quote(name, dialect) for name in self.group_by)
        return f"SELECT {names}, MAX({column}) FROM {table} GROUP BY {names}"  # noqa: S608 - every name is quoted

    def observe(self, runner: SQLRunner, *, dialect: str | None, where: str) -> Observation:
        """Run the query.

        :param runner: runs the statement
        :param dialect: see :meth:`text`
        :param where: the database, for messages
        :raises QueryError: for a result of an unexpected shape
        :raises InvalidMeasurement: for a cell that is not a timestamp
        """
        query = self.text(dialect)
        _, rows = runner(query, {})
        what, source = f"table {self.table}", f"MAX({self.timestamp_column}) of table {self.table}, {where}"
        column = f"column {self.timestamp_column}"
        if not self.group_by:
            timestamp = read_timestamp(_read_single_cell(rows, 1, query), zone=self.zone, what=column)
            note = "" if timestamp else f"the table is empty, or {self.timestamp_column} is NULL in every row"
            return Observation(what=what, source=source, observed_at=timestamp, note=note, evidence={"query": query})
        groups = _read_groups(rows, len(self.group_by), self.zone, column, query)
        evidence = {"query": query, "group_by": list(self.group_by)}
        return Observation(what=what, source=source, groups=groups, note="the table is empty", evidence=evidence)


@dataclass(frozen=True, kw_only=True)
class CustomQuery:
    """A custom SQL query that returns a timestamp or an age.

    :param query: one SELECT. Without groups it must return one row with one column; with groups the groups' columns, by name,
        and one further column
    :param gives: ``timestamp``, or ``age`` in seconds
    :param group_by: columns that name the group
    :param zone: time zone of naive timestamps; None rejects them
    """

    query: str
    gives: str = "timestamp"
    group_by: tuple[str, ...] = ()
    zone: tzinfo | None = None

    def observe(self, runner: SQLRunner, *, now: datetime, where: str, what: str = "query") -> Observation:
        """Run the query.

        :param runner: runs the statement
        :param now: the time that ages are subtracted from (aware)
        :param where: the database, for messages
        :param what: name of the observed subject
        :raises QueryError: for a result of an unexpected shape, e.g. two rows
        :raises InvalidMeasurement: for a cell that is not a timestamp
        """
        columns, rows = runner(self.query, {})
        about: dict[str, Any] = {"what": what, "source": f"a query, {where}", "evidence": {"query": self.query}}
        if not self.group_by:
            timestamp = self._read_time(_read_single_cell(rows, len(columns), self.query) if rows else None, now)
            note = "" if timestamp else f"the query returns {'NULL' if rows else 'no row'}"
            return Observation(**about, observed_at=timestamp, note=note)
        names = [str(column).lower() for column in columns]
        missing = [name for name in self.group_by if name.lower() not in names]
        if missing or len(names) != len(self.group_by) + 1:
            advice = f"return {', '.join(self.group_by)} and one column with the {self.gives}"
            message = f"the query returns the columns {', '.join(map(str, columns))}; {advice}"
            raise QueryError(message, reason="wrong_shape", query=self.query)
        indexes = [names.index(name.lower()) for name in self.group_by]
        (last,) = set(range(len(names))) - set(indexes)
        ordered = [(*(row[index] for index in indexes), self._read_time(row[last], now)) for row in rows]
        groups = _read_groups(ordered, len(indexes), self.zone, "query", self.query)
        return Observation(**about, groups=groups, note="the query returns no row")

    def _read_time(self, cell: Any, now: datetime) -> datetime | None:
        if self.gives == "timestamp" or cell is None:
            return read_timestamp(cell, zone=self.zone, what="query")
        try:
            if isinstance(cell, timedelta):  # a PostgreSQL interval
                return now - cell
            # Parsed as seconds since 1970, so that text, NaN and milliseconds are rejected with the same messages.
            seconds = read_seconds(cell if not isinstance(cell, str) else float(cell), what="query (age in seconds)")
            return now - (seconds - EPOCH)
        except (TypeError, ValueError):
            message = f"the query returns {cell!r:.80}, which is not an age in seconds"
            raise QueryError(message, reason="wrong_shape", query=self.query) from None
        except OverflowError:
            message = f"the query returns an age of {cell!r:.80}, which is beyond the years 1 to 9999"
            raise InvalidMeasurement(message, reason="bad_timestamp", query=self.query) from None


def quote(name: str, dialect: str | None) -> str:
    """Quote one identifier for a database.

    :raises ValueError: for an empty name or one with a control character
    """
    if not name or not name.strip() or any(ord(letter) < 32 for letter in name):
        raise ValueError(f"{name!r} is not a name of a table or column")
    if dialect in _FOLD_UP and name.islower():
        name = name.upper()
    if dialect in _BACKTICKS:
        return "`" + name.replace("`", "``") + "`"
    if dialect in _BRACKETS:
        return "[" + name.replace("]", "]]") + "]"
    return '"' + name.replace('"', '""') + '"'


def _read_single_cell(rows: Sequence[Sequence[Any]], columns: int, query: str) -> Any:
    if len(rows) != 1 or columns != 1:
        advice = "aggregate with MAX, or name the columns of the groups with group_by"
        message = f"the query returns {len(rows)} rows of {columns} columns where one row of one column is expected; {advice}"
        raise QueryError(message, reason="wrong_shape", query=query)
    return rows[0][0]


def _read_groups(
    rows: Sequence[Sequence[Any]], names: int, zone: tzinfo | None, what: str, query: str
) -> dict[str, datetime | None]:
    def repeated(name: str) -> QueryError:
        return QueryError(f"group {name} has two rows; aggregate with GROUP BY", reason="wrong_shape", query=query)

    read = ((row[:names], read_timestamp(row[names], zone=zone, what=f"{what}, group {join_cells(row[:names])}")) for row in rows)
    return name_groups(read, repeated=repeated)
