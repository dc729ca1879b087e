"""Build the SQL queries of drift profiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from airflow_slo_provider.drift.engines.sql_dialects import Dialect
from airflow_slo_provider.drift.profiles.columns import CATEGORICAL, MOST_CATEGORIES
from airflow_slo_provider.drift.profiles.grid import MOST_CELLS, code_value

#: Sums per statement. Databases plan thousands of sums slowly, and some reject them.
MOST_SUMS = 200
#: Runs one statement, and returns (column names, rows).
RunQuery = Callable[[str], tuple[Sequence[str], Sequence[Sequence[Any]]]]


@dataclass(frozen=True)
class SQLColumn:
    """A column of a table, and how its values are selected.

    :param kind: see :class:`~airflow_slo_provider.drift.profiles.columns.ColumnProfile`
    :param form: ``float`` or ``int`` for numbers
    :param cast: type that the database must cast values to (for decimals), empty for none
    """

    name: str
    kind: str
    form: str = "float"
    cast: str = ""

    def expression(self, dialect: Dialect) -> str:
        """Return the SQL expression of the column's value: a number for numbers, times and durations."""
        x = dialect.identifier(self.name)
        if self.kind == "time":
            return dialect.microseconds.format(x=x)
        if self.kind == "duration":
            return dialect.duration.format(x=x)
        if self.kind == "bool":
            return f"CASE WHEN {x} THEN 'true' ELSE 'false' END"
        return f"CAST({x} AS {self.cast})" if self.cast else x

    def has_value(self, dialect: Dialect) -> str:
        """Return the SQL condition that a row has a finite value."""
        if self.kind == "number" and self.form == "float" and dialect.infinity:
            return dialect.finite(self.expression(dialect))
        return f"{dialect.identifier(self.name)} IS NOT NULL"


@dataclass(frozen=True)
class SQLTable:
    """The rows to read.

    :param source: a table's name, or a SELECT
    :param where: SQL condition, empty for all rows
    """

    source: str
    where: str = ""

    @property
    def text(self) -> str:
        """FROM clause of the query, with its WHERE condition."""
        inner = self.source.strip().rstrip(";")
        if inner.lower().startswith(("select", "with")):
            inner = f"({inner})"
        # Parentheses, because a later AND binds tighter than OR; `)` is on its own line in case `where` ends in a comment.
        return f"FROM {inner} drift_rows" + (f" WHERE ({self.where}\n)" if self.where else "")

    def and_where(self, condition: str) -> str:
        """Return the FROM clause with one more condition."""
        return f"{self.text} {'AND' if self.where else 'WHERE'} {condition}"


def summary_query(table: SQLTable, columns: Sequence[SQLColumn], dialect: Dialect) -> str:
    """Query the number of rows, and per column the non-null and finite values, infinities, minimum and maximum."""
    parts = ["COUNT(*)"]
    for column in columns:
        x, name = column.expression(dialect), dialect.identifier(column.name)
        parts.append(f"COUNT({name})")
        if column.kind in CATEGORICAL:
            continue
        finite = column.has_value(dialect)
        parts.append(f"SUM(CASE WHEN {finite} THEN 1 ELSE 0 END)")
        can_be_infinite = column.kind == "number" and column.form == "float" and bool(dialect.infinity)
        signs = (dialect.infinity, f"-{dialect.infinity}")
        parts += [f"SUM(CASE WHEN {x} = {sign} THEN 1 ELSE 0 END)" for sign in signs] if can_be_infinite else ["0", "0"]
        parts += [f"MIN(CASE WHEN {finite} THEN {x} END)", f"MAX(CASE WHEN {finite} THEN {x} END)"]
    return f"SELECT {', '.join(parts)} {table.text}"


def fraction_query(table: SQLTable, columns: Sequence[SQLColumn], dialect: Dialect) -> str:
    """Query, per column, the number of values that are not whole numbers."""
    names = [dialect.identifier(column.name) for column in columns]
    sums = [f"SUM(CASE WHEN {name} IS NOT NULL AND NOT {dialect.whole.format(x=name)} THEN 1 ELSE 0 END)" for name in names]
    return f"SELECT {', '.join(sums)} {table.text}"


def distinct_query(table: SQLTable, column: SQLColumn, dialect: Dialect) -> str:
    """Query every value and its count, up to one value more than a profile can hold."""
    x = column.expression(dialect)
    most = MOST_CATEGORIES if column.kind in CATEGORICAL else MOST_CELLS
    return f"SELECT {x}, COUNT(*) {table.and_where(column.has_value(dialect))} GROUP BY {x} LIMIT {most + 1}"


def quantile_query(table: SQLTable, columns: Sequence[SQLColumn], dialect: Dialect, bins: int) -> str:
    """Query the inner edges of equi-depth bins of some columns."""
    shares = [f"{i / bins:g}" for i in range(1, bins)]
    lists = (dialect.quantile_list(column.expression(dialect), column.has_value(dialect), shares) for column in columns)
    return f"SELECT {', '.join(chain(*lists))} {table.text}"


def rank_query(table: SQLTable, column: SQLColumn, dialect: Dialect, ranks: Sequence[int]) -> str:
    """Query the values at some ranks, for databases without quantiles."""
    x = column.expression(dialect)
    inner = f"SELECT {x} AS v, ROW_NUMBER() OVER (ORDER BY {x}) AS r {table.and_where(column.has_value(dialect))}"
    return f"SELECT r, v FROM ({inner}) drift_ranks WHERE r IN ({', '.join(map(str, ranks))}) ORDER BY r"  # noqa: S608 - names are quoted, ranks are integers


def cut_sums(column: SQLColumn, dialect: Dialect, kind: str, codes: Sequence[int], closed: Sequence[bool]) -> list[str]:
    """Return one sum per cut: rows below a value, or up to and including it."""
    x = column.expression(dialect)
    return [
        f"SUM(CASE WHEN {x} {'<=' if up_to else '<'} {dialect.number(code_value(code, kind))} THEN 1 ELSE 0 END)"
        for code, up_to in zip(codes, closed, strict=True)
    ]


def closed_codes(codes: Sequence[int], closed: Sequence[bool]) -> list[int]:
    """Convert "below a value" to "up to the preceding value": codes are integers in the order of the values."""
    return [code if up_to else code - 1 for code, up_to in zip(codes, closed, strict=True)]


def histogram_expression(column: SQLColumn, dialect: Dialect, kind: str, codes: Sequence[int]) -> str:
    """Return DuckDB's aggregate that counts rows in right-closed bins in one pass.

    :param codes: codes of the bins' ends, ascending
    """
    ends = ", ".join(dialect.number(code_value(code, kind)) for code in codes)
    return f"histogram({column.expression(dialect)}, [{ends}]) FILTER (WHERE {column.has_value(dialect)})"


def bucket_query(table: SQLTable, column: SQLColumn, dialect: Dialect, kind: str, codes: Sequence[int]) -> str:
    """Query PostgreSQL for rows per bucket.

    Its buckets are left-closed, so each begins at the number after the end of a right-closed bin.

    :param codes: codes of the bins' ends, ascending
    """
    sql_type = dialect.double if kind == "float" else "BIGINT"
    starts = ", ".join(dialect.number(code_value(code + 1, kind)) for code in codes)
    x = column.expression(dialect)
    if kind == "float" and column.form == "int":
        x = f"CAST({x} AS {sql_type})"
    bucket = f"width_bucket({x}, CAST(ARRAY[{starts}] AS {sql_type}[]))"
    return f"SELECT {bucket}, COUNT(*) {table.and_where(column.has_value(dialect))} GROUP BY 1"


def split_batches(columns: Sequence[SQLColumn], weights: Sequence[int]) -> list[list[SQLColumn]]:
    """Split columns into batches so that no statement has too many sums."""
    batches: list[list[SQLColumn]] = []
    total = 0
    for column, weight in zip(columns, weights, strict=True):
        if not batches or total + weight > MOST_SUMS:
            batches.append([])
            total = 0
        batches[-1].append(column)
        total += weight
    return batches
