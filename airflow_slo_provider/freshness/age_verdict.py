"""Compute the freshness verdict of a timestamp. Pure functions: the current time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from airflow_slo_provider.core.timestamps import in_utc
from airflow_slo_provider.freshness.limits import CLOCK_TOLERANCE, check_limits
from airflow_slo_provider.results import Verdict


class Reason(StrEnum):
    """The reason of a freshness verdict."""

    FRESH = "fresh"
    AGEING = "ageing"
    STALE = "stale"
    UNKNOWN = "unknown"
    CLOCK_SKEW = "clock_skew"


@dataclass(frozen=True)
class Freshness:
    """An age with its verdict.

    :param age: None if unknown; negative if the timestamp lies in the future by more than the tolerance
    :param verdict: ``pass`` up to the warning age, ``warn`` up to the maximum age, ``fail`` beyond it and for a timestamp in
        the future, ``unknown`` without a timestamp
    :param reason: the reason of the verdict: ``fresh``, ``ageing``, ``stale``, ``clock_skew``, ``unknown``
    """

    age: timedelta | None
    verdict: Verdict
    reason: Reason

    @property
    def fresh(self) -> bool:
        """Whether the age is within the limits; False if unknown."""
        return self.verdict in (Verdict.PASS, Verdict.WARN)


def judge(
    observed_at: datetime | None,
    now: datetime,
    max_age: timedelta,
    warn_age: timedelta | None = None,
    *,
    tolerance: timedelta = CLOCK_TOLERANCE,
) -> Freshness:
    """Judge whether data last updated at ``observed_at`` is fresh at ``now``.

    An age of exactly ``max_age`` is still fresh; an age of exactly ``warn_age`` does not warn yet.

    :param observed_at: aware datetime; None if unknown
    :param now: aware datetime
    :param max_age: maximum age
    :param warn_age: maximum age without a warning; None for no warning
    :param tolerance: how far ``observed_at`` may lie in the future: up to it the age is 0, beyond it ``clock_skew``
    :raises ValueError: for a naive or out-of-range datetime, and for limits that :func:`check_limits` rejects
    """
    check_limits(max_age, warn_age, tolerance)
    now = _require_aware(now, "now")
    if observed_at is None:
        return Freshness(None, Verdict.UNKNOWN, Reason.UNKNOWN)
    # Subtracted in UTC: Python subtracts two datetimes of the same zone by wall-clock time.
    age = now - _require_aware(observed_at, "observed_at")
    if age < -tolerance:
        return Freshness(age, Verdict.FAIL, Reason.CLOCK_SKEW)
    age = max(age, timedelta(0))
    if age > max_age:
        return Freshness(age, Verdict.FAIL, Reason.STALE)
    if warn_age is not None and age > warn_age:
        return Freshness(age, Verdict.WARN, Reason.AGEING)
    return Freshness(age, Verdict.PASS, Reason.FRESH)


def _require_aware(timestamp: datetime, name: str) -> datetime:
    if not isinstance(timestamp, datetime):
        raise ValueError(f"{name} {timestamp!r} is not a datetime")
    if timestamp.utcoffset() is None:
        raise ValueError(f"{name} {timestamp} has no time zone; use an aware datetime")
    try:
        return in_utc(timestamp)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None
