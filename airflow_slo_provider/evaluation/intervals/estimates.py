"""A metric with its interval, and the number of rows that an interval needs."""

from __future__ import annotations

from dataclasses import dataclass

#: With fewer rows an interval by normal theory or by bootstrap is not trusted.
MIN_ROWS = 30
#: With fewer rows of the rarer class the interval of a curve is not trusted: at 5 it misses three times as often as stated.
MIN_OF_CLASS = 10


def too_few(n: int, rarer: int | None, min_rows: int) -> str:
    """Return what is too few for an interval by normal theory or by bootstrap; an empty text if there is enough.

    :param n: number of rows or groups
    :param rarer: rows or groups of the rarer class, for metrics computed from pairs of a positive and a negative
    """
    if n < min_rows:
        return f"{n} rows or groups are too few for an interval: {min_rows} are needed"
    least = min(MIN_OF_CLASS, min_rows)
    if rarer is not None and rarer < least:
        return f"{rarer} rows or groups of the rarer class are too few for an interval: {least} are needed"
    return ""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric on a golden set with its confidence interval.

    :param metric: name of the metric
    :param value: the metric; None if it is undefined (then ``status`` is not ``ok``)
    :param low: lower end of the interval
    :param high: upper end of the interval
    :param n: number of independent units: rows, or groups if there are groups
    :param confidence: level of the interval
    :param method: how the interval was made: ``wilson``, ``delong``, ``bootstrap``, ``exact``; ``none`` if there is no interval
    :param status: ``ok``, ``insufficient_data`` (one class, no rows, ...) or ``invalid`` (NaN among the predictions, ...)
    :param reason: why there is no value, or what the value leaves out
    :param excluded: number of units left out, e.g. queries without a relevant item
    :param higher_is_better: whether a greater value is better
    :param rarer: rows or groups of the rarer class, for metrics computed from pairs of a positive and a negative
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    confidence: float = 0.95
    method: str = "none"
    status: str = "ok"
    reason: str = ""
    excluded: int = 0
    higher_is_better: bool = True
    rarer: int | None = None
