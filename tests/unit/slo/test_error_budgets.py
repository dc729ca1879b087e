"""Error budgets and burn rates: the numbers of the workbook, exactly."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_slo_provider import slo
from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import InvalidMeasurement, NoData
from airflow_slo_provider.slo.budget.error_budgets import (
    DEFAULT_ALERTS,
    BurnRateRule,
    budget_of_sli,
    budget_share,
    exact,
    plan_burn_rates,
)
from tests.support import acceptance


@pytest.mark.parametrize(("target", "minutes"), [("0.99", "432"), ("0.999", "43.2"), ("0.9995", "21.6"), ("0.9999", "4.32")])
def test_error_budget_remaining_time_in_30_days(target: str, minutes: str) -> None:
    budget = slo.error_budget(target, 1, 1, "30d")
    assert budget.remaining_time == timedelta(minutes=1) * float(Fraction(minutes))
    assert budget.budget == 1 - Fraction(target)
    assert (budget.consumed, budget.remaining, budget.sli) == (0, 1, 1)


def test_error_budget_of_low_traffic_is_exact() -> None:
    """10 requests an hour for 30 days, one of them fails."""
    budget = slo.error_budget("0.999", 7199, 7200, "30d")
    assert budget.allowed_events == Fraction(72, 10)
    assert budget.consumed == Fraction(10, 72)
    assert round(float(budget.consumed), 3) == 0.139
    assert budget.remaining_events == Fraction(62, 10)
    assert slo.burn_rate("0.999", 9, 10) == 100


def test_error_budget_exactly_spent_has_zero_remaining() -> None:
    """With floats 0.9999999999999991 of it would be."""
    budget = slo.error_budget("0.999", 2592000 - 2592, 2592000, "30d")
    assert (budget.consumed, budget.remaining, budget.remaining_events) == (1, 0, 0)
    assert budget.remaining_time == timedelta(0)
    assert (2592 / 2592000) / (1 - 0.999) < 1


def test_error_budget_overspent_has_negative_remaining() -> None:
    budget = slo.error_budget("0.999", 0, 10, "30d")
    assert budget.remaining == -999
    assert budget.remaining_time == -timedelta(days=30) * float(Fraction(999, 1000))
    assert budget.remaining_events == Fraction(1, 100) - 10


@pytest.mark.parametrize("target", ["0.999", Decimal("0.999"), Fraction(999, 1000), 0.999])
def test_error_budget_for_each_target_type_is_equal(target: slo.SLO) -> None:
    assert slo.error_budget(target, 999, 1000, timedelta(days=30)).remaining == 0  # type: ignore[arg-type]
    assert slo.burn_rate(target, 999, 1000) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["0", "1", 1, 1.0, 0, "1.0", "99.9", -0.5, "nan", float("nan"), "inf", "abc", "", None, True])
def test_error_budget_with_invalid_target_raises_value_error(target: object) -> None:
    for function in (
        lambda: slo.error_budget(target, 1, 1, "30d"),
        lambda: slo.burn_rate(target, 1, 1),
        lambda: budget_share(target),
    ):  # type: ignore[arg-type, return-value]
        with pytest.raises(ValueError, match="target"):
            function()


def test_error_budget_without_events_raises_no_data() -> None:
    for function in (lambda: slo.error_budget("0.99", 0, 0, "30d"), lambda: slo.burn_rate("0.99", 0, 0)):
        with pytest.raises(NoData) as caught:
            function()  # type: ignore[no-untyped-call]
        assert caught.value.reason == "no_events"


@pytest.mark.parametrize(
    ("good", "total"),
    [(2, 1), (-1, 1), (1, -1), (-1, -1), (float("nan"), 1), (1, float("nan")), (1, float("inf")),
     ("NaN", 1), ("x", 1), (None, 1), (True, 1), ("1e401", "1e402"), (0, "1e-401"), (0, "1e999999999")],
)  # fmt: skip
def test_error_budget_with_invalid_counts_raises_invalid_measurement(good: object, total: object) -> None:
    with pytest.raises(InvalidMeasurement):
        slo.error_budget("0.99", good, total, "30d")  # type: ignore[arg-type]
    with pytest.raises(InvalidMeasurement):
        slo.burn_rate("0.99", good, total)  # type: ignore[arg-type]


@pytest.mark.parametrize("window", ["30", "1M", timedelta(0), ""])
def test_error_budget_with_invalid_window_raises_value_error(window: str | timedelta) -> None:
    with pytest.raises(ValueError):
        slo.error_budget("0.99", 1, 1, window)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.1, "1/10"), ("0.1", "1/10"), (Decimal("0.10"), "1/10"), (3, "3"), (1e-9, "1/1000000000"),
     (1e308, str(10**308)), ("1e-400", f"1/{10**400}")],
)  # fmt: skip
def test_exact_of_number_returns_fraction(value: slo.SLO, expected: str) -> None:
    assert exact(value) == Fraction(expected)  # type: ignore[arg-type]


def test_exact_of_numpy_scalar_returns_fraction() -> None:
    numpy = pytest.importorskip("numpy")
    assert exact(numpy.float64(0.1)) == Fraction(1, 10)
    assert exact(numpy.int64(3)) == 3
    with pytest.raises(InvalidMeasurement):
        exact(numpy.float64("nan"))


def test_budget_of_sli_with_scale_is_a_share_of_the_whole_window() -> None:
    """Half of the window has passed: a tenth bad of what there was is a twentieth of what there will be."""
    budget = budget_of_sli(Fraction(1, 10), Fraction(9, 10), timedelta(days=30), Fraction(100), scale=Fraction(2))
    assert (budget.consumed, budget.allowed_events, budget.remaining_events) == (Fraction(1, 2), 20, 10)


@pytest.mark.parametrize("case", range(4))
def test_burn_rate_rules_factors_equal_sloth(case: int) -> None:
    published = json.loads(acceptance("slo", "sloth", "sloth_mwmb_factors.json").read_text())["cases"][case]
    if "error" in published:  # sloth knows two periods; here every period has its factors
        assert len(slo.burn_rate_rules(published["period"])) == 4
        return
    names = ("page_quick", "page_slow", "ticket_quick", "ticket_slow")
    pairs = [(name.partition("_")[0], published[name]) for name in names]
    alerts = [(severity, Fraction(str(pair["percent"])) / 100, pair["long"]) for severity, pair in pairs]
    found = slo.burn_rate_rules(published["period"], alerts=alerts)
    assert len(found) == 4
    for rule, (severity, pair) in zip(found, pairs, strict=True):
        assert rule.severity == severity
        assert float(rule.factor) == max(1, pair["factor"])  # below 1 nothing is lost; sloth has 0.93 on 28 days
        assert rule.long == parse_duration(pair["long"]).timedelta
        assert rule.short == parse_duration(pair["short"]).timedelta


def test_burn_rate_rules_of_any_window_recompute_factors() -> None:
    assert [rule.factor for rule in slo.burn_rate_rules("30d")] == [Fraction(144, 10), 6, 3, 1]
    assert [rule.factor for rule in slo.burn_rate_rules("7d")] == [
        Fraction(2, 100) * 168, Fraction(5, 100) * 28, 1, 1,
    ]  # fmt: skip
    # Each spends, over its long window, the share of the budget that it says.
    for window in ("7d", "28d", "30d", "90d"):
        length = parse_duration(window).timedelta
        for rule in slo.burn_rate_rules(window):
            assert rule.factor * Fraction(rule.long // timedelta(seconds=1), length // timedelta(seconds=1)) == rule.fraction
            assert rule.short * 12 == rule.long


@pytest.mark.parametrize("window", ["2h", "1d", "2d", "7d", "28d"])
def test_burn_rate_rules_of_short_windows_have_factors_of_at_least_one(window: str) -> None:
    """0.2 for 6 hours of a day is a fifth of the rate that lasts the day: a healthy service would page."""
    length = parse_duration(window).timedelta
    for rule in slo.burn_rate_rules(window):
        share = next(fraction for _, fraction, long in DEFAULT_ALERTS if long == rule.long)
        part = Fraction(rule.long // timedelta(minutes=1), length // timedelta(minutes=1))
        assert rule.factor == max(1, share / part)
        assert rule.fraction == rule.factor * part


def test_dropped_alerts_have_a_note_each() -> None:
    plan = plan_burn_rates("1d", target="0.5", width=timedelta(minutes=10))
    assert [(rule.long, rule.factor) for rule in plan.rules] == [(timedelta(hours=6), 1)]
    assert plan.dropped == (
        "no page alert over 1h and 5m: the short window is shorter than a time slice (10m)",
        "no ticket alert over 1d: it is not shorter than the window 1d",
        "no ticket alert over 3d: it is not shorter than the window 1d",
    )
    never = plan_burn_rates("30d", target="0.9").dropped
    assert never == ("no page alert over 1h and 5m: it could never fire (factor 14.4, and a burn rate is 10 at most)",)


def test_burn_rate_rules_that_cannot_fire_are_left_out() -> None:
    assert [rule.long for rule in slo.burn_rate_rules("1d")] == [timedelta(hours=1), timedelta(hours=6)]
    # At 90 %, a burn rate of 10 is an error rate of 1: 14.4 can never be exceeded.
    assert [rule.factor for rule in slo.burn_rate_rules("30d", target="0.9")] == [6, 3, 1]
    with pytest.raises(ValueError, match="fraction 2 of the budget must lie in"):
        slo.burn_rate_rules("30d", alerts=[("page", 2, "1h")])
    with pytest.raises(ValueError, match="calendar duration"):
        slo.burn_rate_rules("1M")


def test_burn_rate_rule_whose_factor_is_the_highest_rate_is_left_out() -> None:
    """It fires above its factor: with a budget of 1/6, no burn rate is above 6."""
    plan = plan_burn_rates("30d", target=Fraction(5, 6))
    assert [rule.factor for rule in plan.rules] == [3, 1]
    assert plan.dropped[1] == "no page alert over 6h and 30m: it could never fire (factor 6, and a burn rate is 6 at most)"


@pytest.mark.parametrize(
    ("short", "long", "fires"),
    [("14.5", "14.5", True), ("14.4", "14.5", False), ("14.5", "14.4", False), (None, "20", False), ("20", None, False)],
)
def test_burn_rate_rule_fires_only_above_factor_in_both_windows(short: str | None, long: str | None, fires: bool) -> None:
    rule = BurnRateRule("page", timedelta(minutes=5), timedelta(hours=1), Fraction(144, 10), Fraction(1, 50))
    assert rule.fires(None if short is None else Fraction(short), None if long is None else Fraction(long)) is fires


def absent_data_fires_after(target: str, waits: timedelta) -> timedelta:
    """Minutes of complete outage until the first page, rounded as Prometheus' minute grid does."""
    rule = slo.burn_rate_rules("30d")[0]
    seconds = rule.factor * budget_share(target) * int(rule.long.total_seconds()) + int(waits.total_seconds())
    return timedelta(minutes=round(seconds / 60))


@pytest.mark.parametrize(("target", "wait", "minutes"), [("0.99", 1, 10), ("0.999", 2, 3), ("0.995", 2, 6)])
def test_complete_outage_pages_within_minutes(target: str, wait: int, minutes: int) -> None:
    assert absent_data_fires_after(target, timedelta(minutes=wait)) == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("remaining", "rate", "expected"),
    [
        ("1", "1", timedelta(days=30)),
        ("0.5", "2", timedelta(days=7.5)),
        ("0", "5", timedelta(0)),
        ("-3", "0", timedelta(0)),
        ("0.5", "0", None),
        ("1", "7", timedelta(seconds=2592000 // 7)),
        ("1", "1e-300", timedelta.max),
    ],
)
def test_time_to_exhaustion_at_rate_returns_duration(remaining: str, rate: str, expected: timedelta | None) -> None:
    assert slo.time_to_exhaustion(remaining, rate, "30d") == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan"])
def test_time_to_exhaustion_with_invalid_number_raises_invalid_measurement(value: float | str) -> None:
    with pytest.raises(InvalidMeasurement):
        slo.time_to_exhaustion(value, 1, "30d")
    with pytest.raises(InvalidMeasurement):
        slo.time_to_exhaustion(1, value, "30d")


counts = st.integers(1, 10**12).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
targets = st.fractions(Fraction(1, 10**6), 1 - Fraction(1, 10**6))


@given(targets, counts, st.integers(1, 10**7))
def test_error_budget_fields_are_consistent(target: Fraction, count: tuple[int, int], seconds: int) -> None:
    good, total = count
    window = timedelta(seconds=seconds)
    budget = slo.error_budget(target, good, total, window)
    bad = total - good
    assert budget.consumed + budget.remaining == 1
    assert budget.remaining == (budget.sli - target) / (1 - target)
    assert budget.consumed == slo.burn_rate(target, good, total)
    assert budget.allowed_events is not None and budget.remaining_events is not None
    assert budget.allowed_events - bad == budget.remaining_events
    assert (budget.remaining <= 0) == (budget.sli <= target)
    assert (
        timedelta(0)
        <= timedelta(seconds=1) * float((budget.sli - target) * seconds) - budget.remaining_time
        < timedelta(seconds=1)
    )


@given(targets, counts, st.integers(1, 1000))
def test_error_budget_with_scaled_counts_is_equal(target: Fraction, count: tuple[int, int], factor: int) -> None:
    good, total = count
    assert slo.burn_rate(target, good, total) == slo.burn_rate(target, good * factor, total * factor)


@given(targets, counts)
def test_time_to_exhaustion_at_rate_spends_remaining_budget(target: Fraction, count: tuple[int, int]) -> None:
    rate = slo.burn_rate(target, *count)
    left = slo.time_to_exhaustion(Fraction(1, 2), rate, "30d")
    if rate == 0:
        assert left is None
    elif left != timedelta.max:
        assert left is not None
        seconds = Fraction(left // timedelta(seconds=1))
        assert seconds * rate / 2592000 <= Fraction(1, 2) < (seconds + 1) * rate / 2592000
