"""What is measured on a real server, against histories whose every window is known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.exceptions import NoData
from airflow_slo_provider.indicators.prometheus.client import PrometheusClient
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.indicator_source import Measurement, Slices
from tests.services import histories
from tests.services.histories import END, SERVICES, WINDOWS, history
from tests.unit.indicators.prometheus_requests import availability, ratio, request_over

MONTH, MINUTE = timedelta(days=30), timedelta(minutes=1)


@pytest.fixture
def source(prometheus_history: str) -> Iterator[PrometheusSource]:
    client = PrometheusClient(prometheus_history)
    yield PrometheusSource(client)
    client.close()


@pytest.mark.parametrize(("bad", "function"), [(False, "increase"), (True, "rate")])
def test_windows_of_all_services_are_exact(source: PrometheusSource, bad: bool, function: str) -> None:
    cases = [(service, window) for service in SERVICES for window in WINDOWS.values()]
    found = source.measure([request_over(availability(s, bad=bad, function=function), END, w) for s, w in cases])
    for (service, window), measured in zip(cases, found, strict=True):
        past = history(service)
        good, total = past.truth(window)
        if total == 0:
            assert isinstance(measured, NoData), (service, window, measured)
            assert measured.reason == "no_events"
            continue
        assert isinstance(measured, Measurement), (service, window, measured)
        assert measured.good is not None
        assert measured.total is not None
        lost = past.lost(window)
        assert total - lost <= measured.total <= total, (service, window)
        assert good - lost <= measured.good <= good, (service, window)
        if service != "restart":
            assert lost == 0
            assert measured.ratio == Fraction(good, total)


def test_restart_loses_only_unscraped_events(source: PrometheusSource) -> None:
    (measured,) = source.measure([request_over(availability("restart"), END, MONTH)])
    assert isinstance(measured, Measurement)
    assert measured.total == history("restart").truth(MONTH)[1] - history("restart").lost(MONTH)


def test_windows_in_the_past_are_exact(source: PrometheusSource) -> None:
    for ago in (timedelta(days=10), timedelta(days=1, minutes=7)):
        for service in ("incident", "diurnal", "low_traffic"):
            (measured,) = source.measure([request_over(availability(service), END - ago, timedelta(days=3))])
            assert isinstance(measured, Measurement)
            assert (measured.good, measured.total) == history(service).truth(timedelta(days=3), END - ago)


@pytest.mark.parametrize("service", ["steady", "outage", "diurnal", "low_traffic"])
def test_minute_slices_of_a_month_are_exact(source: PrometheusSource, service: str) -> None:
    started = time.process_time()
    (found,) = source.slices([request_over(availability(service), END, MONTH)], MINUTE)
    seconds = time.process_time() - started  # of this process alone: what else the machine does must not fail a test
    assert isinstance(found, Slices)
    assert (found.start, found.width, len(found.values)) == (END - MONTH, MINUTE, 43_200)
    past = history(service)
    for index, slice_ in enumerate(found.values):
        minute = index + 1
        # A counter grows between two samples: the first minute after a gap has only one.
        known = minute not in past.silent and minute - 1 not in past.silent
        good, total = past.good[minute], past.good[minute] + past.bad[minute]
        if known and total:
            assert slice_ is not None, minute
            assert (slice_.good, slice_.total) == (good, total), minute
        else:
            assert slice_ is None, minute
    assert seconds < 2, "a month of minutes takes too long"


def test_slices_without_failures_need_no_series_of_failures(source: PrometheusSource) -> None:
    (found,) = source.slices([request_over(availability("flawless", bad=True), END, timedelta(days=1))], timedelta(minutes=5))
    assert isinstance(found, Slices)
    assert {slice_ and slice_.ratio for slice_ in found.values} == {Fraction(1)}


def test_partial_slice_at_the_end_is_left_out(source: PrometheusSource) -> None:
    (found,) = source.slices([request_over(availability("steady"), END, timedelta(minutes=64))], timedelta(minutes=10))
    assert isinstance(found, Slices)
    assert (found.start, len(found.values)) == (END - timedelta(minutes=64), 6)


def test_coverage_detects_short_history_and_outage(source: PrometheusSource) -> None:
    cases = {
        ("steady", "30d"): Fraction(1),
        ("quiet", "5m"): Fraction(1),  # nobody calls it, and that is known
        ("young", "30d"): Fraction(6, 30),
        ("young", "3d"): Fraction(1),
        ("outage", "1d"): Fraction(20, 24),
    }
    found = source.coverage([request_over(availability(service), END, WINDOWS[window]) for service, window in cases])
    for (case, expected), share in zip(cases.items(), found, strict=True):
        assert isinstance(share, Fraction), (case, share)
        assert abs(share - expected) <= Fraction(2, 100), (case, float(share))


def test_coverage_of_other_query_forms_is_measured(source: PrometheusSource) -> None:
    tail = '{service="young"}[{{.window}}]))'
    count = f"sum(increase(http_requests_total{tail} + vector(0)"
    sums = ratio(good=count, total=count)
    raw = ratio(raw=f"sum(increase(http_requests_total{tail} / sum(increase(http_requests_total{tail}", raw_type="success")
    for indicator in (sums, raw):
        (share,) = source.coverage([request_over(indicator, END, MONTH)])
        assert isinstance(share, Fraction), share
        assert abs(share - Fraction(6, 30)) <= Fraction(2, 100), float(share)


def test_hundred_windows_use_few_queries(prometheus_history: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = PrometheusClient(prometheus_history)
    asked: list[str] = []
    instant = client.instant
    monkeypatch.setattr(client, "instant", lambda query, at: asked.append(query) or instant(query, at))
    PrometheusSource(client).measure([request_over(availability(s), END, w) for s in SERVICES for w in WINDOWS.values()])
    assert len(asked) == len(WINDOWS)
    assert all(query.startswith("sum by (code,service) (increase(") for query in asked)


def test_histories_have_the_described_events() -> None:
    assert histories.history("steady").truth(MONTH) == (43_156_800, 43_200_000)
    assert histories.history("incident").truth(timedelta(days=3))[0] == histories.history("incident").truth(timedelta(days=3))[1]
    assert histories.history("low_traffic").truth(timedelta(hours=1)) == (9, 10)
