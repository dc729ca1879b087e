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
class Row:
    """A row with a timestamp; numbers by column name (``good``, ``bad``, ``total`` or ``value``), None for NULL."""

    at: datetime
    numbers: Mapping[str, Fraction | None]


@dataclass(frozen=True)
class Answer:
    """The result of a query.

    :param columns: lower-case column names, without the timestamp
    :param query: text of the query
    :param rows: rows with timestamps, oldest first; None for an aggregate
    :param numbers: the row of an aggregate; None if it had no row
    """

    columns: tuple[str, ...]
    query: str
    rows: tuple[Row, ...] | None = None
    numbers: Mapping[str, Fraction | None] | None = None

    @property
    def timestamped(self) -> bool:
        """Whether the rows have timestamps."""
        return self.rows is not None


def read_answer(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, query: str, zone: tzinfo | None = None) -> Answer:
    """Read the result of a query with exact numbers.

    :param columns: column names, in order
    :param rows: the rows
    :param zone: time zone of naive timestamps; None refuses them
    :param query: text of the query, for messages
    :raises QueryError: reason ``wrong_shape``, for unexpected columns or an unexpected number of rows
    :raises InvalidMeasurement: for NaN, text that is not a number, or a timestamp without a zone
    """
    names = tuple(str(column).lower() for column in columns)
    if len(set(names)) != len(names):
        raise _shape(f"two columns have the same name: {', '.join(names)}", query)
    numbers = tuple(name for name in names if name != "timestamp")
    if "timestamp" not in names:
        _check_aggregate(names, len(rows), query)
        if not rows:
            return Answer(numbers, query)
        only = {name: _number(cell, name, query) for name, cell in zip(names, rows[0], strict=True)}
        return Answer(numbers, query, numbers=only)
    if not numbers or not (numbers == ("value",) or set(numbers) <= set(COUNTS)) or {"good", "bad"} <= set(numbers):
        raise _shape(f"the columns are {', '.join(names)}", query)
    where = names.index("timestamp")
    read = []
    for row in rows:
        cells = {name: _number(cell, name, query) for name, cell in zip(names, row, strict=True) if name != "timestamp"}
        read.append(Row(read_timestamp(row[where], zone=zone, query=query), cells))
    return Answer(numbers, query, rows=tuple(sorted(read, key=lambda item: item.at)))


def _check_aggregate(names: tuple[str, ...], count: int, query: str) -> None:
    known = set(names) in ({"good", "total"}, {"bad", "total"})
    if not known and len(names) != 1:
        alias = "; alias them: SELECT ... AS good, ... AS total" if len(names) == 2 else ""
        raise _shape(f"the columns are {', '.join(names)}{alias}", query)
    if count > 1:
        raise _shape(f"{count} rows where one is expected; aggregate them, or add a column named timestamp", query)


def _shape(message: str, query: str) -> QueryError:
    return QueryError(f"the answer has the wrong shape: {message}; {SHAPES}", reason="wrong_shape", query=query)


def _number(cell: Any, name: str, query: str) -> Fraction | None:
    if cell is None:
        return None
    try:
        return exact(cell, what=f"column {name}")
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
        message = f"metricSource.spec.timeZone {name!r} is no IANA time zone, e.g. UTC or Europe/Berlin"
        raise QueryError(message, reason="bad_query") from None


def read_timestamp(cell: Any, *, zone: tzinfo | None, query: str) -> datetime:
    """Parse a timestamp: an aware datetime, seconds since 1970, or ISO 8601 text with an offset.

    :param zone: time zone of naive timestamps; None refuses them, because a guess may be hours off
    :param cell: the value in the result
    :param query: text of the query, for messages
    :raises InvalidMeasurement: reason ``bad_timestamp``, for any other value
    """

    def wrong(message: str) -> InvalidMeasurement:
        return InvalidMeasurement(f"column timestamp: {message}", reason="bad_timestamp", query=query)

    if cell is None:
        raise wrong("a row has NULL")
    moment: datetime | None = cell if isinstance(cell, datetime) else None
    if isinstance(cell, str):
        try:
            moment = datetime.fromisoformat(cell.strip())
        except ValueError:
            raise wrong(f"{cell!r} is neither ISO 8601 with an offset (2026-01-31T12:00:00Z) nor seconds since 1970") from None
    if moment is None:
        try:
            return _EPOCH + timedelta(microseconds=round(exact(cell) * 1_000_000))
        except (MeasurementError, OverflowError):
            raise wrong(f"{cell!r} is no timestamp; return one with time zone, ISO 8601 text or seconds since 1970") from None
    if zone is None and moment.utcoffset() is None:
        raise wrong(f"{cell} has no time zone; convert it in the query, or declare it: metricSource.spec.timeZone: UTC")
    try:
        return in_utc(moment, zone=zone)
    except ValueError as error:
        raise wrong(str(error)) from None


def within(answer: Answer, start: datetime, end: datetime, *, slack: timedelta = LONGEST_BUCKET) -> list[Row]:
    """Return the rows of a window [start, end).

    A row with the start of its bucket as its timestamp may lie a little before the window: the query's WHERE has already cut
    the bucket, so the row counts, and is moved to ``start``. A row at ``end`` belongs to the next window. A row further outside
    means that the query ignores its bounds.

    :param slack: maximum time by which a row may lie before ``start``
    :param answer: the result with its rows
    :param start: start of the window
    :param end: end of the window, exclusive
    :raises InvalidMeasurement: reason ``outside_window``, for a row further outside
    """
    kept = []
    for row in answer.rows or ():
        if row.at > end or row.at <= start - slack:
            raise InvalidMeasurement(
                f"a row of {row.at.isoformat()} lies outside of {start.isoformat()} to {end.isoformat()}; "
                "write WHERE ts >= :date_from AND ts < :date_to, and check the zone of the column",
                reason="outside_window",
                query=answer.query,
            )
        if row.at < end:
            kept.append(row if row.at >= start else Row(start, row.numbers))
    return kept


def total_of(rows: Sequence[Row], column: str) -> Fraction | None:
    """Add up a column; None if no row has a number."""
    found = [number for row in rows if (number := row.numbers[column]) is not None]
    return sum(found, Fraction(0)) if found else None


def counts(first: Fraction | None, total: Fraction | None, *, column: str, query: str) -> tuple[Fraction, Fraction]:
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
        raise InvalidMeasurement(
            f"{null} is NULL while {other} is {float(number or 0):g}; write COALESCE(SUM(...), 0)",
            reason="null_count",
            query=query,
        )
    return (first if column == "good" else total - first), total
