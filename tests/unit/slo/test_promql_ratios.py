"""What both sides of a ratio must have in common, and what is known of each of them."""

from __future__ import annotations

import pytest

from airflow_slo_provider.slo.model import RatioMetric
from airflow_slo_provider.slo.promql.query_roles import counts_are_declared, read_counts, read_ratio
from airflow_slo_provider.slo.promql.reading.quantities import RefusedQuery
from tests.unit.slo.rules_builders import prometheus, threshold

W = "[{{.window}}]"
ALL = f"sum(increase(y_total{W}))"


@pytest.mark.parametrize(
    ("total", "hidden"),
    [
        (ALL, False),
        (f"{ALL} > 0", True),
        (f"{ALL} or vector(0)", True),
        (f"{ALL} unless on () maintenance", True),
        (f"increase_pure(y_total{W})", False),
    ],
)
def test_query_that_may_hide_series_is_known(total: str, hidden: bool) -> None:
    found = read_counts(None, f"sum(increase(x_total{W}))", total, counter=True, declared="pure" in total)
    assert found.queries["total"].may_hide_series is hidden


def test_total_must_give_its_events_one_weight() -> None:
    with pytest.raises(RefusedQuery, match="the total gives its events different weights"):
        read_counts(None, f"sum(increase(x_total{W}))", f"{ALL} + 0.5 * {ALL}", counter=True)


@pytest.mark.parametrize(
    ("matcher", "one"),
    [
        ('le="1"', True), ('le=~"1|1[.]0"', True), (r'le=~"(1|1\\.0)"', True), ('le=~"0[.]5|5e-1"', True), ('le=~"1|2"', False),
        ('le=~"1.*"', False), ('le!~"1"', False), ('le!="1"', False), ('job="1"', False),
    ],
)  # fmt: skip
def test_events_of_a_histogram_are_those_of_one_bucket(matcher: str, one: bool) -> None:
    good, total = f"sum(rate(h_bucket{{{matcher}}}{W}))", f"sum(rate(h_count{W}))"
    if one:
        assert read_counts(good, None, total, counter=True).counts
    else:
        with pytest.raises(RefusedQuery, match="every event is in several buckets of h_bucket"):
            read_counts(good, None, total, counter=True)


def test_scaled_counts_must_both_be_per_second() -> None:
    bad = f"60 * sum(rate(x_total{W}))"
    assert not read_counts(None, bad, f"60 * sum(rate(y_total{W}))", counter=True).counts
    with pytest.raises(RefusedQuery, match=r"one side is per second.*; write increase\(\) in both"):
        read_counts(None, bad, f"60 * {ALL}", counter=True)


@pytest.mark.parametrize("query", [f"avg_over_time(down{W})", f"1 - avg_over_time(up{W})"])
def test_average_of_0_and_1_is_a_ratio(query: str) -> None:
    assert not read_ratio(query, failure=True).counts


@pytest.mark.parametrize(
    ("bad", "declares", "declared"),
    [
        (f"sum(increase_pure(x{W}))", True, True),
        (f"sum(increase_pure(x{W}))", False, False),
        (f"sum(increase(x{W}))", True, False),
        (f"avg(increase(x{W}))", True, False),
        ("sum(increase_pure(x[5m]))", True, False),
    ],
)
def test_counts_are_declared_only_where_they_cannot_be_read(bad: str, declares: bool, declared: bool) -> None:
    metric = RatioMetric(bad=prometheus(bad), total=prometheus(ALL), declares_events=declares)
    assert counts_are_declared(metric) is declared
    assert not counts_are_declared(threshold(bad))
