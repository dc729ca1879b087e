"""Queries of threshold metrics: every point is judged, and none by its best series only."""

from __future__ import annotations

import pytest

from airflow_slo_provider.slo.promql.reading.quantities import RefusedQuery
from airflow_slo_provider.slo.promql.threshold_queries import check_threshold_query


@pytest.mark.parametrize(
    ("query", "operator"),
    [
        ("max(latency_p99)", "lte"),
        ("max(latency_p99)", "lt"),
        ("min(accuracy)", "gte"),
        ("sum(up)", "gte"),
        ("avg(up)", "gt"),
        ("sum(rate(errors_total[5m])) / (sum(rate(requests_total[5m])) > 0)", "lte"),
        ("1 - min(accuracy)", "lte"),
        ("time() - max(last_success_timestamp)", "lte"),
        ("max_over_time(lag[5m])", "lte"),
        ("min_over_time(up[5m])", "gte"),
        ("count(up == bool 1)", "gte"),
        ("max(lag) < bool 100", "gte"),
        ("clamp_min(latency_p99, 0)", "lte"),
        ("histogram_quantile(0.99, sum by (le) (rate(l_bucket[5m])))", "lte"),
        ("max(l) or max(m)", "lte"),
        ("max(up)", None),
        ("quantile(0.9, l)", "lte"),
        ("histogram_fraction(0.25, Inf, rate(l[5m]))", "lte"),
        ("histogram_fraction(0, 0.25, rate(l[5m]))", "gte"),
        ("sum(e) * 100 / sum(r)", "lte"),
    ],
)
def test_query_that_judges_every_point_is_accepted(query: str, operator: str | None) -> None:
    check_threshold_query(query, operator)


@pytest.mark.parametrize(
    ("query", "operator", "reason", "text"),
    [
        ("count(up == 1)", "gte", "mixed_units", "`==` removes points"),
        ("count(up == 1)", None, "mixed_units", "`==` removes points"),
        ("max(l) > 0", "lte", "mixed_units", "`>` removes points"),
        ("max(l > 0)", "lte", "mixed_units", "`>` removes points"),
        ("max(l) and on () up", "lte", "mixed_units", "`and` removes points"),
        ("max(l) unless on () maintenance", "lte", "mixed_units", "`unless` removes points"),
        ("(sum(e) > 0) / sum(r)", "lte", "mixed_units", "`>` removes points"),
        ("min(latency_p99)", "lte", "mixed_units", "min() shows the best value where small values are good; write max()"),
        ("min(latency_p99)", "lt", "mixed_units", "min() shows the best value"),
        ("max(accuracy)", "gte", "mixed_units", "max() shows the best value where large values are good; write min(), or sum()"),
        ("max(accuracy)", "gt", "mixed_units", "max() shows the best value"),
        ("bottomk(1, l)", "lte", "mixed_units", "bottomk() shows the best value"),
        ("topk(1, accuracy)", "gte", "mixed_units", "topk() shows the best value"),
        ("min_over_time(l[5m])", "lte", "mixed_units", "min_over_time() shows the best value"),
        ("max_over_time(up[5m])", "gte", "mixed_units", "max_over_time() shows the best value"),
        ("clamp_max(l, 0.5)", "lte", "mixed_units", "clamp_max() shows the best value"),
        ("clamp_min(accuracy, 0.9)", "gte", "mixed_units", "clamp_min() shows the best value"),
        ("clamp(l, 0, 0.5)", "lte", "mixed_units", "clamp() shows the best value"),
        ("1 - max(accuracy)", "lte", "mixed_units", "max() shows the best value"),
        ("sum(e) / max(r)", "lte", "mixed_units", "max() shows the best value"),
        ("min(lag) < bool 100", "gte", "mixed_units", "min() shows the best value"),
        ("100 > bool min(lag)", "gte", "mixed_units", "min() shows the best value"),
        ("quantile(0.1, l)", "lte", "mixed_units", "quantile() shows the best value"),
        ("quantile(0.9, accuracy)", "gte", "mixed_units", "quantile() shows the best value"),
        ("histogram_quantile(0.1, sum by (le) (rate(l_bucket[5m])))", "lte", "mixed_units", "histogram_quantile() shows"),
        ("histogram_fraction(0.25, 10, rate(l[5m]))", "lte", "mixed_units", "the bucket up to 10 does not hold the slowest"),
        ("floor(max(l))", "lte", "mixed_units", "floor changes the value"),
        ("max(l) % 5", "lte", "mixed_units", "% changes the value"),
        ("max(l) ^ 0", "lte", "mixed_units", "^ changes the value"),
        ("max(l) * 0", "lte", "mixed_units", "always 0"),
        ("max(l @ 1700000000)", "lte", "wrong_window", "@ 1700000000 fixes the query to one time"),
        ("max_over_time(l[5m:1m] @ end())", "lte", "wrong_window", "fixes the query to one time"),
        ("max(l) - max(l)", "lte", "mixed_units", "subtracted from itself"),
        ("max(l) or vector(0)", "lte", "hidden_absence", "may return a number where there is no series"),
        ("max(l) or sum(up)", "lte", "hidden_absence", "both sides of `or`"),
        ("max(l", "lte", "not_understood", "the query cannot be read"),
    ],
)
def test_query_that_leaves_points_out_is_refused(query: str, operator: str | None, reason: str, text: str) -> None:
    with pytest.raises(RefusedQuery) as caught:
        check_threshold_query(query, operator)
    assert (caught.value.reason, text in str(caught.value)) == (reason, True), str(caught.value)
