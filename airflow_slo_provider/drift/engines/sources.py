"""Interface of row sources, filters, and the source for data frames and plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Protocol

from airflow_slo_provider.core.redaction import server_text
from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.drift.profiles.kernel import Values
from airflow_slo_provider.exceptions import InvalidMeasurement, QueryError, to_install

#: Approximate number of rows processed together. Each thread decodes one column of them at a time.
PIECE = 1_048_576
#: (column, operator, value) conditions; all must hold.
Filter = Sequence[tuple[str, str, Any]]
COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
OPERATORS = (*COMPARISONS, "in", "not in")
#: Called with (column, values) for each batch of rows that was read.
Consume = Callable[[str, Values], None]


@dataclass(frozen=True)
class Task:
    """One unit of work: read rows of some columns and pass them on.

    :param rows: number of rows times columns it covers, for progress
    :param run: reads the rows, and calls its argument with (column, values)
    """

    rows: int
    run: Callable[[Consume], None]


class Source(Protocol):
    """Rows that can be read several times."""

    name: str

    def columns(self) -> Mapping[str, str]:
        """Return the types of the columns, by name."""
        ...

    def tasks(self, columns: Sequence[str], categorical: frozenset[str]) -> Iterable[Task]:
        """Yield the tasks that read some columns once."""
        ...


def check_filter(where: Filter | None) -> Filter:
    """Check the form of a filter.

    :raises ValueError: for an unknown operator
    """
    for item in where or ():
        if len(item) != 3 or item[1] not in OPERATORS:
            raise ValueError(f"filter {item!r} is not (column, operator, value) with one of {', '.join(OPERATORS)}")
    return tuple(where or ())


def select_columns(available: Iterable[str], columns: Sequence[str] | None, source: str) -> list[str]:
    """Return the columns to read, all if ``columns`` is None.

    :raises InvalidMeasurement: when a requested column does not exist
    """
    names = list(available)
    if columns is None:
        return names
    columns = text_list(columns)
    missing = [name for name in columns if name not in names]
    if missing:
        raise InvalidMeasurement(
            f"{source} has no column {', '.join(missing)}; it has {', '.join(names[:50]) or 'none'}", reason="no_column"
        )
    return list(dict.fromkeys(columns))


class FrameSource:
    """Source for a pandas DataFrame, or a mapping of names to arrays."""

    def __init__(self, data: Any, *, where: Filter | None = None, name: str = "DataFrame") -> None:
        import pandas as pd

        frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
        twice = frame.columns[frame.columns.duplicated()]
        if len(twice):
            raise InvalidMeasurement(f"{name} has more than one column {twice[0]}", reason="bad_columns")
        for column, operator, value in check_filter(where):
            frame = frame[_filter_mask(frame[select_columns(frame.columns, [column], name)[0]], operator, value)]
        self._frame = frame
        self.name = name

    def columns(self) -> Mapping[str, str]:
        """Return the types of the columns, by name."""
        return {str(column): str(self._frame[column].dtype) for column in self._frame.columns}

    def tasks(self, columns: Sequence[str], categorical: frozenset[str]) -> Iterator[Task]:
        """Yield one task per column."""
        from airflow_slo_provider.drift.profiles.frame_values import series_values

        by_name = {str(column): column for column in self._frame.columns}
        for name in columns:

            def run(consume: Consume, name: str = name) -> None:
                consume(name, series_values(self._frame[by_name[name]], categorical=name in categorical))

            yield Task(len(self._frame), run)


def to_naive_utc(value: Any) -> Any:
    """Convert an aware timestamp to a naive one in UTC; return any other value unchanged."""
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) and value.tzinfo is not None else value


def _filter_mask(series: Any, operator: str, value: Any) -> Any:
    if series.dtype.kind == "M" and getattr(series.dtype, "tz", None) is None:
        value = to_naive_utc(value) if operator in COMPARISONS else [to_naive_utc(item) for item in value]
    if operator in COMPARISONS:
        return COMPARISONS[operator](series, value).fillna(False)
    inside = series.isin(list(value))
    return inside if operator == "in" else ~inside


def require_pyarrow(what: str) -> None:
    """Check that pyarrow is installed.

    :raises QueryError: with what to install, when it is missing
    """
    try:
        import pyarrow as pa  # noqa: F401
    except ImportError:
        raise QueryError(
            f"{what} needs pyarrow: {to_install('drift')}. A pandas DataFrame is compared without it.", reason="missing_library"
        ) from None


def read_error(error: Exception, what: str, *, remote: bool) -> QueryError:
    """Return the error for unreadable data; only failures of remote storage are transient."""
    return QueryError(f"{what}: {server_text(error)}", reason="unreadable", transient=remote and isinstance(error, OSError))
