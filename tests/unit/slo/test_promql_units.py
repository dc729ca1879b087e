"""What a query counts, and over which time."""

from __future__ import annotations

import pytest

from airflow_slo_provider.slo.promql_units import EVENTS, MIXED, PER_SECOND, SCALED, are_counts, unit, window_fault

W = "[{{.window}}]"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("requests_total", EVENTS),
        (f"sum(increase(x_total{W}))", EVENTS),
        (f"sum(increase(x_total{W})) * 2", EVENTS),
        (f"sum(changes(restarts{W}))", EVENTS),
        (f"sum(rate(x_total{W}))", PER_SECOND),
        (f'sum by (path) (rate(x_total{{code!="200"}}{W}))', PER_SECOND),
        (f"sum(rate(x_total{W})) * 60", SCALED),
        (f"count(rate(x_total{W}))", SCALED),
        (f"count by (pod) (rate(x_total{W}))", SCALED),
        (f"sum(rate(x_total{W}) > bool 0)", SCALED),
        ("job:errors:rate5m", SCALED),
        ("sum(job:errors:irate5m)", SCALED),
        (f"sum(rate(x_total{W})) + sum(increase(x_total{W}))", MIXED),
        (f"sum(increase(job:errors:rate5m{W}))", MIXED),
        (f"sum(avg_over_time(errors{W}))", MIXED),
        (f"sum(idelta(errors{W}))", MIXED),
        # A subquery counts points, whatever it looks at.
        ("sum_over_time((sum(rate(x_total[5m])) > bool 0.5)[{{.window}}:1m])", EVENTS),
        ("count_over_time(sum by (pod) (rate(x_total[5m]))[{{.window}}:1m])", EVENTS),
        ("sum(sum_over_time((max by (a) (irate(x_total[5m])))[{{.window}}:])) + sum(rate(y_total[{{.window}}]))", MIXED),
    ],
)
def test_units(query: str, expected: str) -> None:
    assert unit(query) == expected


@pytest.mark.parametrize(
    ("bad", "total", "counted"),
    [
        (f"sum(rate(x_total{W}))", f"sum(increase(y_total{W}))", True),
        ("x_total", f"sum(rate(y_total{W}))", True),
        (f"sum(rate(x_total{W})) * 60", f"sum(rate(y_total{W})) * 60", False),
        ("job:errors:rate5m", "job:requests:rate5m", False),
        (f"sum(rate(x_total{W})) * 60", f"sum(rate(y_total{W})) * 3600", None),
        (f"sum(rate(x_total{W}))", f"sum(rate(y_total{W})) * 60", None),
        (f"sum(rate(x_total{W})) * 60", f"sum(increase(y_total{W}))", None),
        ("job:errors:rate5m", f"sum(increase(y_total{W}))", None),
        (f"sum(avg_over_time(x{W}))", f"sum(avg_over_time(y{W}))", None),
    ],
)
def test_two_counts_need_one_unit(bad: str, total: str, counted: bool | None) -> None:
    if counted is None:
        with pytest.raises(ValueError, match=r"write increase\(\) in both"):
            are_counts({"bad": bad, "total": total})
    else:
        assert are_counts({"bad": bad, "total": total}) is counted


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("requests_total", ""),
        ("sum(increase(x_total[5m])) # over {{.window}}", "stands in no range"),
        ('sum(increase(x_total{service!="{{.window}}"}[5m]))', "stands in no range"),
        ('label_replace(sum(increase(x_total[5m])), "a", "{{.window}}", "", "")', "stands in no range"),
        ("x_total offset {{.window}}", "stands in no range"),
        (f"sum(increase(x_total{W} @ 1700000000))", "@ pins the query to another time"),
        (f"sum(increase(x_total[5m])) + sum(increase(y_total{W}))", "the fixed range [5m]"),
        (f"sum_over_time((x > bool 1)[1h:1m]) + sum(increase(y_total{W}))", "the fixed range [1h]"),
        (f"sum(irate(x_total{W}))", "irate() reads only the last two samples"),
        (f"sum(sum_over_time(x_total{W}))", "adds up the samples of a counter"),
        (f"sum(sum_over_time(x_bucket{W}))", "adds up the samples of a counter"),
        # What is right:
        (f"sum(increase(x_total{W} offset 5m))", ""),
        (f"sum(sum_over_time(batch_count{W}))", ""),
        ("errors:ratio{window='{{.window}}'}", ""),
        ("sum_over_time((sum(rate(x_total[5m])) > bool 0)[{{.window}}:1m])", ""),
        ("sum_over_time((sum by (a) (irate(x[5m])) > bool 0)[{{ .window }}:1m]) + sum(increase(y[{{.window}}]))", ""),
        ("sum_over_time(max_over_time(x[5m])[{{- .window -}}:1m])", ""),
    ],
)
def test_the_time_a_query_counts_over(query: str, said: str) -> None:
    fault = window_fault(query)
    assert (said in fault) if said else not fault
