"""How the monitor asks for numbers. Indicator sources (Prometheus, SQL, the ledger) implement this and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Protocol

from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData
from airflow_slo_provider.slo.budget.deadline import Deadline
from airflow_slo_provider.slo.model import Indicator

#: More than this is no count of events, and no float any more once a few of them are added up.
MOST_EVENTS = 10**300


def shown(value: Fraction) -> str:
    """Write a number for a message, whatever its size."""
    try:
        return f"{float(value):g}"
    except OverflowError:
        return "beyond 1.8e308" if value > 0 else "beyond -1.8e308"


@dataclass(frozen=True)
class Measurement:
    """The good and all events of a span of time, or only their ratio where the source computes it itself.

    :param ratio: share of good, within [0, 1]
    :param good: good events; None for a raw ratio
    :param total: all events; None for a raw ratio
    :param query: what was asked, for the evidence
    :param note: what is odd about it, for whoever wonders at the number
    :param newest: when the newest event happened, where the source says it
    """

    ratio: Fraction
    good: Fraction | None = None
    total: Fraction | None = None
    query: str = ""
    note: str = ""
    newest: datetime | None = field(default=None, compare=False)

    @classmethod
    def of_counts(cls, good: Fraction, total: Fraction, *, query: str = "") -> Measurement:
        """Make a measurement from counts.

        :raises InvalidMeasurement: when good exceeds total, or a count is negative
        :raises NoData: when total is 0 (reason ``no_events``)
        """
        if good < 0 or total < 0:
            raise InvalidMeasurement(f"negative count: good {shown(good)}, total {shown(total)}", query=query)
        if good > total:
            raise InvalidMeasurement(
                f"more good events than events: good {shown(good)}, total {shown(total)}; "
                "check that both queries select the same events",
                reason="good_exceeds_total",
                query=query,
            )
        if total > MOST_EVENTS:
            raise InvalidMeasurement(f"{shown(total)} events are no count of events", reason="not_a_number", query=query)
        if total == 0:
            raise NoData("no events in the window", reason="no_events", query=query)
        return cls(good / total, good, total, query)

    @classmethod
    def of_ratio(cls, ratio: Fraction, *, query: str = "") -> Measurement:
        """Make a measurement from a ratio that the source computed.

        :raises InvalidMeasurement: when it is outside [0, 1]
        """
        if not 0 <= ratio <= 1:
            raise InvalidMeasurement(f"a ratio must lie in [0, 1], not {shown(ratio)}", reason="ratio_out_of_range", query=query)
        return cls(ratio, query=query)


@dataclass(frozen=True)
class MeasureRequest:
    """One span of one indicator.

    :param indicator: what to measure
    :param start: start of the span (aware)
    :param end: end of the span, exclusive (aware)
    :param op: for a threshold metric: ``lt``, ``lte``, ``gt`` or ``gte``
    :param value: for a threshold metric: what its points are held against
    :param resolution: for a threshold metric: distance between points
    :param deadline: until when the evaluation that this belongs to may ask; no limit where there is none
    """

    indicator: Indicator
    start: datetime
    end: datetime
    op: str | None = None
    value: Fraction | None = None
    resolution: timedelta = timedelta(minutes=1)
    deadline: Deadline | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Slices:
    """Equal slices of a span, oldest first; None where a slice holds no data.

    :param width: width of a slice
    :param start: start of the first slice
    :param last_seen: end of the last slice of which the source had anything, also that nothing happened; None where it cannot say
    """

    start: datetime
    width: timedelta
    values: tuple[Measurement | None, ...]
    query: str = ""
    last_seen: datetime | None = None


def deadline_of(requests: Sequence[MeasureRequest]) -> Deadline | None:
    """Return the deadline of requests that are answered together: they belong to one evaluation."""
    return next((request.deadline for request in requests if request.deadline is not None), None)


class IndicatorSource(Protocol):
    """A place that numbers come from. Errors are returned, one per request, so that one bad query spoils no other."""

    def measure(self, requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
        """Answer all requests, in order, with as few questions to the server as their form allows."""
        ...

    def slices(self, requests: Sequence[MeasureRequest], width: timedelta) -> list[Slices | MeasurementError]:
        """Answer all requests slice by slice."""
        ...

    def coverage(self, requests: Sequence[MeasureRequest]) -> list[Fraction | MeasurementError]:
        """Say which share of each span holds data at all, within [0, 1]."""
        ...
