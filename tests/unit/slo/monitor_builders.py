"""SLOs over a source that holds its events in memory, and answers exactly what they say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import MeasurementError, NoData
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest, Slices
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.model import (
    SLO,
    BudgetingMethod,
    Indicator,
    MetricSource,
    Objective,
    Options,
    RatioMetric,
    TimeWindow,
)
from airflow_slo_provider.slo.policy.error_budget_policy import ErrorBudgetPolicy

AT = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
#: One event group: how long before AT, good events, bad events.
Events = list[tuple[timedelta, int, int]]


class MemorySource:
    """Implements IndicatorSource over lists of events, and counts its queries.

    :param events: events by the query of the total, or by the value of the group; or the error to answer with
    """

    def __init__(self, **events: Events | MeasurementError) -> None:
        self.events = events
        self.calls: list[tuple[str, int]] = []
        self.coverages: dict[str, Fraction | MeasurementError] = {}

    def measure(self, requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
        self.calls.append(("measure", len(requests)))
        return [self._one(request, request.start, request.end) for request in requests]

    def slices(self, requests: Sequence[MeasureRequest], width: timedelta) -> list[Slices | MeasurementError]:
        self.calls.append(("slices", len(requests)))
        return [self._slices(request, width) for request in requests]

    def coverage(self, requests: Sequence[MeasureRequest]) -> list[Fraction | MeasurementError]:
        self.calls.append(("coverage", len(requests)))
        return [self.coverages.get(_name(request), Fraction(1)) for request in requests]

    def _slices(self, request: MeasureRequest, width: timedelta) -> Slices | MeasurementError:
        events = self.events[_name(request)]
        if isinstance(events, MeasurementError):
            return events
        values = []
        for number in range((request.end - request.start) // width):
            start = request.start + number * width
            found = self._one(request, start, start + width)
            values.append(None if isinstance(found, MeasurementError) else found)
        return Slices(request.start, width, tuple(values), "slices")

    def _one(self, request: MeasureRequest, start: datetime, end: datetime) -> Measurement | MeasurementError:
        events = self.events[_name(request)]
        if isinstance(events, MeasurementError):
            return events
        inside = [(good, bad) for ago, good, bad in events if start <= AT - ago < end]
        good, bad = (Fraction(sum(pair[i] for pair in inside)) for i in (0, 1))
        try:
            return Measurement.of_counts(good, good + bad, query=_name(request))
        except NoData as error:
            return error


def _name(request: MeasureRequest) -> str:
    return next(iter(request.group.values()), "") or request.indicator.metric.sources[0].query


def slo(name: str = "api", *, target: str = "0.99", window: str = "30d", kind: str = "SQL", **fields: Any) -> SLO:
    source = MetricSource(kind, None, name)
    objective = {key: fields.pop(key) for key in ("time_slice_target", "time_slice_window") if key in fields}
    options = {
        key: fields.pop(key) for key in list(fields) if key in Options.__dataclass_fields__
    }  # e.g. min_events=..., tier=...
    return SLO(
        name=name,
        service="shop",
        indicator=fields.pop("indicator", Indicator(name, RatioMetric(good=source, total=source))),
        window=fields.pop("time_window", None) or TimeWindow(parse_duration(window)),
        method=fields.pop("method", BudgetingMethod.OCCURRENCES),
        objectives=fields.pop("objectives", (Objective(Fraction(target), **objective),)),
        options=Options(**options),
        **fields,
    )


def catalog(*slos: SLO, policies: Sequence[ErrorBudgetPolicy] = ()) -> SLOCatalog:
    return SLOCatalog(slos, policies={policy.name: policy for policy in policies})


def steady(bad_of_100: int, *, days: int = 30, until: timedelta = timedelta(0)) -> Events:
    """A hundred events an hour."""
    hours = [timedelta(hours=h, minutes=30) for h in range(days * 24)]
    return [(ago, 100 - bad_of_100, bad_of_100) for ago in hours if ago >= until]
