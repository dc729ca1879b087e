"""A metric with its interval, and the number of rows that an interval needs."""

from __future__ import annotations

from dataclasses import dataclass

#: Rows below which an interval by normal theory or by bootstrap is not trusted.
MIN_ROWS = 30
#: Rows of the rarer class below which the interval of a curve is not trusted: at 5 it is wrong three times as often as it says.
MIN_OF_CLASS = 10


def too_few(n: int, rarer: int | None, min_rows: int) -> str:
    """Say what there is too little of for an interval by normal theory or by bootstrap; nothing where there is enough.

    :param n: rows or groups
    :param rarer: rows or groups of the rarer class, for metrics that are made of pairs of a positive and a negative
    """
    if n < min_rows:
        return f"{n} rows or groups are too few for an interval: {min_rows} are needed"
    least = min(MIN_OF_CLASS, min_rows)
    if rarer is not None and rarer < least:
        return f"{rarer} rows or groups of the rarer class are too few for an interval: {least} are needed"
    return ""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A metric on a golden set, and how sure it is.

    :param metric: its name
    :param value: the metric, None where it is undefined (``status`` is not ``ok`` then)
    :param low: lower end of the interval
    :param high: upper end of the interval
    :param n: independent units behind it: rows, or groups where there are some
    :param confidence: of the interval
    :param method: how the interval was made: ``wilson``, ``delong``, ``bootstrap``, ``exact``
    :param status: ``ok``, ``insufficient_data`` (one class, no rows, ...) or ``invalid`` (NaN among the predictions, ...)
    :param reason: why there is no number, or what the number leaves out
    :param excluded: units that cannot count, e.g. queries without a relevant item
    :param rarer: rows or groups of the rarer class, for metrics made of pairs of a positive and a negative
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
