"""Judging an age against limits. Pure: the clock is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from airflow_slo_provider.core.timestamps import in_utc
from airflow_slo_provider.freshness.limits import CLOCK_TOLERANCE, check_limits
from airflow_slo_provider.results import Verdict


class Reason(StrEnum):
    """Why a freshness was judged as it was."""

    FRESH = "fresh"
    AGEING = "ageing"
    STALE = "stale"
    UNKNOWN = "unknown"
    CLOCK_SKEW = "clock_skew"


@dataclass(frozen=True)
class Freshness:
    """How old something is, and what that means.

    :param age: None where it is not known; negative where the timestamp lies in the future by more than the tolerance
    :param verdict: ``pass`` up to the warning age, ``warn`` up to the maximum age, ``fail`` beyond it and for a timestamp in
        the future, ``unknown`` where there is no timestamp
    :param reason: the same in one word: ``fresh``, ``ageing``, ``stale``, ``clock_skew``, ``unknown``
    """

    age: timedelta | None
    verdict: Verdict
    reason: Reason

    @property
    def fresh(self) -> bool:
        """Whether it is young enough to be used. Unknown is not."""
        return self.verdict in (Verdict.PASS, Verdict.WARN)


def judge(
    observed_at: datetime | None,
    now: datetime,
    max_age: timedelta,
    warn_age: timedelta | None = None,
    *,
    tolerance: timedelta = CLOCK_TOLERANCE,
) -> Freshness:
    """Say whether what was last seen at ``observed_at`` is fresh at ``now``.

    An age of exactly ``max_age`` is still fresh, one of exactly ``warn_age`` does not warn yet.

    :param observed_at: aware; None where nobody knows
    :param now: aware
    :param max_age: the oldest that is accepted
    :param warn_age: the oldest that is accepted without a warning
    :param tolerance: how far ``observed_at`` may lie in the future; that much counts as an age of 0, more is ``clock_skew``
    :raises ValueError: for a datetime without a time zone or beyond all years, and for limits that :func:`check_limits` refuses
    """
    check_limits(max_age, warn_age, tolerance)
    now = _aware(now, "now")
    if observed_at is None:
        return Freshness(None, Verdict.UNKNOWN, Reason.UNKNOWN)
    # Subtracted in UTC: two datetimes of the same zone would be subtracted by the clock on the wall.
    age = now - _aware(observed_at, "observed_at")
    if age < -tolerance:
        return Freshness(age, Verdict.FAIL, Reason.CLOCK_SKEW)
    age = max(age, timedelta(0))
    if age > max_age:
        return Freshness(age, Verdict.FAIL, Reason.STALE)
    if warn_age is not None and age > warn_age:
        return Freshness(age, Verdict.WARN, Reason.AGEING)
    return Freshness(age, Verdict.PASS, Reason.FRESH)


def _aware(moment: datetime, name: str) -> datetime:
    if not isinstance(moment, datetime):
        raise ValueError(f"{name} {moment!r} is no datetime")
    if moment.utcoffset() is None:
        raise ValueError(f"{name} {moment} has no time zone; use an aware datetime")
    try:
        return in_utc(moment)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None
