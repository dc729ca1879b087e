"""The questions a database is asked: built here, run elsewhere, compared with golden text in the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from airflow_slo_provider.drift.engines.sql_dialects import Dialect
from airflow_slo_provider.drift.profiles.columns import CATEGORICAL, MOST_CATEGORIES
from airflow_slo_provider.drift.profiles.grid import MOST_CELLS, code_value

#: Sums in one statement. A database plans thousands of them slowly, and some refuse.
MOST_SUMS = 200


@dataclass(frozen=True)
class Column:
    """A column of a table, and how to ask for its values.

    :param kind: see :class:`~airflow_slo_provider.drift.profiles.columns.ColumnProfile`
    :param form: ``float`` or ``int`` for numbers
    :param cast: a type that the database must be asked to turn values into first (decimals)
    """

    name: str
    kind: str
    form: str = "float"
    cast: str = ""

    def expression(self, dialect: Dialect) -> str:
        """Write the column's value: a number for numbers, times and durations."""
        x = dialect.identifier(self.name)
        if self.kind == "time":
            return dialect.microseconds.format(x=x)
        if self.kind == "duration":
            return dialect.duration.format(x=x)
        if self.kind == "bool":
            return f"CASE WHEN {x} THEN 'true' ELSE 'false' END"
        return f"CAST({x} AS {self.cast})" if self.cast else x

    def counted(self, dialect: Dialect) -> str:
        """Write the condition that a row has a finite value."""
        if self.kind == "number" and self.form == "float" and dialect.infinity:
            return dialect.finite(self.expression(dialect))
        return f"{dialect.identifier(self.name)} IS NOT NULL"


@dataclass(frozen=True)
class Table:
    """What is read.

    :param source: a table's name, or a SELECT
    :param where: SQL condition, empty for all rows
    """

    source: str
    where: str = ""

    @property
    def text(self) -> str:
        """The FROM clause."""
        inner = self.source.strip().rstrip(";")
        if inner.lower().startswith(("select", "with")):
            inner = f"({inner})"
        # In parentheses, for an OR binds less than the AND of what is added; their end on a line of its own, for a comment.
        return f"FROM {inner} drift_rows" + (f" WHERE ({self.where}\n)" if self.where else "")

    def also(self, condition: str) -> str:
        """The FROM clause with one more condition."""
        return f"{self.text} {'AND' if self.where else 'WHERE'} {condition}"


def summary(table: Table, columns: Sequence[Column], dialect: Dialect) -> str:
    """Ask for rows, and per column for nulls, values, infinities and both ends."""
    parts = ["COUNT(*)"]
    for column in columns:
        x, name = column.expression(dialect), dialect.identifier(column.name)
        parts.append(f"COUNT({name})")
        if column.kind in CATEGORICAL:
            continue
        finite = column.counted(dialect)
        parts.append(f"SUM(CASE WHEN {finite} THEN 1 ELSE 0 END)")
        odd = column.kind == "number" and column.form == "float" and bool(dialect.infinity)
        signs = (dialect.infinity, f"-{dialect.infinity}")
        parts += [f"SUM(CASE WHEN {x} = {sign} THEN 1 ELSE 0 END)" for sign in signs] if odd else ["0", "0"]
        parts += [f"MIN(CASE WHEN {finite} THEN {x} END)", f"MAX(CASE WHEN {finite} THEN {x} END)"]
    return f"SELECT {', '.join(parts)} {table.text}"


def not_whole(table: Table, columns: Sequence[Column], dialect: Dialect) -> str:
    """Ask, per column, for the values that are no whole numbers."""
    names = [dialect.identifier(column.name) for column in columns]
    sums = [f"SUM(CASE WHEN {name} IS NOT NULL AND NOT {dialect.whole.format(x=name)} THEN 1 ELSE 0 END)" for name in names]
    return f"SELECT {', '.join(sums)} {table.text}"


def distinct_values(table: Table, column: Column, dialect: Dialect) -> str:
    """Ask for every value and how often it occurs, one more than a profile can hold."""
    x = column.expression(dialect)
    most = MOST_CATEGORIES if column.kind in CATEGORICAL else MOST_CELLS
    return f"SELECT {x}, COUNT(*) {table.also(column.counted(dialect))} GROUP BY {x} LIMIT {most + 1}"


def quantile_query(table: Table, columns: Sequence[Column], dialect: Dialect, bins: int) -> str:
    """Ask for the inner edges of equi-depth bins of some columns."""
    shares = [f"{i / bins:g}" for i in range(1, bins)]
    parts = [
        part for column in columns for part in dialect.quantile_list(column.expression(dialect), column.counted(dialect), shares)
    ]
    return f"SELECT {', '.join(parts)} {table.text}"


def rank_query(table: Table, column: Column, dialect: Dialect, ranks: Sequence[int]) -> str:
    """Ask for the values at some ranks, where a database has no quantiles."""
    x = column.expression(dialect)
    inner = f"SELECT {x} AS v, ROW_NUMBER() OVER (ORDER BY {x}) AS r {table.also(column.counted(dialect))}"
    return f"SELECT r, v FROM ({inner}) drift_ranks WHERE r IN ({', '.join(map(str, ranks))}) ORDER BY r"  # noqa: S608 - names are quoted, ranks are integers


def cut_sums(column: Column, dialect: Dialect, kind: str, codes: Sequence[int], closed: Sequence[bool]) -> list[str]:
    """Write one sum for each cut: rows below a value, or up to it."""
    x = column.expression(dialect)
    signs = ["<=" if one else "<" for one in closed]
    return [
        f"SUM(CASE WHEN {x} {sign} {dialect.number(code_value(code, kind))} THEN 1 ELSE 0 END)"
        for code, sign in zip(codes, signs, strict=True)
    ]


def closed_codes(codes: Sequence[int], closed: Sequence[bool]) -> list[int]:
    """Turn "below a value" into "up to the value before it": codes are whole numbers in the order of what they stand for."""
    return [code if one else code - 1 for code, one in zip(codes, closed, strict=True)]


def histogram(column: Column, dialect: Dialect, kind: str, codes: Sequence[int]) -> str:
    """Write DuckDB's aggregate that counts rows in right-closed bins, all in one pass.

    :param codes: of the bins' ends, ascending
    """
    ends = ", ".join(dialect.number(code_value(code, kind)) for code in codes)
    return f"histogram({column.expression(dialect)}, [{ends}]) FILTER (WHERE {column.counted(dialect)})"


def bucket_query(table: Table, column: Column, dialect: Dialect, kind: str, codes: Sequence[int]) -> str:
    """Ask PostgreSQL for rows per bucket. Its buckets are left-closed: each begins at the number after a right-closed bin's end.

    :param codes: of the bins' ends, ascending
    """
    form = dialect.double if kind == "float" else "BIGINT"
    starts = ", ".join(dialect.number(code_value(code + 1, kind)) for code in codes)
    x = column.expression(dialect)
    if kind == "float" and column.form == "int":
        x = f"CAST({x} AS {form})"
    bucket = f"width_bucket({x}, CAST(ARRAY[{starts}] AS {form}[]))"
    return f"SELECT {bucket}, COUNT(*) {table.also(column.counted(dialect))} GROUP BY 1"


def batches(columns: Sequence[Column], weights: Sequence[int]) -> list[list[Column]]:
    """Part columns so that no statement has too many sums."""
    batches: list[list[Column]] = []
    held = 0
    for column, weight in zip(columns, weights, strict=True):
        if not batches or held + weight > MOST_SUMS:
            batches.append([])
            held = 0
        batches[-1].append(column)
        held += weight
    return batches
