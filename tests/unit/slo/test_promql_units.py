"""What a query counts, and over which time."""

from __future__ import annotations

import pytest

from airflow_slo_provider.slo.promql.count_units import are_counts, empty_means_none, unit, window_error

W = "[{{.window}}]"


@pytest.mark.parametrize(
    ("query", "per_second"),
    [
        ("requests_total", False),
        (f"sum(increase(x_total{W}))", False),
        (f"sum(changes(restarts{W}))", False),
        (f"sum(count_over_time(x{W}))", False),
        (f"sum(increase(x_total{W}) > 0)", False),
        (f"sum(increase(x_total{W}) * on (pod) group_left () kube_pod_labels)", False),
        (f"sum(increase(x_total{W})) unless on () (max_over_time(maintenance[5m]) > 0)", False),
        (f"sum(increase(nginx:rate_limited_total{W}))", False),
        (f"sum(rate(x_total{W}))", True),
        (f'sum by (path) (rate(x_total{{code!="200"}}{W}))', True),
        (f"sum(rate(x_total{W})) or 0 * sum(rate(y_total{W}))", True),
        (f"sum(rate(x_total{W})) or sum(rate(y_total{W})) * 0", True),
        (f"histogram_count(sum(rate(h{W})))", True),
        (f"histogram_fraction(0, 0.3, sum(rate(h{W}))) * histogram_count(sum(rate(h{W})))", True),
        # A subquery counts points, whatever it looks at.
        ("sum_over_time((sum(rate(x_total[5m])) > bool 0.5)[{{.window}}:1m])", False),
        ("sum_over_time((count(x < 0.75))[{{.window}}:])", False),
        ("count_over_time(sum by (pod) (rate(x_total[5m]))[{{.window}}:1m])", False),
    ],
)
def test_unit_of_count_queries(query: str, per_second: bool) -> None:
    found = unit(query)
    assert found.is_count
    assert found.per_second is per_second


@pytest.mark.parametrize(
    ("bad", "total", "counted"),
    [
        (f"sum(rate(x_total{W}))", f"sum(increase(y_total{W}))", True),
        ("x_total", f"sum(rate(y_total{W}))", True),
        # No counts, but their ratio means something.
        (f"sum(rate(x_total{W})) * 60", f"60 * sum(rate(y_total{W}))", False),
        (f"sum(increase(x_total{W})) / 2", f"sum(increase(y_total{W})) / 2", False),
        ("job:errors:rate5m", "job:requests:rate5m", False),
        (f"sum_over_time(job:errors:rate5m{W})", f"sum_over_time(job:requests:rate5m{W})", False),
        ("job:errors:rate{{.window}}", "job:requests:rate{{.window}}", False),
        (f"count(rate(x_total{W}) > 100)", f"count(rate(x_total{W}) >= 0)", False),
        (f"sum(rate(x_total{W}) > bool 100)", f"count(rate(x_total{W}))", False),
        (f"sum(avg_over_time(up{W}))", f"count(avg_over_time(up{W}))", False),
        # Nobody can tell.
        (f"sum(rate(x_total{W})) * 60", f"sum(rate(y_total{W})) * 3600", None),
        (f"sum(rate(x_total{W}))", f"sum(rate(y_total{W})) * 60", None),
        (f"sum(rate(x_total{W})) * 60", f"sum(increase(y_total{W}))", None),
        (f"sum(increase(x_total{W})) / 60", f"sum(increase(y_total{W}))", None),
        (f"sum(rate(x_total{W})) / sum(rate(z_total{W}))", f"sum(rate(y_total{W})) / sum(rate(z_total{W}))", None),
        (f"sum(rate(x_total{W})) + sum(increase(x_total{W}))", f"sum(rate(y_total{W})) + sum(increase(y_total{W}))", None),
        ("job:errors:rate5m", f"sum(increase(y_total{W}))", None),
        ("job:errors:rate5m", "job:requests:rate1m", None),
        (f"sum(increase(x_total{W}))", f"sum_over_time(job:requests:increase5m{W})", None),
        (f"sum(increase(job:errors:rate5m{W}))", f"sum(increase(job:requests:rate5m{W}))", None),
        (f"count(increase(x_total{W}) > 0)", f"sum(increase(y_total{W}))", None),
        (f"sum(increase(x_total{W}) > bool 0)", f"sum(increase(y_total{W}))", None),
        (f"sum(idelta(x{W}))", f"sum(increase(y_total{W}))", None),
        ("sum_over_time(sum(rate(x_total[5m]))[{{.window}}:1m])", f"sum(increase(y_total{W}))", None),
        ("sum_over_time(sum(rate(x_total[5m]))[{{.window}}:1m])", "sum_over_time(sum(rate(y_total[5m]))[{{.window}}:5m])", None),
        ("sum_over_time(sum(rate(x_total[5m]))[{{.window}}:1m])", "sum_over_time(sum(rate(y_total[5m]))[{{.window}}:1m])", False),
    ],
)
def test_are_counts_with_different_units_raises(bad: str, total: str, counted: bool | None) -> None:
    if counted is None:
        with pytest.raises(ValueError, match="have no common unit"):
            are_counts({"bad": bad, "total": total})
    else:
        assert are_counts({"bad": bad, "total": total}) is counted


@pytest.mark.parametrize(
    ("good", "message"),
    [
        (f"(sum(increase(x{{le='0.3'}}{W})) + sum(increase(x{{le='1.2'}}{W}))) / 2", ""),  # Apdex
        (f"sum(increase(x{{le='0.3'}}{W})) + 0.5 * sum(increase(x{{le='1.2'}}{W}))", ""),
        (f"sum(increase(x{W})) * 2", "is multiplied or divided"),
        (f"sum(increase(x{W})) / 0.5", "is multiplied or divided"),
        (f"sum(rate(x{W})) / 2", "is multiplied or divided"),
        (f"count(increase(x{W}))", "counts series"),
        (f"sum(avg_over_time(x{W}))", "is made of values"),
        ("job:x:rate5m", "is calculated from rates"),
    ],
)
def test_are_counts_with_scaled_good_by_factor(good: str, message: str) -> None:
    queries = {"good": good, "total": f"sum(increase(y_total{W}))"}
    if message:
        with pytest.raises(ValueError, match=message):
            are_counts(queries)
    else:
        assert are_counts(queries) is False


@pytest.mark.parametrize(
    ("query", "means_none"),
    [
        (f"sum(increase(x{W}))", True),
        (f"sum(increase(x{W})) * 2 > 0", True),
        (f'sum by (a) (increase(x{{b=~"c.*"}}{W}))', True),
        (f"sum(increase(x{W})) or sum(increase(y{W}))", True),
        (f"sum(increase(x{W})) unless on () maintenance", True),
        (f"sum(increase(x{W})) + sum(increase(y{W}))", False),
        (f"sum(increase(x{W})) - sum(increase(x{{a='b'}}{W}))", False),
        (f"sum(increase(x{W})) AND on () y", False),
        (f'sum(increase({{__name__="x"}}{W})) - sum(increase({{__name__="y"}}{W}))', False),
        ("x $ y", False),
    ],
)
def test_empty_means_none_by_query_form(query: str, means_none: bool) -> None:
    assert empty_means_none(query) is means_none


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("requests_total", ""),
        ("sum(increase(x_total[5m])) # over {{.window}}", "is not a range"),
        ('sum(increase(x_total{service!="{{.window}}"}[5m]))', "is not a range"),
        ('label_replace(sum(increase(x_total[5m])), "a", "{{.window}}", "", "")', "is not a range"),
        ("x_total offset {{.window}}", "is not a range"),
        (f"sum(increase(x_total{W} @ 1700000000))", "@ evaluates the query at another time"),
        (f"sum(increase(x_total[5m])) + sum(increase(y_total{W}))", "the fixed range [5m]"),
        (f"sum_over_time((x > bool 1)[1h:1m]) + sum(increase(y_total{W}))", "the fixed range [1h]"),
        (f"sum(irate(x_total{W}))", "irate() reads only the last two samples"),
        (f"sum(sum_over_time(x_total{W}))", "reads the samples of a counter"),
        (f"sum(sum_over_time(x_bucket{W}))", "reads the samples of a counter"),
        # What is right:
        (f"sum(increase(x_total{W} offset 5m))", ""),
        (f"sum(sum_over_time(batch_count{W}))", ""),
        (f"sum(avg_over_time(x_total{W}))", "reads the samples of a counter"),
        ("errors:ratio{window='{{.window}}'}", ""),
        ('slo:sli_error:ratio_rate{{.window}}{sloth_id="a"}', ""),
        (f"sum(increase(x_total{W})) unless on() (max_over_time(maintenance[5m]) > 0)", ""),
        (f"sum(increase(x_total[5m])) and on() (up{W})", "the fixed range [5m]"),
        ("sum_over_time((sum(rate(x_total[5m])) > bool 0)[{{.window}}:1m])", ""),
        ("sum_over_time((sum by (a) (irate(x[5m])) > bool 0)[{{ .window }}:1m]) + sum(increase(y[{{.window}}]))", ""),
        ("sum_over_time(max_over_time(x[5m])[{{- .window -}}:1m])", ""),
    ],
)
def test_window_error_by_query_form(query: str, message: str) -> None:
    fault = window_error(query)
    assert (message in fault) if message else not fault
