"""Split a time span into slices, and compute how much of it holds data. Used by sources that return single points."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from fractions import Fraction

from airflow_slo_provider.exceptions import InvalidMeasurement

#: Number of equal parts of the window in which coverage is measured.
PARTS = 100


def slice_count(start: datetime, end: datetime, width: timedelta) -> int:
    """Return how many whole slices fit into the span; a partial slice at the end has not ended yet and is left out.

    :raises InvalidMeasurement: when no slice fits
    """
    count = (end - start) // width if width > timedelta(0) else 0
    if count < 1:
        raise InvalidMeasurement(f"no slice of {width} fits between {start} and {end}", reason="bad_window")
    return count


def covered(moments: Iterable[datetime], start: datetime, end: datetime) -> Fraction:
    """Return the share of hundredths of the window that hold at least one point.

    :param moments: times of the points; those outside of the window are ignored
    :param start: start of the window
    :param end: end of the window
    :raises InvalidMeasurement: for an empty window
    """
    if start >= end:
        raise InvalidMeasurement(f"the window {start} to {end} is empty", reason="bad_window")
    length = end - start
    parts = {(moment - start) * PARTS // length for moment in moments if start <= moment < end}
    return Fraction(len(parts), PARTS)


def holds(value: Fraction, op: str | None, threshold: Fraction | None) -> bool:
    """Return whether ``value op threshold`` holds [OpenSLO v1, ``objective.op``].

    :raises InvalidMeasurement: when the objective has no op or value, or an op that OpenSLO does not define
    """
    if threshold is None or op not in ("lt", "lte", "gt", "gte"):
        raise InvalidMeasurement(
            f"a threshold metric needs an objective with op (lt, lte, gt, gte) and value; got op {op!r}, value {threshold}",
            reason="no_threshold",
        )
    return {"lt": value < threshold, "lte": value <= threshold, "gt": value > threshold, "gte": value >= threshold}[op]
