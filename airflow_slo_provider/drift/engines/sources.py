"""Sources of rows: what every one of them does, filters, and the source for data frames and plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.drift.profiles.kernel import Values
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError, to_install

#: Rows handed over together, about. One column of them is decoded at a time by each thread.
PIECE = 1_048_576
#: (column, operator, value); all must hold.
Filter = Sequence[tuple[str, str, Any]]
OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in", "not in")


@dataclass(frozen=True)
class Task:
    """One piece of work: read rows of some columns and hand them over.

    :param rows: rows times columns it covers, for progress
    :param run: called with what takes (column, values)
    """

    rows: int
    run: Callable[[Callable[[str, Values], None]], None]


class Source(Protocol):
    """Rows that can be read again."""

    name: str

    def columns(self) -> Mapping[str, str]:
        """Types of the columns, by name."""
        ...

    def tasks(self, columns: Sequence[str], categorical: frozenset[str]) -> Iterable[Task]:
        """Return the work of reading some columns once."""
        ...


def check_filter(where: Filter | None) -> Filter:
    """Check a filter's form.

    :raises ValueError: for an operator that is not known
    """
    for item in where or ():
        if len(item) != 3 or item[1] not in OPERATORS:
            raise ValueError(f"filter {item!r} is not (column, operator, value) with one of {', '.join(OPERATORS)}")
    return tuple(where or ())


def chosen(available: Iterable[str], columns: Sequence[str] | None, source: str) -> list[str]:
    """Return the columns to read.

    :raises InvalidMeasurement: when a column is asked for that is not there
    """
    held = list(available)
    if columns is None:
        return held
    columns = text_list(columns)
    missing = [name for name in columns if name not in held]
    if missing:
        raise InvalidMeasurement(
            f"{source} has no column {', '.join(missing)}; it has {', '.join(held[:50]) or 'none'}", reason="no_column"
        )
    return list(dict.fromkeys(columns))


class FrameSource:
    """A pandas DataFrame, or a mapping of names to arrays."""

    def __init__(self, data: Any, *, where: Filter | None = None, name: str = "DataFrame") -> None:
        import pandas as pd

        frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
        twice = frame.columns[frame.columns.duplicated()]
        if len(twice):
            raise InvalidMeasurement(f"{name} has more than one column {twice[0]}", reason="bad_columns")
        for column, operator, value in check_filter(where):
            frame = frame[_holds(frame[chosen(frame.columns, [column], name)[0]], operator, value)]
        self._frame = frame
        self.name = name

    def columns(self) -> Mapping[str, str]:
        """Types of the columns, by name."""
        return {str(column): str(self._frame[column].dtype) for column in self._frame.columns}

    def tasks(self, columns: Sequence[str], categorical: frozenset[str]) -> Iterator[Task]:
        """Return one task for each column."""
        from airflow_slo_provider.drift.profiles.frame_values import series_values

        by_name = {str(column): column for column in self._frame.columns}
        for name in columns:

            def run(consume: Callable[[str, Values], None], name: str = name) -> None:
                consume(name, series_values(self._frame[by_name[name]], categorical=name in categorical))

            yield Task(len(self._frame), run)


def in_utc(value: Any) -> Any:
    """Return a moment as those without a zone are meant, in UTC; anything else as it is."""
    from datetime import UTC, datetime

    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) and value.tzinfo is not None else value


def _holds(series: Any, operator: str, value: Any) -> Any:
    if series.dtype.kind == "M" and getattr(series.dtype, "tz", None) is None:
        value = [in_utc(one) for one in value] if operator in ("in", "not in") else in_utc(value)
    if operator in ("in", "not in"):
        inside = series.isin(list(value))
        return inside if operator == "in" else ~inside
    comparisons = {"=": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
    return getattr(series, comparisons[operator])(value).fillna(False)


def need_pyarrow(what: str) -> None:
    """Say what to install where pyarrow is missing.

    :raises QueryError: when it is
    """
    try:
        import pyarrow as pa  # noqa: F401
    except ImportError:
        raise QueryError(
            f"{what} needs pyarrow: {to_install('drift')}. A pandas DataFrame is compared without it.",
            reason="missing_library",
        ) from None


def unreadable(error: Exception, what: str, *, remote: bool) -> QueryError:
    """Say that data could not be read. A fault of what holds it elsewhere may pass; wrong bytes, and a local disk's, do not."""
    return QueryError(f"{what}: {server_text(error)}", reason="unreadable", transient=remote and isinstance(error, OSError))
