"""Read the result of an indicator's SQL query: counts, one number, or rows with timestamps.

Every other shape is an error whose message describes the expected shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_slo_provider.core.exact_numbers import exact
from airflow_slo_provider.core.timestamps import in_utc
from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData, QueryError

COUNTS = ("good", "bad", "total")

#: Maximum time by which the timestamp of a bucket, its start, may lie before the window.
LONGEST_BUCKET = timedelta(days=1)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SHAPES = (
    "return one row with columns good and total (or bad and total), or rows with timestamp and value, or rows with "
    "timestamp, good and total; name columns with AS"
)


@dataclass(frozen=True)
class TimedRow:
    """A row with a timestamp; numbers by column name (``good``, ``bad``, ``total`` or ``value``), None for NULL."""

    at: datetime
    numbers: Mapping[str, Fraction | None]


@dataclass(frozen=True)
class QueryResult:
    """The result of a query.

    :param columns: lower-case column names, without the timestamp
    :param query: text of the query
    :param rows: rows with timestamps, oldest first; None for an aggregate
    :param numbers: the row of an aggregate; None if it had no row
    """

    columns: tuple[str, ...]
    query: str
    rows: tuple[TimedRow, ...] | None = None
    numbers: Mapping[str, Fraction | None] | None = None

    @property
    def timestamped(self) -> bool:
        """Whether the rows have timestamps."""
        return self.rows is not None


def read_result(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, query: str, zone: tzinfo | None = None) -> QueryResult:
    """Read the result of a query with exact numbers.

    :param columns: column names, in order
    :param rows: the rows
    :param zone: time zone of naive timestamps; None refuses them
    :param query: text of the query, for messages
    :raises QueryError: reason ``wrong_shape``, for unexpected columns or an unexpected number of rows
    :raises InvalidMeasurement: for NaN, text that is not a number, or a timestamp without a zone
    """
    names = tuple(str(column).lower() for column in columns)
    _check_columns(names, len(rows), query)
    cells = [
        {name: _read_number(cell, name, query) for name, cell in zip(names, row, strict=True) if name != "timestamp"}
        for row in rows
    ]
    numbers = tuple(name for name in names if name != "timestamp")
    if numbers == names:
        return QueryResult(numbers, query, numbers=next(iter(cells), None))
    where = names.index("timestamp")
    times = [read_timestamp(row[where], zone=zone, query=query) for row in rows]
    return QueryResult(numbers, query, rows=tuple(sorted(map(TimedRow, times, cells), key=lambda row: row.at)))


def _check_columns(names: tuple[str, ...], count: int, query: str) -> None:
    """Check the column names and the number of rows of a result.

    :raises QueryError: reason ``wrong_shape``
    """

    def error(message: str) -> QueryError:
        return QueryError(f"the answer has the wrong shape: {message}; {SHAPES}", reason="wrong_shape", query=query)

    numbers = set(names) - {"timestamp"}
    if len(set(names)) != len(names):
        raise error(f"two columns have the same name: {', '.join(names)}")
    if "timestamp" in names:
        known = numbers == {"value"} or numbers <= set(COUNTS)
        if not numbers or not known or {"good", "bad"} <= numbers:
            raise error(f"the columns are {', '.join(names)}")
        return
    if len(names) != 1 and numbers not in ({"good", "total"}, {"bad", "total"}):
        alias = "; alias them: SELECT ... AS good, ... AS total" if len(names) == 2 else ""
        raise error(f"the columns are {', '.join(names)}{alias}")
    if count > 1:
        raise error(f"{count} rows where one is expected; aggregate them, or add a column named timestamp")


def _read_number(cell: Any, name: str, query: str) -> Fraction | None:
    try:
        return None if cell is None else exact(cell, what=f"column {name}")
    except InvalidMeasurement as error:
        raise InvalidMeasurement(error.message, reason=error.reason, query=query) from None


def read_zone(name: object) -> tzinfo | None:
    """Parse ``metricSource.spec.timeZone``.

    :param name: an IANA name, or None
    :raises QueryError: for a zone that does not exist
    """
    if name is None:
        return None
    try:
        return UTC if name == "UTC" else ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = f"metricSource.spec.timeZone {name!r} is not an IANA time zone, e.g. UTC or Europe/Berlin"
        raise QueryError(message, reason="bad_query") from None


def read_timestamp(cell: Any, *, zone: tzinfo | None, query: str) -> datetime:
    """Parse a timestamp: an aware datetime, seconds since 1970, or ISO 8601 text with an offset.

    :param zone: time zone of naive timestamps; None refuses them, because a guess may be hours off
    :param cell: the value in the result
    :param query: text of the query, for messages
    :raises InvalidMeasurement: reason ``bad_timestamp``, for any other value
    """

    def error(message: str) -> InvalidMeasurement:
        return InvalidMeasurement(f"column timestamp: {message}", reason="bad_timestamp", query=query)

    if cell is None:
        raise error("a row has NULL")
    time = cell
    if isinstance(cell, str):
        try:
            time = datetime.fromisoformat(cell.strip())
        except ValueError:
            raise error(f"{cell!r} is neither ISO 8601 with an offset (2026-01-31T12:00:00Z) nor seconds since 1970") from None
    if not isinstance(time, datetime):
        try:
            return _EPOCH + timedelta(microseconds=round(exact(cell) * 1_000_000))
        except (MeasurementError, OverflowError):
            raise error(f"{cell!r} is not a timestamp; return one with time zone, ISO 8601 text or seconds since 1970") from None
    if zone is None and time.utcoffset() is None:
        raise error(f"{cell} has no time zone; convert it in the query, or declare it: metricSource.spec.timeZone: UTC")
    try:
        return in_utc(time, zone=zone)
    except ValueError as cause:
        raise error(str(cause)) from None


def rows_in_window(result: QueryResult, start: datetime, end: datetime, *, slack: timedelta = LONGEST_BUCKET) -> list[TimedRow]:
    """Return the rows of a window [start, end).

    A row with the start of its bucket as its timestamp may lie a little before the window: the query's WHERE has already cut
    the bucket, so the row counts, and is moved to ``start``. A row at ``end`` belongs to the next window. A row further outside
    means that the query ignores its bounds.

    :param slack: maximum time by which a row may lie before ``start``
    :param result: the result with its rows
    :param start: start of the window
    :param end: end of the window, exclusive
    :raises InvalidMeasurement: reason ``outside_window``, for a row further outside
    """
    kept = []
    for row in result.rows or ():
        if row.at > end or row.at <= start - slack:
            raise InvalidMeasurement(
                f"a row of {row.at.isoformat()} lies outside of {start.isoformat()} to {end.isoformat()}; "
                "write WHERE ts >= :date_from AND ts < :date_to, and check the zone of the column",
                reason="outside_window", query=result.query,
            )  # fmt: skip
        if row.at < end:
            kept.append(row if row.at >= start else TimedRow(start, row.numbers))
    return kept


def sum_column(rows: Sequence[TimedRow], column: str) -> Fraction | None:
    """Add up a column; None if no row has a number."""
    found = [number for row in rows if (number := row.numbers[column]) is not None]
    return sum(found, Fraction(0)) if found else None


def check_counts(first: Fraction | None, total: Fraction | None, *, column: str, query: str) -> tuple[Fraction, Fraction]:
    """Check two counts for NULL, and return good and total.

    SUM over no rows is NULL. NULL with a total of NULL or 0 therefore means no data; NULL although there were events means that
    the query needs COALESCE, because reading it as "no data" could hide a complete outage.

    :param first: the good or the bad count
    :param total: the count of all events
    :param column: ``good`` or ``bad``: which of them ``first`` is
    :param query: text of the query, for messages
    :raises NoData: when nothing was counted
    :raises InvalidMeasurement: when one is NULL and the other is not
    """
    if not total and not first:
        raise NoData("no events in the window", reason="no_events", query=query)
    if first is None or total is None:
        null, other, number = (column, "total", total) if first is None else ("total", column, first)
        message = f"{null} is NULL while {other} is {float(number or 0):g}; write COALESCE(SUM(...), 0)"
        raise InvalidMeasurement(message, reason="null_count", query=query)
    return (first if column == "good" else total - first), total
