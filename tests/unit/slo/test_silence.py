"""A log without new events must not look healthy: the silence is reported, and ``max-silence`` makes the status NO_DATA."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.indicators.ledger import LedgerSource
from airflow_slo_provider.indicators.sql.source import SQLSource, dbapi_runner
from airflow_slo_provider.ledger import RunKey, open_ledger
from airflow_slo_provider.results import CheckResult, Verdict
from airflow_slo_provider.slo.budget.ledger_records import slo_checks, summary
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import GateOutcome, SLOReport, Status
from airflow_slo_provider.slo.budget.text_table import table
from airflow_slo_provider.slo.catalog import SLOCatalog
from airflow_slo_provider.slo.model import BudgetingMethod, Indicator, MetricSource, Objective, RatioMetric, ThresholdMetric
from airflow_slo_provider.slo.policy.decisions import decide
from tests.unit.slo.monitor_builders import AT, DAY, HOUR, MINUTE, Events, MemorySource, catalog, slo, steady

STOPPED = steady(0, until=20 * DAY)
SLICES = {"method": BudgetingMethod.TIMESLICES, "time_slice_target": Fraction(9, 10), "time_slice_window": parse_duration("1h")}


def report(events: Events, source: object = None, **fields: object) -> SLOReport:
    slos = catalog(slo("api", **fields))  # type: ignore[arg-type]
    (found,) = SLOMonitor(slos, source or MemorySource(api=events)).evaluate(AT)
    return found


@pytest.mark.parametrize("more", [{}, SLICES], ids=["occurrences", "slices"])
class TestMonitor:
    def test_silence_beyond_max_silence_is_no_data(self, more: dict) -> None:
        found = report(STOPPED, max_silence=6 * HOUR, missing_slices=_ignored(more), **more)
        assert (found.status, found.budget) == (Status.NO_DATA, None)
        assert found.error is not None
        assert found.error.reason == "silent"
        assert "airflow-slo/max-silence allows 6h at most" in found.message

    def test_silence_within_max_silence_is_measured(self, more: dict) -> None:
        found = report(steady(0, until=5 * HOUR), max_silence=6 * HOUR, missing_slices=_ignored(more), **more)
        assert found.status is Status.HEALTHY

    def test_decision_beyond_max_silence_is_unknown(self, more: dict) -> None:
        slos = catalog(slo("api", max_silence=6 * HOUR, missing_slices=_ignored(more), **more))
        decision = decide(SLOMonitor(slos, MemorySource(api=STOPPED)).evaluate(AT), slos)
        assert decision.outcome is GateOutcome.UNKNOWN
        assert not decision.allowed

    def test_silence_without_limit_is_shown_in_table(self, more: dict) -> None:
        found = report(STOPPED, missing_slices=_ignored(more), **more)
        assert found.status is Status.HEALTHY
        assert found.silence is not None
        assert found.silence >= 3 * DAY
        assert "no event for  status" in table([found])
        assert table([found]).endswith("HEALTHY")

    def test_steady_service_has_no_silence(self, more: dict) -> None:
        found = report(steady(0), **more)
        assert found.silence is None
        assert "no event" not in table([found])


def _ignored(more: dict) -> object:
    from airflow_slo_provider.slo.model import MissingSlices

    return MissingSlices.IGNORE if more else MissingSlices.BAD


def test_silence_equal_to_max_silence_is_healthy() -> None:
    for ago, status in ((6 * HOUR, Status.HEALTHY), (6 * HOUR + MINUTE, Status.NO_DATA)):
        assert report([(ago, 100, 0)], max_silence=6 * HOUR).status is status


@pytest.mark.parametrize(("minutes", "silence"), [(59, None), (60, None), (61, HOUR)])
def test_silence_is_shown_from_an_hour_on(minutes: int, silence: timedelta | None) -> None:
    """The last hour of a source that counts events is its shortest measured window of that length."""
    assert report([(minutes * MINUTE, 100, 0), (2 * DAY, 100, 0)]).silence == silence


def test_silence_of_slices_is_their_width() -> None:
    hours = 3
    found = report(steady(0, until=hours * HOUR), missing_slices=_ignored(SLICES), **SLICES)
    assert found.silence == hours * HOUR


def test_table_shows_the_silent_beside_those_with_events() -> None:
    head, *rows = table([report(STOPPED), report(steady(0))]).splitlines()
    assert head.endswith("exhausted in  no event for  status")
    assert [row.split()[-2] for row in rows[-2:]] == ["3d", "-"]


def test_max_silence_equal_to_burn_window_is_measured_once() -> None:
    source = MemorySource(api=steady(0))
    without = MemorySource(api=steady(0))
    report([], source, max_silence=6 * HOUR)
    report([], without)
    assert source.calls[0] == without.calls[0]


def test_failed_measurement_of_silence_is_query_error() -> None:
    class Fails(MemorySource):
        def measure(self, requests):
            return [
                QueryError("down", reason="timeout", transient=True) if request.end - request.start == 7 * HOUR else one
                for request, one in zip(requests, super().measure(requests), strict=True)
            ]

    found = report([], Fails(api=steady(0)), max_silence=7 * HOUR)
    assert (found.status, found.message) == (Status.QUERY_ERROR, "down")


def test_silence_is_in_record_and_xcom() -> None:
    slos = catalog(slo("api"))
    decision = decide(SLOMonitor(slos, MemorySource(api=STOPPED)).evaluate(AT), slos)
    assert summary(decision)["slos"][0]["silent_seconds"] >= 3 * 86400
    assert slo_checks(decision)[0].evidence["silent_seconds"] >= 3 * 86400


class TestSQL:
    def source(self, *ago: timedelta) -> SQLSource:
        connection = sqlite3.connect(":memory:")
        connection.execute("CREATE TABLE log (ts TEXT, ms REAL)")
        rows = [((AT - one).strftime("%Y-%m-%d %H:%M:%S"), 5.0) for one in ago]
        connection.executemany("INSERT INTO log VALUES (?, ?)", rows)
        connection.commit()
        return SQLSource(dbapi_runner(connection), name="log")

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("SELECT COUNT(*) AS good, COUNT(*) AS total FROM log", "no event in the last 3d"),
            (
                "SELECT ts || 'Z' AS timestamp, 1 AS good, 1 AS total FROM log",
                "no event since 2026-10-12 00:00 UTC: silent for 20d",
            ),
        ],
    )
    def test_stopped_log_is_no_data(self, query: str, message: str) -> None:
        where = MetricSource("SQL", None, f"{query} WHERE ts >= :date_from AND ts < :date_to")
        fields = {"indicator": Indicator("i", RatioMetric(good=where, total=where)), "max_silence": 6 * HOUR}
        found = report([], self.source(20 * DAY, 21 * DAY), **fields)
        assert (found.status, message in found.message) == (Status.NO_DATA, True), found.message
        assert report([], self.source(HOUR, 21 * DAY), **fields).status is Status.HEALTHY

    def test_stopped_points_are_no_data(self) -> None:
        query = "SELECT ts || 'Z' AS timestamp, ms AS value FROM log WHERE ts >= :date_from AND ts < :date_to"
        fields = {
            "indicator": Indicator("i", ThresholdMetric(MetricSource("SQL", None, query))),
            "objectives": (Objective(Fraction(9, 10), op="lte", value=Fraction(10)),),
        }
        found = report([], self.source(20 * DAY), max_silence=6 * HOUR, **fields)
        assert (found.status, "silent for 20d" in found.message) == (Status.NO_DATA, True)
        assert report([], self.source(20 * DAY), **fields).silence == 20 * DAY


class TestLedger:
    def test_stopped_checks_are_no_data(self, tmp_path) -> None:
        source = MetricSource("Ledger", None, "fresh")
        slos = SLOCatalog((slo("api", indicator=Indicator("i", RatioMetric(good=source, total=source)), max_silence=6 * HOUR),))
        with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
            for number in (20, 21, 22):
                check = CheckResult(kind="freshness", name="fresh", verdict=Verdict.PASS, checked_at=AT - number * DAY)
                ledger.record([check], RunKey("d", f"r{number}", "t"))
            (found,) = SLOMonitor(slos, LedgerSource(ledger)).evaluate(AT)
            assert (found.status, "no event since 2026-10-12 00:00 UTC: silent for 20d" in found.message) == (
                Status.NO_DATA,
                True,
            )
            ledger.record(
                [CheckResult(kind="freshness", name="fresh", verdict=Verdict.PASS, checked_at=AT - HOUR)], RunKey("d", "now", "t")
            )
            (found,) = SLOMonitor(slos, LedgerSource(ledger)).evaluate(AT)
            assert found.status is Status.HEALTHY
