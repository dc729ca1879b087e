"""What the monitor says of known events."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import InvalidMeasurement, MeasurementError, NoData, QueryError
from airflow_slo_provider.slo.budget import text_table as table
from airflow_slo_provider.slo.budget.indicator_source import Slices
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import SLOReport, Status
from airflow_slo_provider.slo.budget.status import current_rate
from airflow_slo_provider.slo.model import (
    SLO,
    BudgetingMethod,
    CalendarDenominator,
    DataSource,
    Indicator,
    MetricSource,
    MissingSlices,
    Objective,
    RatioMetric,
    TimeWindow,
)
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, PolicyRule, Signal
from tests.unit.slo.monitor_builders import AT, DAY, HOUR, MINUTE, Events, MemorySource, catalog, slo, steady


def report(one: SLO, events: Events | MeasurementError, at: datetime = AT, **coverage: Any) -> SLOReport:
    source = MemorySource(**{one.name: events})
    source.coverages = coverage
    (found,) = SLOMonitor(catalog(one), {"SQL": source}).evaluate(at)
    return found


def test_half_spent_budget_is_healthy() -> None:
    found = report(slo(target="0.98"), steady(1))
    assert found.status is Status.HEALTHY
    assert found.budget is not None
    assert (found.sli, found.remaining) == (Fraction(99, 100), Fraction(1, 2))
    assert found.budget.remaining_time == 30 * DAY / 100  # half of 2 % of 30 days
    assert (found.good, found.total) == (71_280, 72_000)
    assert (found.start, found.end) == (AT - 30 * DAY, AT)


def test_exactly_spent_budget_is_exhausted() -> None:
    found = report(slo(target="0.99"), steady(1))
    assert (found.status, found.remaining) == (Status.EXHAUSTED, 0)
    assert found.time_to_exhaustion == timedelta(0)


def test_burn_rates_of_all_windows_are_exact() -> None:
    events = [*steady(0, until=2 * HOUR), (MINUTE, 90, 10), (70 * MINUTE, 100, 0)]
    found = report(slo(target="0.999"), events)
    rates = {rate.window: rate.value for rate in found.burn_rates}
    assert rates[timedelta(minutes=5)] == rates[HOUR] == 100
    assert rates[2 * HOUR] == Fraction(10, 200) * 1000
    assert [rule.long for rule in found.firing] == [HOUR, 6 * HOUR, DAY, 3 * DAY]
    assert found.status is Status.BURNING
    assert "100 times" in found.message


def test_rule_with_one_empty_window_does_not_fire() -> None:
    stopped = [(10 * MINUTE, 900, 100), *steady(0, until=HOUR)]
    found = report(slo(target="0.999"), stopped)
    assert HOUR not in [rule.long for rule in found.firing]  # the last five minutes hold nothing
    (short,) = [rate for rate in found.burn_rates if rate.window == timedelta(minutes=5)]
    assert (short.value, short.problem) == (None, "no events in the window")


def test_burn_rate_up_to_one_is_not_burning() -> None:
    """On a window of a day the first rule's factor is 0.48: spending half of what is allowed is no alarm."""
    assert report(slo(target="0.9", window="1d"), steady(9)).status is Status.WARNING
    assert report(slo(target="0.9", window="1d"), steady(5)).status is Status.HEALTHY
    burning = [(ago, good, bad) if ago > HOUR else (ago, 50, 50) for ago, good, bad in [*steady(1), (MINUTE, 50, 50)]]
    assert report(slo(target="0.9", window="1d"), burning).status is Status.BURNING


def test_time_to_exhaustion_uses_rate_of_last_hour() -> None:
    found = report(slo(target="0.99"), [(10 * DAY, 9_960, 40), (MINUTE, 98, 2)])
    assert found.remaining is not None
    assert found.time_to_exhaustion is not None
    assert found.time_to_exhaustion == timedelta(seconds=int(found.remaining * 30 * 86400 / 2))


def test_current_rate_of_idle_service_uses_slo_window() -> None:
    """What is shown as burn rate is what the exhaustion is computed from."""
    found = report(slo(target="0.99"), [(10 * DAY, 9_960, 40)])
    rate = current_rate(found)
    assert rate is not None
    assert (rate.window, rate.value) == (30 * DAY, Fraction(40, 100))
    assert found.remaining is not None
    assert found.time_to_exhaustion == timedelta(seconds=int(found.remaining * 30 * 86400 / rate.value))
    assert " 0.40  " in table.table([found])


def test_budget_below_warning_level_is_warning() -> None:
    assert report(slo(target="0.988"), steady(1)).status is Status.WARNING  # a sixth is left
    calm = ErrorBudgetPolicy("calm", (), warning_level=Fraction(1, 10))
    one = slo(target="0.988", error_budget_policy="calm")
    (found,) = SLOMonitor(catalog(one, policies=[calm]), MemorySource(api=steady(1))).evaluate(AT)
    assert found.status is Status.HEALTHY


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoData("no events in the window", reason="no_events"), Status.NO_DATA),
        (QueryError("no answer within the read timeout", reason="timeout", transient=True), Status.QUERY_ERROR),
        (InvalidMeasurement("more good events than events"), Status.QUERY_ERROR),
    ],
)
def test_failed_measurement_sets_status_and_message(error: MeasurementError, status: Status) -> None:
    found = report(slo(), error)
    assert (found.status, found.error, found.budget, found.sli) == (status, error, None, None)
    assert found.message == error.message


def test_error_in_burn_window_is_query_error() -> None:
    class HalfBroken(MemorySource):
        def measure(self, requests):  # type: ignore[no-untyped-def]
            return [*super().measure(requests)[:-1], QueryError("gone", reason="timeout", transient=True)]

    (found,) = SLOMonitor(catalog(slo()), HalfBroken(api=steady(0))).evaluate(AT)
    assert found.status is Status.QUERY_ERROR


@pytest.mark.parametrize("reason", ["empty", "bad_series_missing"])
@pytest.mark.parametrize("target", ["0.99", "0.9", "0.5"])
def test_service_without_series_for_an_hour_is_no_data(target: str, reason: str) -> None:
    class Blind(MemorySource):
        def measure(self, requests):  # type: ignore[no-untyped-def]
            found = super().measure(requests)
            return [NoData("no such series", reason=reason) if isinstance(one, NoData) else one for one in found]

    events = steady(0, until=61 * MINUTE)
    (found,) = SLOMonitor(catalog(slo(target=target, kind="Prometheus")), Blind(api=events)).evaluate(AT)
    assert (found.status, found.message) == (Status.NO_DATA, "no measurement in the last 1h: no such series")
    (found,) = SLOMonitor(catalog(slo(kind="SQL")), Blind(api=events)).evaluate(AT)  # rows may be rare
    assert found.status is Status.HEALTHY


def test_events_below_min_events_are_low_traffic() -> None:
    few: Events = [(HOUR, 5, 5)]
    assert report(slo(min_events=11), few).status is Status.LOW_TRAFFIC
    assert report(slo(min_events=10), few).status is Status.EXHAUSTED


def test_failures_below_min_failures_are_low_traffic() -> None:
    one_failure: Events = [(HOUR, 9, 1)]
    assert report(slo(min_failures=2), one_failure).status is Status.LOW_TRAFFIC
    assert report(slo(min_failures=1), one_failure).status is Status.EXHAUSTED
    assert report(slo(min_failures=2), steady(0)).status is Status.HEALTHY


def test_coverage_is_measured_only_where_needed() -> None:
    found = report(slo(target="0.999"), [(HOUR, 1, 9)], api=Fraction(1, 100))
    assert (found.status, found.coverage) == (Status.EXHAUSTED, Fraction(1, 100))
    assert "only 1 % of the window holds data" in found.message
    source = MemorySource(api=steady(0))
    SLOMonitor(catalog(slo()), source).evaluate(AT)
    assert [name for name, _ in source.calls] == ["measure"]
    unknown = report(slo(), [(HOUR, 1, 9)], api=MeasurementError("?", reason="coverage_unknown"))
    assert (unknown.status, unknown.coverage) == (Status.EXHAUSTED, None)


def test_evaluate_at_past_time_uses_history() -> None:
    events = [(10 * DAY, 50, 50), (DAY, 100, 0)]
    assert report(slo(window="7d"), events).sli == 1
    assert report(slo(window="7d"), events, AT - 9 * DAY).sli == Fraction(1, 2)


def test_maturity_lag_ends_window_earlier() -> None:
    found = report(slo(maturity_lag=2 * HOUR), [(HOUR, 0, 100), (3 * HOUR, 100, 0)])
    assert (found.sli, found.end, found.at) == (1, AT - 2 * HOUR, AT)


SLICED = {"time_slice_window": parse_duration("1h"), "time_slice_target": Fraction(95, 100)}


def test_timeslices_count_slices_at_target() -> None:
    events = [(MINUTE * (60 * hour + 30), 90 if hour in (3, 30) else 100, 10 if hour in (3, 30) else 0) for hour in range(48)]
    one = slo(target="0.9", window="2d", method=BudgetingMethod.TIMESLICES, **SLICED)
    found = report(one, events)
    assert (found.good, found.total, found.sli) == (46, 48, Fraction(46, 48))
    assert (found.coverage, found.missing) == (1, MissingSlices.BAD)
    rates = {rate.window: rate.value for rate in found.burn_rates}
    assert rates[6 * HOUR] == Fraction(1, 6) / Fraction(1, 10)
    assert rates[timedelta(minutes=30)] is None


def test_ratio_timeslices_average_slices() -> None:
    events = [(30 * MINUTE, 1, 1), (90 * MINUTE, 900, 100)]
    one = slo(target="0.5", window="2h", method=BudgetingMethod.RATIO_TIMESLICES, **SLICED)
    assert report(one, events).sli == (Fraction(1, 2) + Fraction(9, 10)) / 2


@pytest.mark.parametrize(
    ("missing", "sli"), [(MissingSlices.BAD, Fraction(1, 4)), (MissingSlices.GOOD, 1), (MissingSlices.IGNORE, 1)]
)
def test_missing_slices_count_as_configured(missing: MissingSlices, sli: Fraction) -> None:
    one = slo(target="0.9", window="4h", method=BudgetingMethod.TIMESLICES, missing_slices=missing, **SLICED)
    found = report(one, [(30 * MINUTE, 10, 0)])
    assert (found.sli, found.coverage) == (sli, Fraction(1, 4))
    assert report(one, []).status is Status.NO_DATA


def test_calendar_window_uses_configured_denominator() -> None:
    month = TimeWindow(parse_duration("1M"), False, datetime(2026, 1, 1), "UTC")
    at = datetime(2026, 10, 16, tzinfo=AT.tzinfo)  # 15 of October's 31 days have passed
    events = [(AT - at + DAY, 980, 20)]
    elapsed = report(slo(target="0.99", time_window=month), events, at)
    assert (elapsed.start.day, elapsed.end, elapsed.remaining) == (1, at, -1)
    projected = slo(target="0.99", time_window=month, calendar_denominator=CalendarDenominator.PROJECTED)
    assert report(projected, events, at).remaining == 1 - 2 / Fraction(31, 15)


def test_whole_denominator_uses_all_slices_of_month() -> None:
    month = TimeWindow(parse_duration("1M"), False, datetime(2026, 1, 1), "UTC")
    at = datetime(2026, 10, 16, tzinfo=AT.tzinfo)
    bad_day = [(AT - at + HOUR * h + 30 * MINUTE, 0 if 24 <= h < 48 else 10, 10 if 24 <= h < 48 else 0) for h in range(15 * 24)]
    one = slo(
        target="0.9",
        time_window=month,
        method=BudgetingMethod.TIMESLICES,
        calendar_denominator=CalendarDenominator.WHOLE,
        **SLICED,
    )
    assert report(one, bad_day, at).remaining == 1 - Fraction(24, 31 * 24) / Fraction(1, 10)


def test_evaluate_before_first_calendar_window_is_no_data() -> None:
    later = TimeWindow(parse_duration("1M"), False, datetime(2027, 1, 1), "UTC")
    found = report(slo(time_window=later), steady(0))
    assert found.status is Status.NO_DATA
    assert "before the first calendar window" in found.message


def test_objectives_of_one_source_are_measured_together() -> None:
    events = {f"s{number}": steady(0) for number in range(20)}
    source = MemorySource(**events)
    found = SLOMonitor(catalog(*(slo(name) for name in events)), source).evaluate(AT)
    assert source.calls == [("measure", 20 * 8)]
    assert [one.name for one in found] == list(events)


def test_window_of_policy_rule_is_measured() -> None:
    rule = PolicyRule("r", Action.FREEZE, Signal.BURN_RATE, "gt", Fraction(1), Fraction(1), parse_duration("45m"))
    policy = ErrorBudgetPolicy("p", (rule,))
    one = slo(error_budget_policy="p")
    (found,) = SLOMonitor(catalog(one, policies=[policy]), MemorySource(api=steady(0))).evaluate(AT)
    assert found.burn_rate(timedelta(minutes=45)) is not None


def test_each_objective_has_its_own_report() -> None:
    source = MetricSource("SQL", None, "other")
    own = Indicator("other", RatioMetric(good=source, total=source))
    both = slo(indicator=None, objectives=(Objective(Fraction(1, 2), indicator=own), Objective(Fraction(9, 10), indicator=own)))
    found = SLOMonitor(catalog(both), MemorySource(other=[(HOUR, 8, 2)])).evaluate(AT)
    assert [(one.name, one.status) for one in found] == [("api[1]", Status.HEALTHY), ("api[2]", Status.EXHAUSTED)]
    monitor = SLOMonitor(catalog(both), MemorySource(other=[(HOUR, 8, 2)]))
    assert [monitor.compute_error_budget(name, AT).remaining for name in ("api[1]", "api[2]")] == [Fraction(3, 5), -1]
    with pytest.raises(ValueError, match=r"'api' has several objectives; name one of api\[1\], api\[2\]"):
        monitor.check_sli("api", AT)


def test_each_data_source_is_created_once() -> None:
    created: list[tuple[str, str | None]] = []

    def factory(kind: str, document: DataSource | None) -> MemorySource:
        created.append((kind, document.name if document else None))
        return MemorySource(a=steady(0), b=steady(0), c=steady(0))

    sources = {"eu": DataSource("eu", "SQL"), "us": DataSource("us", "SQL")}

    def reading(name: str, ref: str) -> SLO:
        source = MetricSource("SQL", ref, name)
        return slo(name, indicator=Indicator(name, RatioMetric(good=source, total=source)))

    from airflow_slo_provider.slo.catalog import SLOCatalog

    monitor = SLOMonitor(SLOCatalog((reading("a", "eu"), reading("b", "us"), reading("c", "eu")), data_sources=sources), factory)
    assert {one.status for one in monitor.evaluate(AT) + monitor.evaluate(AT)} == {Status.HEALTHY}
    assert created == [("SQL", "eu"), ("SQL", "us")]


def test_failed_source_affects_only_its_slos() -> None:
    def factory(kind: str, _document: object) -> MemorySource:
        if kind == "SQL":
            raise QueryError("no such connection", reason="bad_connection")
        return MemorySource(b=steady(0))

    found = SLOMonitor(catalog(slo("a"), slo("b", kind="Ledger")), factory).evaluate(AT)
    assert [one.status for one in found] == [Status.QUERY_ERROR, Status.HEALTHY]
    assert "cannot be measured here" in SLOMonitor(catalog(slo()), {}).evaluate(AT)[0].message


def test_invalid_arguments_raise_errors() -> None:
    monitor = SLOMonitor(catalog(slo()), MemorySource(api=steady(0)))
    with pytest.raises(ValueError, match="has no time zone"):
        monitor.evaluate(datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="did you mean 'api'"):
        monitor.evaluate(AT, "apy")
    with pytest.raises(ValueError, match="no SLO is selected"):
        monitor.evaluate(AT, lambda one: False)
    with pytest.raises(ValueError, match="no SLO is selected"):
        SLOMonitor(catalog(), MemorySource()).evaluate(AT)
    with pytest.raises(TypeError, match="sources must be"):
        SLOMonitor(catalog(slo()), 7)


class Sighted(MemorySource):
    """Says also when it last saw anything."""

    ago = timedelta(0)

    def _slices(self, request: Any, width: timedelta) -> Slices | MeasurementError:
        found = super()._slices(request, width)
        return found if isinstance(found, MeasurementError) else replace(found, last_seen=AT - self.ago)


@pytest.mark.parametrize("method", [BudgetingMethod.TIMESLICES, BudgetingMethod.RATIO_TIMESLICES])
@pytest.mark.parametrize("missing", [MissingSlices.GOOD, MissingSlices.IGNORE])
def test_timeslices_without_recent_data_are_no_data(method: BudgetingMethod, missing: MissingSlices) -> None:
    one = slo(target="0.9", window="1d", method=method, missing_slices=missing, **SLICED)
    source = Sighted(api=steady(0, until=2 * HOUR))
    (quiet,) = SLOMonitor(catalog(one), {"SQL": source}).evaluate(AT)
    assert quiet.status is Status.HEALTHY, "nothing happened, and it was seen"
    source.ago = 2 * HOUR
    (blind,) = SLOMonitor(catalog(one), {"SQL": source}).evaluate(AT)
    assert (blind.status, blind.message) == (Status.NO_DATA, "no measurement in the last 2h")


def test_missing_bad_slices_burn_budget() -> None:
    one = slo(target="0.9", window="1d", method=BudgetingMethod.TIMESLICES, missing_slices=MissingSlices.BAD, **SLICED)
    source = Sighted(api=steady(0, until=6 * HOUR))
    source.ago = 6 * HOUR
    (found,) = SLOMonitor(catalog(one), {"SQL": source}).evaluate(AT)
    assert (found.sli, found.status) == (Fraction(3, 4), Status.EXHAUSTED)
    rate = found.burn_rate(HOUR)
    assert rate is not None
    assert rate.value == 10


def test_evaluate_in_future_raises_beyond_clock_tolerance() -> None:
    monitor = SLOMonitor(catalog(slo("api")), MemorySource(api=steady(0)))
    now = datetime.now(UTC)
    for ahead in (timedelta(seconds=70), timedelta(days=30)):
        for ask in (monitor.evaluate, monitor.should_allow_deployment, monitor.get_status):
            with pytest.raises(ValueError, match="lies in the future"):
                ask(now + ahead)
    assert monitor.evaluate(now + timedelta(seconds=30))
