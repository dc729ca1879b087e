"""Queries that ask the server whether a query loses events of the window."""

from __future__ import annotations

import pytest

from airflow_slo_provider.slo.promql.lost_events import lost_events, lost_points
from airflow_slo_provider.slo.promql.query_roles import read_counts
from airflow_slo_provider.slo.promql.syntax_tree import parse

W = "[{{.window}}]"
ALL = f"sum(increase(requests_total{W}))"
BY = f"sum by (version) (increase(requests_total{W}))"


@pytest.mark.parametrize(
    ("bad", "total", "labels", "query"),
    [
        (f"sum(increase(errors_total{W}))", ALL, (), None),
        (f"sum(increase(errors_total{W})) or vector(0)", ALL, (), None),
        (f"sum(increase(errors_total{W})) or 0 * {ALL}", ALL, (), None),
        ("count_over_time((max(l) > 0.5)[{{.window}}:1m])", "count_over_time(max(l)[{{.window}}:1m])", (), None),
        (
            f"sum(increase(a{W})) or sum(increase(b{W}))",
            ALL,
            (),
            f"count(sum(increase(a{W}))) and on () count(sum(increase(b{W})))",
        ),
        (
            f"sum by (version) (increase(a{W})) or sum by (version) (increase(b{W}))",
            BY,
            ("version",),
            f"count by (version) (sum by (version) (increase(a{W}))) and on (version) "
            f"count by (version) (sum by (version) (increase(b{W})))",
        ),
        (
            f"sum(increase(a{W}) * on (pod) group_left (team) owner)",
            f"sum(increase(b{W}) * on (pod) group_left (team) last_over_time(owner{W}))",
            (),
            f"count((increase(a{W}) and on (pod) last_over_time(owner{W})) unless on (pod) owner); count(owner != 1)",
        ),
        (
            f"sum(increase(a{W}) and on (pod) (owner == 1))",
            f"sum(increase(a{W}) and on (pod) (owner == 1))",
            (),
            f"count((increase(a{W}) and on (pod) (last_over_time(owner{W}) == 1)) unless on (pod) (owner == 1))",
        ),
        (
            "count_over_time((sum(e) / sum(r) > 0.1)[{{.window}}:1m])",
            "count_over_time((sum(r) > 0)[{{.window}}:1m])",
            (),
            "count_over_time((sum(r) unless on () sum(e))[{{.window}}:1m]) > 5",
        ),
        (
            "count_over_time(((sum(e) or vector(0)) / sum(r) > 0.1)[{{.window}}:1m])",
            "count_over_time((sum(r) > 0)[{{.window}}:1m])",
            (),
            "count_over_time((sum(r) unless on () (sum(e) or vector(0)))[{{.window}}:1m]) > 5",
        ),
        (
            f"sum(sum_over_time(a{W}))",
            f"sum(count_over_time(a{W}))",
            (),
            f"count((resets(a{W}) == 0) and (changes(a{W}) > 30))",
        ),
    ],
)
def test_each_way_to_lose_events_has_a_query(bad: str, total: str, labels: tuple[str, ...], query: str | None) -> None:
    try:
        reading = read_counts(None, bad, total, counter=True)
    except ValueError:  # joined with other functions on both sides: the bad events alone
        reading = read_counts(None, bad, bad, counter=True)
    found = lost_events(reading, labels)
    assert [parse(item.query) for item in found] == [parse(text) for text in (query or "").split("; ") if text]
    assert all(item.by == labels for item in found)


def test_points_of_a_threshold_without_a_dividend_are_asked_for() -> None:
    (found,) = lost_points("sum(rate(ok[5m])) / sum(rate(requests[5m]))", "[3599999ms:1m]")
    assert parse(found.query) == parse(
        "count_over_time((sum(rate(requests[5m])) unless on () sum(rate(ok[5m])))[3599999ms:1m]) > 5"
    )
    assert "write (x or vector(0)) / y" in found.message
    assert lost_points("max(latency)", "[3599999ms:1m]") == ()
    assert lost_points("max by (pod) (a) / max by (pod) (b)", "[3599999ms:1m]") == ()
