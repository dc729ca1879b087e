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
from airflow_slo_provider.freshness.group_names import by_name, plain_name
from airflow_slo_provider.freshness.observation import Observation
from airflow_slo_provider.sql.runner import SQLRunner

#: Databases that fold unquoted names to upper case: a lower-case name is treated as an unquoted name.
_FOLD_UP = frozenset({"snowflake", "oracle", "db2", "exasol"})
#: SQLite reads "name" as a string literal if there is no such column; `name` is always an identifier.
_BACKTICKS = frozenset({"sqlite", "mysql", "mariadb", "gcpbigquery", "bigquery", "spark", "databricks", "hive", "hiveserver2"})
_BRACKETS = frozenset({"mssql", "sqlserver"})


@dataclass(frozen=True, kw_only=True)
class TableQuestion:
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
        source = f"MAX({self.timestamp_column}) of table {self.table}, {where}"
        what = f"table {self.table}"
        column = f"column {self.timestamp_column}"
        if not self.group_by:
            moment = read_timestamp(_only(rows, 1, query)[0], zone=self.zone, what=column)
            note = "" if moment else f"the table is empty, or {self.timestamp_column} is NULL in every row"
            return Observation(what=what, source=source, observed_at=moment, note=note, evidence={"query": query})
        groups = _groups(rows, len(self.group_by), self.zone, column, query)
        evidence = {"query": query, "group_by": list(self.group_by)}
        return Observation(what=what, source=source, groups=groups, note="the table is empty", evidence=evidence)


@dataclass(frozen=True, kw_only=True)
class QueryQuestion:
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
        source = f"a query, {where}"
        evidence = {"query": self.query}
        if not self.group_by:
            cell = _only(rows, len(columns), self.query)[0] if rows else None
            moment = self._moment(cell, now)
            note = "" if moment else "the query answers NULL" if rows else "the query answers no row"
            return Observation(what=what, source=source, observed_at=moment, note=note, evidence=evidence)
        names = [str(column).lower() for column in columns]
        missing = [name for name in self.group_by if name.lower() not in names]
        if missing or len(names) != len(self.group_by) + 1:
            raise QueryError(
                f"the query answers the columns {', '.join(map(str, columns))}; "
                f"return {', '.join(self.group_by)} and one column with the {self.gives}",
                reason="wrong_shape",
                query=self.query,
            )
        places = [names.index(name.lower()) for name in self.group_by]
        (last,) = set(range(len(names))) - set(places)
        ordered = [(*(row[place] for place in places), self._moment(row[last], now)) for row in rows]
        groups = _groups(ordered, len(places), self.zone, "query", self.query)
        return Observation(what=what, source=source, groups=groups, note="the query answers no row", evidence=evidence)

    def _moment(self, cell: Any, now: datetime) -> datetime | None:
        if self.gives == "timestamp" or cell is None:
            return read_timestamp(cell, zone=self.zone, what="query")
        try:
            if isinstance(cell, timedelta):  # a PostgreSQL interval
                return now - cell
            # Parsed as seconds since 1970, so that text, NaN and milliseconds are rejected with the same messages.
            seconds = read_seconds(cell if not isinstance(cell, str) else float(cell), what="query (age in seconds)")
            return now - (seconds - EPOCH)
        except (TypeError, ValueError):
            raise QueryError(
                f"the query answers {cell!r:.80}, which is no age in seconds", reason="wrong_shape", query=self.query
            ) from None
        except OverflowError:
            raise InvalidMeasurement(
                f"the query answers an age of {cell!r:.80}, which is beyond the years 1 to 9999",
                reason="bad_timestamp",
                query=self.query,
            ) from None


def quote(name: str, dialect: str | None) -> str:
    """Quote one identifier for a database.

    :raises ValueError: for an empty name or one with a control character
    """
    if not name or not name.strip() or any(ord(letter) < 32 for letter in name):
        raise ValueError(f"{name!r} is no name of a table or column")
    if dialect in _FOLD_UP and name.islower():
        name = name.upper()
    if dialect in _BACKTICKS:
        return "`" + name.replace("`", "``") + "`"
    if dialect in _BRACKETS:
        return "[" + name.replace("]", "]]") + "]"
    return '"' + name.replace('"', '""') + '"'


def _only(rows: Sequence[Sequence[Any]], columns: int, query: str) -> Sequence[Any]:
    if len(rows) != 1 or columns != 1:
        raise QueryError(
            f"the query answers {len(rows)} rows of {columns} columns where one row of one column is expected; "
            "aggregate with MAX, or name the columns of the groups with group_by",
            reason="wrong_shape",
            query=query,
        )
    return rows[0]


def _groups(rows: Sequence[Sequence[Any]], names: int, zone: tzinfo | None, what: str, query: str) -> dict[str, datetime | None]:
    def twice(name: str) -> QueryError:
        return QueryError(f"group {name} has two rows; aggregate with GROUP BY", reason="wrong_shape", query=query)

    read = ((row[:names], read_timestamp(row[names], zone=zone, what=f"{what}, group {plain_name(row[:names])}")) for row in rows)
    return by_name(read, twice=twice)
