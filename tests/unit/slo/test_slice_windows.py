"""Which slices an SLO of time slices asks for, and what of its windows they answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import MeasurementError
from airflow_slo_provider.slo.budget.indicator_source import MeasureRequest, Slices
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import SLOReport, Status
from airflow_slo_provider.slo.model import BudgetingMethod, MissingSlices, TimeWindow
from airflow_slo_provider.slo.policy.error_budget_policy import Action, ErrorBudgetPolicy, PolicyRule, Signal
from tests.unit.slo.monitor_builders import AT, DAY, HOUR, MINUTE, MemorySource, catalog, slo, steady


class Watched(MemorySource):
    """Remembers what is asked, and may say when it last saw anything."""

    seen: timedelta | None = None

    def slices(self, requests: Sequence[MeasureRequest], width: timedelta) -> list[Slices | MeasurementError]:
        self.requests = list(requests)
        answers = super().slices(requests, width)
        if self.seen is None:
            return answers
        return [replace(one, last_seen=AT - self.seen) if isinstance(one, Slices) else one for one in answers]


def evaluate(source: MemorySource, width: str = "1h", *, rule: str = "", at: datetime = AT, **fields: Any) -> SLOReport:
    sliced = {"time_slice_target": Fraction(9, 10), "time_slice_window": parse_duration(width)}
    rules = (
        (PolicyRule("r", Action.ALERT, Signal.BURN_RATE, "gt", Fraction(1), Fraction(1), parse_duration(rule)),) if rule else ()
    )
    one = slo(**{"method": BudgetingMethod.TIMESLICES, "error_budget_policy": "p"} | sliced | fields)
    (found,) = SLOMonitor(catalog(one, policies=[ErrorBudgetPolicy("p", rules)]), source).evaluate(at)
    return found


@pytest.mark.parametrize(
    ("window", "width", "rule", "earlier"),
    [
        ("30d", "1h", "", timedelta(0)),
        ("1d", "1h", "", timedelta(0)),
        ("1d", "1h", "25h", HOUR),
        ("1d", "7h", "25h", 7 * HOUR),
        ("1d", "7h", "31h", 7 * HOUR),
        ("1d", "7h", "32h", 14 * HOUR),
    ],
)
def test_slices_begin_as_many_whole_slices_earlier_as_the_longest_window_needs(
    window: str, width: str, rule: str, earlier: timedelta
) -> None:
    source = Watched(api=steady(0))
    evaluate(source, width, rule=rule, window=window)
    (request,) = source.requests
    assert (request.start, request.end) == (AT - parse_duration(window).timedelta - earlier, AT)


def test_slices_of_a_young_calendar_window_reach_into_the_one_before() -> None:
    month = TimeWindow(parse_duration("1M"), False, datetime(2026, 1, 1), "UTC")
    source = Watched(api=steady(0, days=90))
    at = datetime(2026, 10, 2, tzinfo=AT.tzinfo)  # the longest burn rate is that of three days
    found = evaluate(source, time_window=month, at=at)
    assert source.requests[0].start == at - 3 * DAY
    assert (found.start, found.total) == (at - DAY, 24)


def test_burn_rates_of_slices_are_those_of_the_last_slices() -> None:
    """A window shorter than a slice has none, and neither has one whose slices are all ignored."""
    good, bad = [(hours * HOUR + MINUTE, 100, 0) for hours in (2, 3)], [(hours * HOUR + MINUTE, 0, 100) for hours in (4, 5)]
    found = evaluate(MemorySource(api=good + bad), target="0.9", window="1d", missing_slices=MissingSlices.IGNORE)
    rates = {rate.window: (rate.value, rate.problem) for rate in found.burn_rates}
    assert rates == {
        5 * MINUTE: (None, "shorter than a time slice (1h)"),
        30 * MINUTE: (None, "shorter than a time slice (1h)"),
        HOUR: (None, "none of the 1 time slices holds data"),
        6 * HOUR: (5, ""),
    }


@pytest.mark.parametrize(
    ("seen", "missing", "status"),
    [
        (59 * MINUTE, MissingSlices.GOOD, Status.HEALTHY),
        (60 * MINUTE, MissingSlices.GOOD, Status.NO_DATA),
        (60 * MINUTE, MissingSlices.IGNORE, Status.NO_DATA),
        (60 * MINUTE, MissingSlices.BAD, Status.HEALTHY),
        (None, MissingSlices.GOOD, Status.HEALTHY),
    ],
)
def test_source_that_saw_nothing_for_an_hour_has_lost_the_service(
    seen: timedelta | None, missing: MissingSlices, status: Status
) -> None:
    source = Watched(api=steady(0))
    source.seen = seen
    assert evaluate(source, missing_slices=missing).status is status


@pytest.mark.parametrize(("hours", "status"), [(1, Status.HEALTHY), (2, Status.NO_DATA)])
def test_source_with_wide_slices_may_be_silent_for_one(hours: int, status: Status) -> None:
    source = Watched(api=steady(0))
    source.seen = hours * HOUR
    assert evaluate(source, "2h", missing_slices=MissingSlices.GOOD).status is status
