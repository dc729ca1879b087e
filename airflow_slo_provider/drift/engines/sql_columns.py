"""Detect the columns of a table and their kinds from sample rows, or from all rows where types can differ by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from airflow_slo_provider.drift.engines.sources import select_columns
from airflow_slo_provider.drift.engines.sql_dialects import Dialect
from airflow_slo_provider.drift.engines.sql_queries import RunQuery, SQLColumn, SQLTable, fraction_query, split_batches
from airflow_slo_provider.drift.profiles.arrow_values import number_text
from airflow_slo_provider.exceptions import InvalidMeasurement

_SAMPLE = 200
_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((bool,), "bool"),
    ((int, float, Decimal), "number"),
    ((str,), "text"),
    ((datetime, date), "time"),
    ((timedelta, time), "duration"),
)


def find_columns(
    query: RunQuery,
    table: SQLTable,
    dialect: Dialect,
    columns: Sequence[str] | None,
    *,
    kinds: Mapping[str, str],
    categorical: frozenset[str],
    name: str,
) -> list[SQLColumn]:
    """Find the columns of a table and their kinds from some rows.

    :param columns: columns to find; default: all
    :param kinds: kind of columns whose type does not show it
    :param categorical: numeric columns that hold codes: their kind is ``text``
    :param name: name of the table in messages
    :raises InvalidMeasurement: for a column that does not exist
    """
    names, rows = query(f"SELECT * {table.text} LIMIT {_SAMPLE}")
    found = []
    for column in select_columns(names, columns, name):
        index = list(names).index(column)
        values = [row[index] for row in rows if row[index] is not None]
        if not values:
            quoted = dialect.identifier(column)
            values = [row[0] for row in query(f"SELECT {quoted} {table.and_where(f'{quoted} IS NOT NULL')} LIMIT 1")[1]]
        detected = _detect_kind(column, values, kinds.get(column), dialect)
        found.append(replace(detected, kind="text") if detected.kind == "number" and column in categorical else detected)
    if not dialect.whole:
        return found
    # SQLite stores a type with every value: an integer column becomes float if any row holds a fraction.
    whole = [column for column in found if column.kind == "number" and column.form == "int"]
    mixed = set()
    for batch in split_batches(whole, [1] * len(whole)):
        (row,) = query(fraction_query(table, batch, dialect))[1]
        mixed |= {column.name for column, count in zip(batch, row, strict=True) if count}
    return [replace(column, form="float") if column.name in mixed else column for column in found]


def _detect_kind(name: str, values: Sequence[Any], kind: str | None, dialect: Dialect) -> SQLColumn:
    if not values:
        return SQLColumn(name, "empty")
    detected = next((detected for types, detected in _KINDS if isinstance(values[0], types)), "other")
    kind = kind or detected
    if kind in ("time", "duration"):
        return SQLColumn(name, kind, "int")
    if detected != "number":
        return SQLColumn(name, kind)
    form = "int" if all(isinstance(value, int) for value in values) else "float"
    return SQLColumn(name, kind, form, dialect.double if any(isinstance(value, Decimal) for value in values) else "")


def category_text(value: Any) -> str:
    """Return a database's value as the name of a category; numbers are written as for files."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return str(value)
    return number_text(value)


def convert_number(value: Any, column: SQLColumn) -> Any:
    """Convert a database's number to the column's type; None stays None.

    :raises InvalidMeasurement: for a fraction in a column of whole numbers, which is never truncated
    """
    if value is None:
        return None
    number = int(value) if column.form == "int" else float(value)
    if column.kind == "number" and column.form == "int" and number != value:
        raise InvalidMeasurement(
            f"column {column.name} holds whole numbers in its first {_SAMPLE} rows, and {value!r} later; "
            "write a SELECT that casts it to one type"
        )
    return abs(number) if number == 0 else number
