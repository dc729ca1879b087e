"""Empty and wrong answers of single queries, on a real server: none of them is a pass."""

from __future__ import annotations

from fractions import Fraction

import pytest

from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData, QueryError
from airflow_slo_provider.indicators.prometheus.source import PrometheusSource
from airflow_slo_provider.slo.budget.indicator_source import Measurement, Slices
from airflow_slo_provider.slo.model import Indicator
from tests.services.prometheus_forms import END, HOUR, MINUTE, measured, one, refused
from tests.unit.indicators.prometheus_requests import availability, ratio, request_over, threshold


def test_missing_total_is_no_data(forms: PrometheusSource) -> None:
    for indicator in (
        availability("ghost"),
        availability("ghost", bad=True),
        ratio(raw="sum(increase(ghost_total[{{.window}}])) / sum(increase(ghost_total[{{.window}}]))", raw_type="success"),
    ):
        error = refused(forms, indicator)
        assert (type(error), error.reason, error.transient) == (NoData, "empty", False)


def test_missing_good_with_events_is_all_bad(forms: PrometheusSource) -> None:
    found = measured(
        forms,
        ratio(
            good='sum(increase(http_requests_total{service="a",code="20O"}[{{.window}}]))',
            total='sum(increase(http_requests_total{service="a"}[{{.window}}]))',
        ),
    )
    assert (found.good, found.ratio) == (0, 0)


def test_missing_bad_counts_as_zero_if_its_metric_exists(forms: PrometheusSource) -> None:
    assert measured(forms, availability("fine", bad=True)).ratio == 1
    # A metric of its own, whose last sample is two hours old: found in the window, not at its end.
    indicator = ratio(
        bad='sum(increase(failures_total{service="fine"}[{{.window}}]))',
        total='sum(increase(http_requests_total{service="fine"}[{{.window}}]))',
    )
    found = one(forms, indicator, 3 * HOUR)
    assert isinstance(found, Measurement)
    assert found.ratio == 1
    assert refused(forms, indicator).reason == "bad_series_missing", "in the last hour the metric has no series at all"


@pytest.mark.parametrize(
    "bad",
    [
        'sum(increase(http_request_total{service="fine",code=~"5.."}[{{.window}}]))',  # metric
        'sum(increase(http_requests_total{service="fine",status=~"5.."}[{{.window}}]))',  # label
        'sum(increase(http_requests_total{service="fien",code=~"5.."}[{{.window}}]))',  # value that the total pins otherwise
        'sum(increase(http_requests_total{service=~"fien.*",code=~"5.."}[{{.window}}]))',  # the same as a pattern
        'sum(increase(http_requests_total{service!="fine",code=~"7.."}[{{.window}}]))',  # the same turned round
        'sum(increase(http_requests_total{service="fine",eror!=""}[{{.window}}]))',  # a label that must be there
        'sum(increase(http_requests_total{service="fine",eror!~"|ok"}[{{.window}}]))',  # the same as a pattern
        'sum(increase(http_requests_total{service="fine"}[{{.window}}]))'  # one of two that does not exist empties the whole
        ' - sum(increase(http_requests_total{service="fine",code="404"}[{{.window}}]))',
        'sum(increase(http_requests_total{service=~"(?i)FINE",code=~"5.."}[{{.window}}]))',  # a pattern that may mean anything
        'sum(increase(http_requests_total{service="fine",status=~"(?i)5.."}[{{.window}}]))',  # not mergeable
        'sum(increase(http_request_total{service="fine",code=~"5.."}[{{.window}}])) + 0',  # not recognised
        'sum(increase({__name__="http_request_total",service="fine",code=~"5.."}[{{.window}}]))',  # the name as a matcher
    ],
)
def test_missing_bad_with_a_typo_is_no_data(forms: PrometheusSource, bad: str) -> None:
    indicator = ratio(bad=bad, total='sum(increase(http_requests_total{service="fine"}[{{.window}}]))')
    error = refused(forms, indicator)
    assert (type(error), error.reason) == (NoData, "bad_series_missing")
    assert "typo" in str(error)
    assert "must be initialised with 0" in str(error)
    (sliced,) = forms.slices([request_over(indicator, END, HOUR)], 5 * MINUTE)
    assert isinstance(sliced, NoData)
    assert sliced.reason == "bad_series_missing"


@pytest.mark.parametrize("selector", ['http_requests_total{service=~"fi.*",', '{__name__="http_requests_total",service="fine",'])
def test_missing_bad_with_a_matching_selector_counts_as_zero(forms: PrometheusSource, selector: str) -> None:
    bad = f'sum(increase({selector}code=~"5.."}}[{{{{.window}}}}]))'
    assert measured(forms, ratio(bad=bad, total='sum(increase(http_requests_total{service="fine"}[{{.window}}]))')).ratio == 1


@pytest.mark.parametrize("service", ["other", "without a failure"])
def test_slices_with_missing_bad_need_the_metric_in_the_last_hour(forms: PrometheusSource, service: str) -> None:
    """Its exporter went away two hours before the end; that of the requests is there."""
    total = 'sum(increase(http_requests_total{code="200"}[{{.window}}]))'
    bad = f'sum(increase(failures_total{{kind!="none",service="{service}"}}[{{{{.window}}}}]))'
    (found,) = forms.slices([request_over(ratio(bad=bad, total=total), END, 3 * HOUR)], 5 * MINUTE)
    assert isinstance(found, NoData) and found.reason == "bad_series_missing"
    (found,) = forms.slices([request_over(ratio(bad=bad, total=total), END - HOUR - 30 * MINUTE, 90 * MINUTE)], 5 * MINUTE)
    assert isinstance(found, Slices), "half an hour ago there was one"
    assert all(found.values)


def test_zero_of_vector_is_not_data(forms: PrometheusSource) -> None:
    bad = 'sum(increase(failures_total{kind="crash"}[{{.window}}])) or vector(0)'
    total = "sum(increase(failures_total[{{.window}}])) or vector(0)"
    error = refused(forms, ratio(bad=bad, total=total))
    assert (type(error), error.reason) == (NoData, "empty") and "no such series in the window" in str(error)
    assert isinstance(one(forms, ratio(bad=bad, total=total), 3 * HOUR), Measurement)
    (found,) = forms.slices([request_over(ratio(bad=bad, total=total), END, 3 * HOUR)], 5 * MINUTE)
    assert isinstance(found, Slices)
    assert found.last_seen is not None and found.last_seen <= END - 2 * HOUR + 5 * MINUTE


@pytest.mark.parametrize(
    "indicator",
    [
        ratio(raw="sum(increase(ghost_total[{{.window}}])) / 1 or vector(1)", raw_type="success"),
        threshold("max(ghost) or vector(0)"),
    ],
)
def test_value_of_vector_is_refused(forms: PrometheusSource, indicator: Indicator) -> None:
    limits = () if indicator.metric.__class__.__name__ == "RatioMetric" else ("lt", Fraction(1))
    error = refused(forms, indicator, *limits)
    assert (type(error), error.reason, error.transient) == (QueryError, "hidden_absence", False)


def test_zero_total_is_no_events(forms: PrometheusSource) -> None:
    count = 'sum(increase(http_requests_total{service="fine"}[{{.window}}]))'
    total = f"{count} - " + count.replace("{", '{code!="",', 1)
    error = refused(forms, ratio(bad="sum(increase(ghost_total[{{.window}}]))", total=total))
    assert error.reason == "no_events"
    error = refused(forms, ratio(raw=f"({total}) / ({total})", raw_type="failure"))
    assert (type(error), error.reason) == (NoData, "no_events")


def test_slices_without_any_total_are_no_data(forms: PrometheusSource) -> None:
    (found,) = forms.slices([request_over(availability("ghost"), END, HOUR)], 5 * MINUTE)
    assert isinstance(found, NoData)
    assert found.reason == "empty"


def test_several_series_error_shows_two_of_them(forms: PrometheusSource) -> None:
    total = "increase(http_requests_total[{{.window}}])"
    error = refused(forms, ratio(good=total, total=total))
    assert (type(error), error.reason, error.transient) == (QueryError, "several_series", False)
    assert 'code="200"' in str(error)
    assert refused(forms, threshold("latency"), "lt", Fraction(1)).reason == "several_series"


@pytest.mark.parametrize(
    ("kind", "reason"), [("nan", "not_a_number"), ("inf", "not_a_number"), ("negative", "invalid_measurement")]
)
def test_values_that_are_not_counts_are_refused(forms: PrometheusSource, kind: str, reason: str) -> None:
    text = f'strange{{kind="{kind}"}}'
    for indicator in (ratio(good=text, total=text, counter=False), ratio(good="rows", total=text, counter=False)):
        error = refused(forms, indicator)
        assert (type(error), error.reason) == (InvalidMeasurement, reason)


def test_more_good_or_bad_than_total_is_refused(forms: PrometheusSource) -> None:
    for role in ("good", "bad"):
        error = refused(forms, ratio(**{role: "rows", "total": 'rows{state="ok"}'}, counter=False))
        assert (type(error), error.reason) == (InvalidMeasurement, f"{role}_exceeds_total")


def test_invalid_query_does_not_affect_other_requests(forms: PrometheusSource) -> None:
    def sums(service: str, tail: str = "") -> Indicator:
        return ratio(
            good=f'sum(increase(http_requests_total{{service="{service}",code="200"}}[{{{{.window}}}}])) + vector(0){tail}',
            total=f'sum(increase(http_requests_total{{service="{service}"}}[{{{{.window}}}}])) + vector(0)',
        )

    indicators = [
        sums("a"),
        sums("b", " +"),
        sums("b", ' + label_replace(vector(0), "group", "$1", "a", "(")'),
        sums("b", ")"),
        sums("b"),
        availability("a"),
    ]
    found = forms.measure([request_over(indicator, END, HOUR) for indicator in indicators])
    assert [isinstance(item, Measurement) for item in found] == [True, False, False, False, True, True]
    reasons = [item.reason for item in found if isinstance(item, MeasurementError)]
    assert reasons == ["not_understood", "query_failed", "not_understood"]
    assert all("label_replace" in str(item) for item in found[2:3])
    assert all("the query cannot be read" in str(item) for item in (found[1], found[3]))
