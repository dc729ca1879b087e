"""Queries that judge the best of several series, at points and over the window."""

from __future__ import annotations

import pytest

from airflow_slo_provider.slo.promql.query_roles import read_counts, read_ratio
from airflow_slo_provider.slo.promql.reading.quantities import RefusedQuery

W, POINTS = "[{{.window}}]", "[{{.window}}:1m]"


def accepts(role: str, condition: str) -> bool:
    """Return whether points that fulfil a condition may be the good or the bad ones of all points."""
    inner = condition.split(" ")[0]
    part, total = f"count_over_time(({condition}){POINTS})", f"count_over_time({inner}{POINTS})"
    try:
        read_counts(*((part, None) if role == "good" else (None, part)), total, counter=True)
    except RefusedQuery:
        return False
    return True


@pytest.mark.parametrize(
    ("condition", "good", "bad"),
    [
        ("max(up) == 1", True, True),
        ("max(up) == 0", True, True),
        ("max(up) > 0", True, True),
        ("min(up) == 0", False, True),
        ("min(up) == 1", True, False),
        ("min(up) > 0", True, False),
        ("max(lag) > 100", False, True),
        ("max(lag) >= 100", False, True),
        ("max(lag) < 100", True, False),
        ("max(lag) == 7", False, True),
        ("max(lag) != 7", False, True),
        ("min(lag) > 100", True, False),
        ("min(lag) < 100", False, True),
        ("min(lag) <= 100", False, True),
        ("avg(lag) > 100", True, True),
        ("max(max(lag)) > 100", False, True),
    ],
)
def test_points_of_the_best_series_are_refused(condition: str, good: bool, bad: bool) -> None:
    assert (accepts("good", condition), accepts("bad", condition)) == (good, bad)


@pytest.mark.parametrize("operator", ["avg", "min", "max"])
def test_one_number_of_each_side_is_no_share(operator: str) -> None:
    query = f"{operator}(increase(a{W})) / {operator}(increase(b{W}))"
    for failure in (True, False):
        with pytest.raises(RefusedQuery, match=rf"raw: {operator}\(\) does not count the events of all series"):
            read_ratio(query, failure=failure)


@pytest.mark.parametrize(
    ("query", "failure", "reason"),
    [
        (f'sum(increase(x_bucket{{le="1"}}{W})) / sum(increase(x_count{W}))', False, ""),
        (f'sum(increase(x_bucket{{le="1"}}{W})) / sum(increase(x_count{W}))', True, "does not hold the slowest events"),
        (f'1 - sum(increase(x_bucket{{le="1"}}{W})) / sum(increase(x_count{W}))', True, ""),
        (f'1 - sum(increase(x_bucket{{le="1"}}{W})) / sum(increase(x_count{W}))', False, "does not hold the slowest events"),
        (f'sum(increase(x_bucket{{le="+Inf"}}{W})) / sum(increase(x_count{W}))', True, ""),
        (f"histogram_fraction(0.5, Inf, sum(rate(h{W})))", True, ""),
        (f"histogram_fraction(0.5, 10, sum(rate(h{W})))", True, "does not hold the slowest events"),
        (f"histogram_fraction(0, 0.5, sum(rate(h{W})))", False, ""),
    ],
)
def test_what_is_above_a_bound_fails_too(query: str, failure: bool, reason: str) -> None:
    if not reason:
        read_ratio(query, failure=failure)
        return
    with pytest.raises(RefusedQuery, match=reason):
        read_ratio(query, failure=failure)
