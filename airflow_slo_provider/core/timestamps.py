"""Parse external timestamps to UTC. A time zone is never guessed: a wrong guess may be hours off."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_slo_provider.exceptions import InvalidMeasurement

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Seconds since 1970 reach this value in the year 5138; milliseconds have been beyond it since 1973.
_NOT_SECONDS = 1e11


def in_utc(timestamp: datetime, *, zone: tzinfo | None = None) -> datetime:
    """Convert a timestamp to UTC.

    :param timestamp: the timestamp
    :param zone: the time zone of a naive timestamp. In an hour that occurs twice the earlier one is taken; midnight is the
        start of its day, also where clocks go forward at midnight
    :raises ValueError: for a timestamp beyond the years 1 to 9999, or one that did not occur in the zone
    """
    try:
        if timestamp.utcoffset() is not None:
            return timestamp.astimezone(UTC)
        found = timestamp.replace(tzinfo=zone, fold=0).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{timestamp} is beyond the years 1 to 9999 in UTC") from None
    # A time that the clocks skipped does not survive the round trip.
    if timestamp.time() != time.min and found.astimezone(zone).replace(tzinfo=None) != timestamp:
        raise ValueError(f"{timestamp} does not exist in {zone}: the clocks went forward over it; is it in another time zone?")
    return found


def read_zone(name: str | tzinfo | None) -> tzinfo | None:
    """Parse the time zone of naive timestamps.

    :param name: an IANA name such as ``UTC`` or ``Europe/Berlin``, a tzinfo, or None for none
    :raises ValueError: for a zone that does not exist
    """
    if name is None or isinstance(name, tzinfo):
        return name
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"timezone {name!r} is no IANA time zone, e.g. UTC or Europe/Berlin") from None


def read_timestamp(value: Any, *, zone: tzinfo | None, what: str) -> datetime | None:
    """Parse a timestamp as an aware datetime in UTC; None stays None.

    :param value: a datetime, a date, ISO 8601 text, or seconds since 1970 (a number, or text of one)
    :param zone: the time zone of naive values; None refuses them
    :param what: name of the value, for the message
    :raises InvalidMeasurement: (reason ``bad_timestamp`` or ``no_timezone``) for anything that is not a timestamp
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _read_text(value.strip(), zone, what)
    if isinstance(value, datetime):
        return _read_datetime(value, zone, what)
    if isinstance(value, date):
        # The start of that day, so that the data never looks fresher than it is.
        return _read_datetime(datetime(value.year, value.month, value.day), zone, what)  # noqa: DTZ001
    if isinstance(value, (int, float, Decimal, Fraction)) and not isinstance(value, bool):
        return read_seconds(value, what=what)
    raise _timestamp_error(what, value, "is not a timestamp; return one with time zone, ISO 8601 text or seconds since 1970")


def read_seconds(value: float | Decimal | Fraction, *, what: str) -> datetime:
    """Convert seconds since 1970 to an aware datetime in UTC.

    :param value: seconds since 1970
    :param what: name of the value, for the message
    :raises InvalidMeasurement: for NaN, an infinity, a number that must be milliseconds, or one before the year 1
    """
    try:
        if isinstance(value, (float, Decimal)) and not math.isfinite(value):
            raise _timestamp_error(what, value, "is not a time")
        if not -_NOT_SECONDS < value < _NOT_SECONDS:
            raise _timestamp_error(what, value, "is not a number of seconds since 1970 (milliseconds?); convert it in the query")
        return EPOCH + timedelta(microseconds=round(Fraction(value) * 1_000_000))
    except (OverflowError, ValueError):  # before the year 1, or a signalling NaN
        raise _timestamp_error(what, value, "is not a time") from None


def format_utc(at: datetime) -> str:
    """Format a timestamp in UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def slices(start: datetime, end: datetime, count: int) -> list[tuple[datetime, datetime]]:
    """Split a time span into equal parts.

    :param start: start of the span
    :param end: end of the span; the last part includes it
    :param count: the number of parts
    """
    step = (end - start) / count
    edges = [start + number * step for number in range(count)] + [end + timedelta(microseconds=1)]
    return list(pairwise(edges))


def _read_text(text: str, zone: tzinfo | None, what: str) -> datetime:
    # fromisoformat also accepts 20260131, which could be a number of seconds, so the dashes decide.
    if "-" in text[:8]:
        with suppress(ValueError):
            timestamp = datetime.fromisoformat(text)
            return _read_datetime(timestamp, zone, what)
    try:
        return read_seconds(Decimal(text), what=what)
    except ArithmeticError:
        raise _timestamp_error(what, text, "is neither ISO 8601 (2026-01-31T12:00:00Z) nor seconds since 1970") from None


def _read_datetime(timestamp: datetime, zone: tzinfo | None, what: str) -> datetime:
    if zone is None and timestamp.utcoffset() is None:
        raise InvalidMeasurement(
            f"{what}: {timestamp} has no time zone; set it with timezone=, e.g. timezone='UTC'", reason="no_timezone"
        )
    try:
        return in_utc(timestamp, zone=zone)  # in an hour that occurs twice the earlier one is taken: never fresher than it is
    except ValueError as error:
        raise InvalidMeasurement(f"{what}: {error}", reason="bad_timestamp") from None


def _timestamp_error(what: str, value: object, message: str) -> InvalidMeasurement:
    return InvalidMeasurement(f"{what}: {value!r:.80} {message}", reason="bad_timestamp")
