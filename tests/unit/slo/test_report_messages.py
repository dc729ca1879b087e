"""What the sentence of a report says: how much budget is left, or why it is not judged."""

from __future__ import annotations

import re
from datetime import datetime
from fractions import Fraction
from typing import Any

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import MeasurementError, NoData, QueryError
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import SLOReport, Status
from airflow_slo_provider.slo.budget.text_table import table
from airflow_slo_provider.slo.model import BudgetingMethod, MissingSlices, TimeWindow
from tests.unit.slo.monitor_builders import AT, DAY, HOUR, MINUTE, Events, MemorySource, catalog, slo, steady
from tests.unit.slo.window_builders import FIVE, reported

SLICED = {
    "time_slice_target": Fraction(9, 10), "time_slice_window": parse_duration("1h"), "method": BudgetingMethod.TIMESLICES,
    "window": "1d", "target": "0.5",
}  # fmt: skip


def report(events: Events | MeasurementError, coverage: Fraction | MeasurementError = Fraction(1), **fields: Any) -> SLOReport:
    source = MemorySource(api=events)
    source.coverages = {"api": coverage}
    (found,) = SLOMonitor(catalog(slo(**fields)), source).evaluate(AT)
    return found


def once(bad: int, *, of: int = 1000) -> Events:
    """Failures of ten days ago."""
    return [(10 * DAY, of - bad, bad)]


@pytest.mark.parametrize(
    ("events", "fields", "status", "message"),
    [
        (steady(0), {}, Status.HEALTHY, "100 % of the error budget is left"),
        (once(8), {}, Status.WARNING, "only 20 % of the error budget is left"),
        (once(10), {}, Status.EXHAUSTED, "the error budget is spent: 100 % of it is used"),
        (once(30), {}, Status.EXHAUSTED, "the error budget is spent: 300 % of it is used"),
        (
            [(MINUTE, 80, 20), (10 * DAY, 99_900, 0)],
            {},
            Status.BURNING,
            "the error budget burns at 20 times the sustainable rate over 1h; 98 % of the error budget is left",
        ),
        (steady(1), {"min_events": 72_001}, Status.LOW_TRAFFIC, "72000 events, fewer than the 72001 of min-events"),
        (steady(1), {"min_events": 72_000}, Status.EXHAUSTED, "the error budget is spent: 100 % of it is used"),
        (steady(1), {"min_failures": 721}, Status.LOW_TRAFFIC, "720 failures, fewer than the 721 of min-failures"),
        (steady(1), {"min_failures": 720}, Status.EXHAUSTED, "the error budget is spent: 100 % of it is used"),
        (once(1), {"min_failures": 2}, Status.HEALTHY, "90 % of the error budget is left"),
        (LOST := QueryError("no answer", reason="timeout"), {}, Status.QUERY_ERROR, "no answer"),
        (NoData("no series", reason="empty"), {}, Status.NO_DATA, "no series"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_message_of_a_status(events: Events | MeasurementError, fields: Any, status: Status, message: str) -> None:
    found = report(events, **fields)
    assert (found.status, found.message) == (status, message)


@pytest.mark.parametrize(("month", "days"), [(10, 31), (2, 28)])
def test_time_left_of_a_month_is_that_of_its_own_days(month: int, days: int) -> None:
    calendar = TimeWindow(parse_duration("1M"), False, datetime(2026, 1, 1), "UTC")
    at = datetime(2026, month, 16, tzinfo=AT.tzinfo)
    source = MemorySource(api=[(AT - at + MINUTE, 995, 5)])
    (found,) = SLOMonitor(catalog(slo(time_window=calendar)), source).evaluate(at)
    assert found.budget is not None
    assert found.budget.remaining_time == days * DAY / 200  # half of 1 %


@pytest.mark.parametrize(
    ("coverage", "note", "failed"),
    [
        (Fraction(1, 2), "", False),
        (Fraction(49, 100), "; only 49 % of the window holds data; its budget may freeze deployments from 50 %", False),
        (LOST, "; the share of the window that holds data could not be measured: no answer", True),
        (MeasurementError("an aggregate", reason="coverage_unknown"), "", False),
    ],
    ids=["enough", "little", "failed", "unknown"],
)
def test_coverage_of_the_window_is_noted_if_it_is_low(coverage: Any, note: str, failed: bool) -> None:
    found = report(once(20), coverage, min_coverage=Fraction(1, 2))
    assert found.message == f"the error budget is spent: 200 % of it is used{note}"
    assert (found.coverage, found.coverage_failed) == (coverage if isinstance(coverage, Fraction) else None, failed)


@pytest.mark.parametrize(
    ("hours", "missing", "message"),
    [
        (0, MissingSlices.BAD, "100 % of the error budget is left"),
        (3, MissingSlices.BAD, "75 % of the error budget is left; time slices without data count as bad"),
        (3, MissingSlices.GOOD, "100 % of the error budget is left; time slices without data count as good"),
        (3, MissingSlices.IGNORE, "100 % of the error budget is left"),
    ],
)
def test_slices_without_data_are_noted_if_they_count(hours: int, missing: MissingSlices, message: str) -> None:
    assert report(steady(0, until=hours * HOUR), missing_slices=missing, **SLICED).message == message


def test_unknown_burn_rate_is_noted_with_the_alerts_that_it_hides() -> None:
    """A page would need more than the known rate of the last hour; nothing is said of an alert that it rules out."""
    contradiction = "more good events than events: good 11, total 10; check that both queries select the same events"
    quiet = reported({FIVE: (11, 10)})
    assert quiet.message == f"100 % of the error budget is left; unknown burn rate over 5m: {contradiction}"
    burning = reported({FIVE: (11, 10), HOUR: (50, 100)})
    alert = "it is unknown whether the page alert over 1h and 5m fires"
    assert burning.message == f"100 % of the error budget is left; unknown burn rate over 5m: {contradiction}; {alert}"


@pytest.mark.parametrize(
    ("events", "spent"),
    [(steady(0), "never"), ([(MINUTE, 90, 10)], "spent"), (LOST, "-"), ([(MINUTE, 999, 1), (DAY, 99_000, 0)], "299d 16h")],
    ids=["idle", "spent", "unknown", "burning"],
)
def test_table_says_when_the_budget_is_exhausted(events: Events | MeasurementError, spent: str) -> None:
    *_, row = table([report(events)]).splitlines()
    assert re.split(r"\s{2,}", row)[-2] == spent


def test_table_shows_windows_of_unknown_rates_beside_known_ones() -> None:
    head, *rows = table([reported({FIVE: (11, 10), 30 * MINUTE: (11, 10)}), reported({})]).splitlines()
    assert head.endswith("unknown over  status")
    assert [re.split(r"\s{2,}", row)[-2:] for row in rows[-2:]] == [["5m, 30m", "WARNING"], ["-", "HEALTHY"]]
