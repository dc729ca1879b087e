"""Whether the counts of the parts of a window add up to those of the window."""

from __future__ import annotations

import pytest

from airflow_slo_provider.slo.model import RatioMetric
from airflow_slo_provider.slo.promql.additive_counts import adds_up_exactly, why_not_additive
from tests.unit.slo.rules_builders import bad_over_total, prometheus, threshold

W = "[{{.window}}]"
TOTAL = f"sum(increase(y_total{W}))"


@pytest.mark.parametrize(
    ("bad", "total", "reason"),
    [
        (f"sum(increase(x_total{W}))", TOTAL, ""),
        (f"sum(increase(x_total{W})) > 0", TOTAL, ""),
        (f"sum(increase(x_total{W}))", f"{TOTAL} > 5", "total: the filter removes small counts"),
        (f"sum(increase(x_total{W})) + sum(increase(z_total{W}))", TOTAL, "bad: it reads several selectors"),
        (f"60 * sum(increase(x_total{W}))", f"60 * {TOTAL}", "it is measured as a ratio"),
    ],
)
def test_counts_add_up_unless_a_part_may_be_left_out(bad: str, total: str, reason: str) -> None:
    found = why_not_additive(bad_over_total(bad, total))
    assert found.startswith(reason)
    assert bool(found) is bool(reason)


def test_declared_counts_are_not_known_to_add_up() -> None:
    metric = RatioMetric(bad=prometheus(f"increase_pure(x{W})"), total=prometheus(TOTAL), declares_events=True)
    assert why_not_additive(metric) == "its queries cannot be read"


@pytest.mark.parametrize(
    ("function", "exactly"), [("increase", False), ("rate", False), ("count_over_time", False), ("sum_over_time", True)]
)
def test_only_samples_are_each_in_one_part(function: str, exactly: bool) -> None:
    metric = bad_over_total(f"sum({function}(x{W}))", f"sum({function}(y{W}))")
    assert adds_up_exactly(metric) is exactly
    mixed = bad_over_total(f"sum(increase(x{W}))", f"sum(rate(y{W}))")
    assert not adds_up_exactly(mixed)


def test_points_of_a_threshold_add_up() -> None:
    assert (why_not_additive(threshold("max(x)")), adds_up_exactly(threshold("max(x)"))) == ("", True)
