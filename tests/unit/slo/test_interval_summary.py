"""What happened to an SLO between two instants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.exceptions import MeasurementError, NoData, QueryError
from airflow_slo_provider.slo import SLOCatalog, load
from airflow_slo_provider.slo.budget.indicator_source import Measurement, MeasureRequest
from airflow_slo_provider.slo.budget.interval_summary import measure_burn_rate, measure_spent_budget
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from tests.unit.slo.documents import SERVICE_TEXT, SLO_TEXT, joined

END = datetime(2026, 11, 24, 5, tzinfo=UTC)


class Source:
    """A thousand events an hour, of which ``bad`` failed within the last hour."""

    def __init__(self, bad: int = 100, error: MeasurementError | None = None, counts: bool = True) -> None:
        self.bad, self.error, self.counts = bad, error, counts
        self.requests: list[MeasureRequest] = []

    def measure(self, requests: Sequence[MeasureRequest]) -> list[Measurement | MeasurementError]:
        self.requests += requests
        return [self.error or self.answer(one) for one in requests]

    def answer(self, one: MeasureRequest) -> Measurement:
        total = Fraction(int((one.end - one.start).total_seconds()), 3600) * 1000
        bad = self.bad * min(Fraction(1), total / 1000)
        if not self.counts:
            return Measurement.of_ratio(1 - bad / total)
        return Measurement.of_counts(total - bad, total)

    def slices(self, requests: Sequence[MeasureRequest], width: timedelta) -> list[MeasurementError]:
        return [QueryError("no slices") for _ in requests]

    def coverage(self, requests: Sequence[MeasureRequest]) -> list[Fraction]:
        return [Fraction(1) for _ in requests]


def catalog() -> SLOCatalog:
    return load(joined(SLO_TEXT, SERVICE_TEXT))


def sources(source: Source):
    return lambda kind, document: source


def test_measure_burn_rate_of_any_interval_is_exact() -> None:
    source = Source()
    (slo,) = catalog()
    target = slo.objectives[0].target
    rate = measure_burn_rate(catalog(), sources(source), slo.name, END - timedelta(minutes=30), END)
    assert rate.value == Fraction(1, 10) / (1 - target)
    assert (rate.good, rate.total, rate.window) == (450, 500, timedelta(minutes=30))
    assert (source.requests[0].start, source.requests[0].end) == (END - timedelta(minutes=30), END)


def test_measure_spent_budget_is_a_share_of_the_windows_budget() -> None:
    source = Source()
    (slo,) = catalog()
    (report,) = SLOMonitor(catalog(), source).evaluate(END)
    spent = measure_spent_budget(catalog(), sources(source), report, END - timedelta(hours=1), END)
    assert (spent.bad, spent.total) == (100, 1000)
    assert report.budget is not None and report.total is not None
    allowed = (1 - slo.objectives[0].target) * report.total
    assert spent.share == 100 / allowed
    window = Fraction(int(slo.window.duration.timedelta.total_seconds()), 60)
    assert spent.minutes == spent.share * (1 - slo.objectives[0].target) * window


def test_spent_budget_of_a_group_is_that_of_its_events() -> None:
    source = Source()
    (report,) = SLOMonitor(catalog(), source).evaluate(END)
    group = {"version": "v1"}
    report = replace(report, name=f'{report.name}{{version="v1"}}', slo=replace(report.slo, group=group))
    measure_spent_budget(catalog(), sources(source), report, END - timedelta(hours=1), END)
    assert source.requests[-1].group == group


def test_unmeasurable_interval_raises_error() -> None:
    (slo,) = catalog()
    for error in (NoData("nothing"), QueryError("no answer", transient=True)):
        with pytest.raises(type(error)):
            measure_burn_rate(catalog(), sources(Source(error=error)), slo.name, END - timedelta(hours=1), END)
    with pytest.raises(ValueError, match="there is no SLO 'nobody'"):
        measure_burn_rate(catalog(), sources(Source()), "nobody", END - timedelta(hours=1), END)
    both = load(joined(SLO_TEXT.rstrip() + "\n    - target: 0.5\n", SERVICE_TEXT))
    with pytest.raises(ValueError, match="has several objectives; name one of"):
        measure_burn_rate(both, sources(Source()), slo.name, END - timedelta(hours=1), END)
    (report,) = SLOMonitor(catalog(), Source(counts=False)).evaluate(END)
    with pytest.raises(NoData, match="its events are not counted"):
        measure_spent_budget(catalog(), sources(Source(counts=False)), report, END - timedelta(hours=1), END)


def test_measure_burn_rate_of_timeslices_raises_value_error() -> None:
    text = joined(SLO_TEXT, SERVICE_TEXT).replace("budgetingMethod: Occurrences", "budgetingMethod: Timeslices")
    text = text.replace("target:", "timeSliceWindow: 1m\n      timeSliceTarget: 0.9\n      target:", 1)
    sliced = load(text)
    (slo,) = sliced
    with pytest.raises(ValueError, match="counts time slices"):
        measure_burn_rate(sliced, sources(Source()), slo.name, END - timedelta(hours=1), END)
