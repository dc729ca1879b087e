"""Detect the columns of a table and their kinds from sample rows, or from all rows where types can differ by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from airflow_slo_provider.drift.engines.sources import chosen
from airflow_slo_provider.drift.engines.sql_dialects import Dialect
from airflow_slo_provider.drift.engines.sql_queries import Column, Table, batches, not_whole
from airflow_slo_provider.drift.profiles.arrow_values import number_text
from airflow_slo_provider.exceptions import InvalidMeasurement

#: Runs one statement: (column names, rows).
Ask = Callable[[str], tuple[Sequence[str], Sequence[Sequence[Any]]]]
_SAMPLE = 200
_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((bool,), "bool"),
    ((int, float, Decimal), "number"),
    ((str,), "text"),
    ((datetime, date), "time"),
    ((timedelta, time), "duration"),
)


class ColumnFinder:
    """Find the columns of a table and their kinds.

    :param ask: runs one statement
    :param kinds: kind of columns whose type does not show it
    :param categorical: numeric columns that hold codes: their kind is ``text``
    :param name: name of the table in messages
    """

    def __init__(
        self, ask: Ask, table: Table, dialect: Dialect, *, kinds: Mapping[str, str], categorical: frozenset[str], name: str
    ) -> None:
        self._ask, self._table, self._dialect, self._name = ask, table, dialect, name
        self._kinds, self._categorical = kinds, categorical

    def find(self, columns: Sequence[str] | None) -> list[Column]:
        """Find the columns from some rows.

        :param columns: columns to find; default: all
        :raises InvalidMeasurement: for a column that does not exist
        """
        names, rows = self._ask(f"SELECT * {self._table.text} LIMIT {_SAMPLE}")
        held = []
        for name in chosen(names, columns, self._name):
            place = list(names).index(name)
            seen = [row[place] for row in rows if row[place] is not None]
            if not seen:
                quoted = self._dialect.identifier(name)
                _, found = self._ask(f"SELECT {quoted} {self._table.also(f'{quoted} IS NOT NULL')} LIMIT 1")
                seen = [row[0] for row in found]
            held.append(self._column(name, seen))
        return self._widened(held)

    def _column(self, name: str, seen: Sequence[Any]) -> Column:
        kind, form, cast = "empty", "float", ""
        if seen:
            kind = next((kind for types, kind in _KINDS if isinstance(seen[0], types)), "other")
        if kind == "number":
            form = "int" if all(isinstance(value, int) for value in seen) else "float"
            cast = self._dialect.double if any(isinstance(value, Decimal) for value in seen) else ""
        kind = self._kinds.get(name, kind) if seen else kind
        if kind == "number" and name in self._categorical:
            kind = "text"
        return Column(name, kind, "int" if kind in ("time", "duration") else form, cast)

    def _widened(self, columns: list[Column]) -> list[Column]:
        """Change integer columns to float if any row holds a fraction: some databases store a type with every value."""
        asked = [column for column in columns if column.kind == "number" and column.form == "int"]
        if not self._dialect.whole:
            return columns
        mixed = set()
        for batch in batches(asked, [1] * len(asked)):
            (row,) = self._ask(not_whole(self._table, batch, self._dialect))[1]
            mixed |= {column.name for column, count in zip(batch, row, strict=True) if count}
        return [replace(column, form="float") if column.name in mixed else column for column in columns]


def category_of(value: Any) -> str:
    """Return a database's value as the name of a category; numbers are written as for files."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return str(value)
    return number_text(value)


def number_of(value: Any, column: Column) -> Any:
    """Convert a database's number to the column's type; None stays None.

    :raises InvalidMeasurement: for a fraction in a column of whole numbers, which is never truncated
    """
    if value is None:
        return None
    number = int(value) if column.form == "int" else float(value)
    if column.kind == "number" and column.form == "int" and number != value:
        raise InvalidMeasurement(
            f"column {column.name} holds whole numbers in its first {_SAMPLE} rows, and {value!r} later; "
            "give a SELECT that casts it to one type"
        )
    return abs(number) if number == 0 else number
