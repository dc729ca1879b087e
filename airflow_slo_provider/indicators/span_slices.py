"""Split a time span into slices, and compute how much of it holds data. Used by sources that return single points."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from fractions import Fraction

from airflow_slo_provider.exceptions import InvalidMeasurement

#: Number of equal parts of the window in which coverage is measured.
PARTS = 100
_COMPARISONS: dict[str, Callable[..., bool]] = {
    "lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge,
}  # fmt: skip


def slice_count(start: datetime, end: datetime, width: timedelta) -> int:
    """Return how many whole slices fit into the span; a partial slice at the end has not ended yet and is left out.

    :raises InvalidMeasurement: when no slice fits
    """
    count = (end - start) // width if width > timedelta(0) else 0
    if count < 1:
        raise InvalidMeasurement(f"no slice of {width} fits between {start} and {end}", reason="bad_window")
    return count


def covered_share(times: Iterable[datetime], start: datetime, end: datetime) -> Fraction:
    """Return the share of hundredths of the window that hold at least one point.

    :param times: times of the points; those outside of the window are ignored
    :param start: start of the window
    :param end: end of the window
    :raises InvalidMeasurement: for an empty window
    """
    if start >= end:
        raise InvalidMeasurement(f"the window {start} to {end} is empty", reason="bad_window")
    length = end - start
    parts = {(time - start) * PARTS // length for time in times if start <= time < end}
    return Fraction(len(parts), PARTS)


def holds(value: Fraction, op: str | None, threshold: Fraction | None) -> bool:
    """Return whether ``value op threshold`` holds [OpenSLO v1, ``objective.op``].

    :raises InvalidMeasurement: when the objective has no op or value, or an op that OpenSLO does not define
    """
    name, limit = check_threshold(op, threshold)
    return _COMPARISONS[name](value, limit)


def check_threshold(op: str | None, threshold: Fraction | None, *, query: str | None = None) -> tuple[str, Fraction]:
    """Return the op and the value of a threshold metric's objective.

    :raises InvalidMeasurement: when one is missing, or OpenSLO does not define the op
    """
    if threshold is None or op not in _COMPARISONS:
        raise InvalidMeasurement(
            f"a threshold metric needs an objective with op (lt, lte, gt, gte) and value; got op {op!r}, value {threshold}",
            reason="no_threshold", query=query,
        )  # fmt: skip
    return op, threshold
