"""Define the interface between the monitor and the indicator sources (Prometheus, SQL, the ledger)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Protocol, runtime_checkable

from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData
from airflow_slo_provider.slo.budget.deadline import Deadline
from airflow_slo_provider.slo.model import Indicator

#: Numbers above this are not a count of events, and the sum of a few of them is beyond a float.
MAX_EVENTS = 10**300
#: Reasons of a measurement that contradicts itself. In a short window of events that are counted when they start and when they
#: end, more may end than start, which says nothing about longer windows.
CONTRADICTIONS = frozenset({"good_exceeds_total"})


def format_number(value: Fraction) -> str:
    """Format a number of any size for a message."""
    try:
        return f"{float(value):g}"
    except OverflowError:
        return "beyond 1.8e308" if value > 0 else "beyond -1.8e308"


def contradicts_itself(answer: object) -> bool:
    """Return whether an answer is a measurement with more good events than events."""
    return isinstance(answer, InvalidMeasurement) and answer.reason in CONTRADICTIONS


@dataclass(frozen=True)
class Measurement:
    """The good events and all events of a time span, or only their ratio if the source computes it itself.

    :param ratio: share of good events, within [0, 1]
    :param good: good events; None for a raw ratio
    :param total: all events; None for a raw ratio
    :param query: text of the query, for the evidence
    :param note: a remark that explains an unusual number
    :param newest: time of the newest event, if the source reports it
    """

    ratio: Fraction
    good: Fraction | None = None
    total: Fraction | None = None
    query: str = ""
    note: str = ""
    newest: datetime | None = field(default=None, compare=False)

    @classmethod
    def of_counts(cls, good: Fraction, total: Fraction, *, query: str = "") -> Measurement:
        """Create a measurement from counts.

        :param good: good events
        :param total: all events
        :param query: text of the query
        :raises InvalidMeasurement: when good exceeds total, or a count is negative
        :raises NoData: when total is 0 (reason ``no_events``)
        """
        if good < 0 or total < 0:
            raise InvalidMeasurement(f"negative count: good {format_number(good)}, total {format_number(total)}", query=query)
        if good > total:
            message = f"more good events than events: good {format_number(good)}, total {format_number(total)}; "
            message += "check that both queries select the same events"
            raise InvalidMeasurement(message, reason="good_exceeds_total", query=query)
        if total > MAX_EVENTS:
            raise InvalidMeasurement(f"{format_number(total)} is not a count of events", reason="not_a_number", query=query)
        if total == 0:
            raise NoData("no events in the window", reason="no_events", query=query)
        return cls(good / total, good, total, query)

    @classmethod
    def of_ratio(cls, ratio: Fraction, *, query: str = "") -> Measurement:
        """Create a measurement from a ratio that the source computed.

        :param ratio: share of good events
        :param query: text of the query
        :raises InvalidMeasurement: when it is outside [0, 1]; reason ``good_exceeds_total`` when it is above 1
        """
        if not 0 <= ratio <= 1:
            message = f"a ratio must lie in [0, 1], not {format_number(ratio)}"
            if ratio > 1:
                raise InvalidMeasurement(f"{message}: more good events than events", reason="good_exceeds_total", query=query)
            raise InvalidMeasurement(message, reason="ratio_out_of_range", query=query)
        return cls(ratio, query=query)


@dataclass(frozen=True)
class MeasureRequest:
    """A request to measure one indicator over one time span.

    :param indicator: the indicator
    :param start: start of the span (aware)
    :param end: end of the span, exclusive (aware)
    :param op: for a threshold metric: ``lt``, ``lte``, ``gt`` or ``gte``
    :param value: for a threshold metric: the threshold of its points
    :param resolution: for a threshold metric: distance between its points
    :param deadline: deadline of the evaluation; None for no limit
    :param split_window: longest window that is measured at once; longer ones are measured in parts by sources that count events
        over windows (Prometheus). None for no limit
    :param group: values of labels: measure only the series with these labels; empty if the queries return one series
    """

    indicator: Indicator
    start: datetime
    end: datetime
    op: str | None = None
    value: Fraction | None = None
    resolution: timedelta = timedelta(minutes=1)
    deadline: Deadline | None = field(default=None, compare=False, repr=False)
    split_window: timedelta | None = None
    group: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Slices:
    """Equal slices of a time span, oldest first; None for a slice without data.

    :param width: width of a slice
    :param start: start of the first slice
    :param last_seen: end of the last slice for which the source had data, including zero events; None if it cannot tell
    :param values: one measurement per slice
    :param query: text of the query
    """

    start: datetime
    width: timedelta
    values: tuple[Measurement | None, ...]
    query: str = ""
    last_seen: datetime | None = None


def deadline_of(requests: Sequence[MeasureRequest]) -> Deadline | None:
    """Return the deadline of requests that are answered together; they belong to one evaluation."""
    return next((request.deadline for request in requests if request.deadline is not None), None)


class IndicatorSource(Protocol):
    """A source of measurements. Errors are returned, one per request, so that one bad query does not affect the others."""

    def measure(self, requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
        """Measure each span, in order, with as few queries as possible.

        :param requests: the indicators and their spans
        :return: a measurement for each request, in order, or the error of that request
        """
        ...

    def slices(self, requests: Sequence[MeasureRequest], width: timedelta) -> list[Slices | MeasurementError]:
        """Measure each span slice by slice.

        :param requests: the indicators and their spans
        :param width: width of a slice
        :return: the slices of each request, in order, or the error of that request
        """
        ...

    def coverage(self, requests: Sequence[MeasureRequest]) -> list[Fraction | MeasurementError]:
        """Return the share of each span that holds data, within [0, 1].

        :param requests: the spans
        :return: the share of each request, in order, or the error of that request
        """
        ...


@runtime_checkable
class GroupedSource(Protocol):
    """An indicator source that measures each value of labels separately (:attr:`MeasureRequest.group`)."""

    def groups(
        self, requests: Sequence[MeasureRequest], labels: Sequence[str]
    ) -> list[list[Mapping[str, str]] | MeasurementError]:
        """Return the groups with events in each span.

        :param requests: the indicators and their spans, without a group
        :param labels: the labels that divide the events
        :return: for each request, in order, the values of the labels of each group; or the error of that request
        """
        ...
