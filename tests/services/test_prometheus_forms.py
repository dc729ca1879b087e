"""Every form of query on a real server, and what is the same however queries travel."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.exceptions import InvalidMeasurement, NoData, QueryError
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.indicator_source import Measurement, Slices
from tests.services.prometheus_forms import END, HOUR, MINUTE, measured, refused
from tests.unit.indicators.prometheus_requests import availability, ratio, request_over, threshold


def test_counter_without_window_is_read_as_increase(forms: PrometheusSource) -> None:
    found = measured(
        forms, ratio(good='http_requests_total{service="a",code="200"}', total='sum(http_requests_total{service="a"})')
    )
    assert (found.good, found.total) == (60 * 200, 60 * (200 + 404 + 500))


def test_count_without_window_is_summed_over_the_window(forms: PrometheusSource) -> None:
    found = measured(forms, ratio(good='rows{state="ok"}', total="rows", counter=False))
    assert (found.good, found.total) == (60 * 95, 60 * 100), "a point at the window's start belongs to the window before"


@pytest.mark.parametrize("text", ["sum(rate(http_requests_total[5m]))", "max(http_requests_total)", "vector(1)"])
def test_query_without_window_is_refused(forms: PrometheusSource, text: str) -> None:
    for indicator in (ratio(good=text, total=text), ratio(raw=text, raw_type="success")):
        error = refused(forms, indicator)
        assert (type(error), error.reason, error.transient) == (QueryError, "window_missing", False)
        assert "{{.window}}" in str(error)


def test_other_query_forms_are_sent_unchanged(forms: PrometheusSource) -> None:
    found = measured(
        forms,
        ratio(
            good='sum(increase(http_requests_total{service="a"}[{{.window}}])) '
            '- sum(increase(http_requests_total{service="a",code="500"}[{{.window}}])) # no 500',
            total='sum(increase(http_requests_total{service=~"(?i)A"}[{{.window}}]))',
        ),
    )  # fmt: skip
    assert (found.good, found.total) == (60 * 604, 60 * 1104)


def test_raw_failure_ratio_is_inverted(forms: PrometheusSource) -> None:
    total = 'sum(rate(http_requests_total{service="b"}[{{.window}}]))'
    text = f'sum(rate(http_requests_total{{service="b",code="500"}}[{{{{.window}}}}])) / {total}'
    success, failure = (measured(forms, ratio(raw=text, raw_type=kind)) for kind in ("success", "failure"))
    assert float(success.ratio) == pytest.approx(500 / 1104)
    assert failure.ratio == 1 - success.ratio
    assert (success.good, success.total) == (None, None)


def test_threshold_points_exclude_the_start_and_include_the_end(forms: PrometheusSource) -> None:
    found = measured(forms, threshold('latency{service="a"}'), "lt", Fraction(1, 2))
    # 60 points, 10 of them NaN; slow at 0, 10, 40 and 50 minutes ago (at 60 is the start; at 20 is NaN; at 30 is slow).
    assert (found.good, found.total) == (45, 50)
    slow = measured(forms, threshold('latency{service="a"}'), "gte", Fraction(9, 10))
    assert (slow.good, slow.total) == (5, 50)
    inner = measured(forms, threshold('max_over_time(latency{service="b"}[{{.window}}])'), "lte", Fraction(3, 10))
    # A range of one minute holds both of its ends in Prometheus 2, so the first sample is seen for 30 to 0 minutes ago.
    assert (inner.good, inner.total) == (31, 31)


def test_threshold_points_use_the_resolution(forms: PrometheusSource) -> None:
    end = END - timedelta(seconds=30)
    (found,) = forms.measure([request_over(threshold('latency{service="b"}'), end, timedelta(minutes=10), "lt", Fraction(1))])
    assert isinstance(found, Measurement)
    assert found.total == 10


def test_slices_of_a_threshold_metric_are_measured(forms: PrometheusSource) -> None:
    (found,) = forms.slices(
        [request_over(threshold('latency{service="a"}'), END, HOUR, "lt", Fraction(1, 2))], timedelta(minutes=10)
    )
    assert isinstance(found, Slices)
    # The slice from 30 to 20 minutes ago holds only its end: NaN at every minute from 29 to 20.
    shown = [slice_ and (int(slice_.good or 0), int(slice_.total or 0)) for slice_ in found.values]
    assert shown == [(9, 10), (9, 10), (9, 10), None, (9, 10), (9, 10)]


def test_threshold_metric_without_threshold_is_refused(forms: PrometheusSource) -> None:
    error = refused(forms, threshold("latency"))
    assert (type(error), error.reason) == (InvalidMeasurement, "no_threshold")


def test_coverage_of_a_threshold_metric_counts_its_points(forms: PrometheusSource) -> None:
    shares = forms.coverage([request_over(threshold(f'latency{{service="{name}"}}'), END, HOUR) for name in ("a", "b", "z")])
    assert shares[0] == Fraction(83, 100)
    assert Fraction(50, 100) <= shares[1] <= Fraction(52, 100)  # type: ignore[operator]
    assert shares[2] == 0


def test_merged_and_single_queries_return_the_same(forms: PrometheusSource, monkeypatch: pytest.MonkeyPatch) -> None:
    tails = [
        "", '{service="a"}', '{service="a.b"}', '{service="x|y"}', '{service=~"a.b"}', '{service=~"a|b"}', '{service!="a"}',
        '{service="a",code=~"5.."}', '{service="a.b",code!~"5.."}', '{service="x|y",code!~"4..|5.."}', '{code="404"}',
        '{service="b",zone=""}', '{service="b",zone=~".+"}', '{service="axb",code=~"[24]0.",code!="404"}',
        '{service=~"a.*",code="500"}',
    ]  # fmt: skip
    requests = [
        request_over(ratio(good=f"http_requests_total{tail}", total="http_requests_total"), END, window)
        for tail in tails
        for window in (HOUR, 17 * MINUTE, timedelta(seconds=1234))
    ]
    merged = forms.measure(requests)
    covered = forms.coverage([request_over(ratio(good="x", total=f"http_requests_total{tail}"), END, HOUR) for tail in tails])
    sliced = forms.slices(requests[::3], 5 * MINUTE)
    monkeypatch.setattr("airflow_slo_provider.indicators.prometheus.queries.mergeable", lambda count: False)
    monkeypatch.setattr("airflow_slo_provider.indicators.prometheus.data_coverage.mergeable", lambda count: False)
    monkeypatch.setattr("airflow_slo_provider.indicators.prometheus.query_batches._UNION_SIZE", 1)
    alone = forms.measure(requests)
    # The server adds floats, we add what it wrote exactly: off the samples' grid the sums differ in the last digit.
    for one_, other in zip(merged, alone, strict=True):
        assert isinstance(one_, Measurement)
        assert isinstance(other, Measurement)
        assert float(one_.ratio) == pytest.approx(float(other.ratio), rel=1e-12)
        assert one_.query == other.query
    assert [m.good for m in merged[::3]] == [m.good for m in alone[::3]]  # type: ignore[union-attr]
    assert covered == forms.coverage(
        [request_over(ratio(good="x", total=f"http_requests_total{tail}"), END, HOUR) for tail in tails]
    )
    assert sliced == forms.slices(requests[::3], 5 * MINUTE)


def test_measurement_has_queries_and_time_as_evidence(forms: PrometheusSource) -> None:
    found = measured(forms, availability("a"))
    assert found.query == (
        'good: sum(increase(http_requests_total{code!~"5..",service="a"}[1h])); '
        'total: sum(increase(http_requests_total{service="a"}[1h])); time: 1793491200'
    )


def test_results_are_in_the_order_of_the_requests(forms: PrometheusSource) -> None:
    requests = [request_over(availability(s), END - timedelta(minutes=m), HOUR) for m in (3, 0, 9) for s in ("b", "ghost", "a")]
    both = forms.measure(requests)
    for request, found in zip(requests, both, strict=True):
        (lone,) = forms.measure([request])
        assert repr(lone) == repr(found)
    assert forms.measure([]) == forms.slices([], MINUTE) == forms.coverage([]) == []


def test_empty_window_is_no_data(forms: PrometheusSource) -> None:
    (found,) = forms.measure([request_over(availability("a"), END, timedelta(0))])
    assert isinstance(found, NoData)
    (share,) = forms.coverage([request_over(availability("a"), END, timedelta(0))])
    assert isinstance(share, NoData)
    (sliced,) = forms.slices([request_over(availability("a"), END, MINUTE)], HOUR)
    assert isinstance(sliced, InvalidMeasurement)


BAD, ALL = 'http_requests_total{service="a",code=~"404|500"}', 'http_requests_total{service="a"}'


def rate(selector: str) -> str:
    return f"sum(rate({selector}[{{{{.window}}}}]))"


def increase(selector: str) -> str:
    return f"sum(increase({selector}[{{{{.window}}}}]))"


@pytest.mark.parametrize(
    "bad",
    [
        *(rate(BAD), increase(BAD), BAD, f"sum({BAD})", f"({rate(BAD)})"),
        *(f"{rate(BAD)} or vector(0)", f"{increase(BAD)} or vector(0)", f"{rate(BAD)} # why"),
        f"{rate('nothing_total')} + {rate(BAD)} or {rate(BAD)}",
    ],
)
@pytest.mark.parametrize("total", [rate(ALL), increase(ALL), ALL, f"{rate(ALL)} or vector(0)", f"({increase(ALL)})"])
def test_counts_are_events_for_every_query_form(forms: PrometheusSource, bad: str, total: str) -> None:
    found = measured(forms, ratio(bad=bad, total=total))
    assert float(found.ratio) == pytest.approx(200 / 1104), "events beside events per second would be nearly 1"
    assert float(found.total or 0) == pytest.approx(60 * 1104)


@pytest.mark.parametrize(
    ("bad", "total"),
    [(f"{rate(BAD)} * 60", increase(ALL)), (f"{rate(BAD)} * 60", ALL), (f"{rate(BAD)} + {increase(BAD)}", rate(ALL))],
)
def test_events_with_an_unknown_unit_are_refused(forms: PrometheusSource, bad: str, total: str) -> None:
    error = refused(forms, ratio(bad=bad, total=total))
    assert (type(error), error.reason, error.transient) == (QueryError, "mixed_units", False)
    assert any(text in str(error) for text in ("one side is multiplied", "are added"))


def test_rates_scaled_on_both_sides_are_unchanged(forms: PrometheusSource) -> None:
    found = measured(forms, ratio(bad=f"{rate(BAD)} * 60", total=f"{rate(ALL)} * 60"))
    assert float(found.ratio) == pytest.approx(200 / 1104)


def test_undeclared_counter_is_refused(forms: PrometheusSource) -> None:
    error = refused(forms, ratio(bad=BAD, total=ALL, counter=False))
    assert (error.reason, error.transient) == ("counter_not_declared", False)
    assert "set counter: true" in str(error)
