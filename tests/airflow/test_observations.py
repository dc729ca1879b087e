"""An observation of the present is recorded once: runs that are caught up, backfilled or cleared mend no budget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_slo_provider import slo
from airflow_slo_provider.indicators.ledger import LedgerSource
from airflow_slo_provider.ledger import RunKey
from airflow_slo_provider.operators.drift import DriftOperator
from airflow_slo_provider.operators.freshness import FreshnessCheckOperator
from airflow_slo_provider.operators.golden_set import GoldenSetEvaluationOperator
from airflow_slo_provider.operators.latency import LatencyBreakdownOperator
from airflow_slo_provider.results import CheckResult, Verdict
from airflow_slo_provider.sensors.freshness import FeatureFreshnessSensor
from tests.airflow.freshness_runs import HOUR
from tests.airflow.task_runs import run_task

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
SLO = """
apiVersion: openslo/v1
kind: Service
metadata: {name: features}
spec: {}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: ledger}
spec: {type: Ledger, connectionDetails: {}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: fresh}
spec:
  service: features
  indicator:
    metadata: {name: fresh}
    spec:
      ratioMetric:
        good: {metricSource: {metricSourceRef: ledger, spec: {check: "table:features"}}}
        total: {metricSource: {metricSourceRef: ledger, spec: {check: "table:features"}}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: most, target: 0.9}]
"""
TABLE = {"table": "features", "timestamp_column": "ts", "conn_id": "db"}


def check(**arguments: Any) -> FreshnessCheckOperator:
    return FreshnessCheckOperator(task_id="check", max_age=HOUR, **TABLE, **arguments)


def remaining(ledger: Any) -> float:
    (report,) = slo.SLOMonitor(slo.load(SLO), LedgerSource(ledger)).evaluate()
    assert report.remaining is not None, report.error
    return float(report.remaining)


def spend(ledger: Any, task_id: str = "check") -> None:
    """Twenty daily checks, three of which failed: the budget of a tenth is spent."""
    for number in range(20):
        bad = number in (3, 7, 9)
        found = CheckResult(
            kind="freshness", name="table:features", verdict=Verdict.FAIL if bad else Verdict.PASS,
            checked_at=NOW - (number + 1) * DAY,
        )  # fmt: skip
        ledger.record([found], RunKey("a_dag", f"live-{number}", task_id))


@pytest.mark.parametrize("run_type", ["backfill", "scheduled"])
def test_catchup_runs_do_not_refill_spent_budget(features, ledger, run_type: str):
    spend(ledger, "another_task")
    before = remaining(ledger)
    features.write(HOUR / 2)
    for number in range(12):
        end = NOW - (number + 1) * DAY
        ran = run_task(
            check(), connections=features.connections, run_type=run_type, run_id=f"past-{number}", data_interval=(end - DAY, end)
        )
        assert ran.xcoms["return_value"]["verdict"] == "pass"
    assert before < 0
    assert remaining(ledger) < 0
    # One of them looked first, for all of them.
    past = [row for row in ledger.checks("freshness") if row.key.run_id.startswith("past")]
    assert len(past) == 1
    assert "Recorded as repeated, and not counted" in ran.log
    assert len(ledger.checks("freshness_repeated")) == 11


def test_each_run_on_time_is_recorded(features, ledger):
    features.write(HOUR / 2)
    for number in range(3):
        run_task(check(), connections=features.connections, run_id=f"live-{number}")
    assert len(ledger.checks("freshness")) == 3


def test_cleared_old_runs_do_not_improve_budget(features, ledger):
    spend(ledger)
    before = remaining(ledger)
    features.write(HOUR / 2)
    for number in (3, 7, 9):
        due = NOW - (number + 1) * DAY - timedelta(minutes=1)
        ran = run_task(check(), connections=features.connections, run_id=f"live-{number}", run_type="scheduled", run_after=due)
        assert ran.state == "success"
    assert remaining(ledger) == before


def test_late_run_with_worse_result_is_recorded(features, ledger):
    features.write(HOUR / 2)
    run_task(check(), connections=features.connections, run_id="live")
    features.write(3 * HOUR)
    for number in range(3):
        run_task(
            check(),
            connections=features.connections,
            run_id=f"late-{number}",
            run_type="scheduled",
            run_after=NOW - number * DAY - DAY,
        )
    assert [row.result.verdict for row in ledger.checks("freshness", newest_first=False)] == ["pass", "fail"]


def test_failed_measurement_is_recorded_once(features, ledger):
    past = {"run_type": "backfill", "data_interval": (NOW - 2 * DAY, NOW - DAY)}
    for number in range(3):
        task = FreshnessCheckOperator(task_id="check", max_age=HOUR, **{**TABLE, "timestamp_column": "nope"})
        assert run_task(task, connections=features.connections, run_id=f"late-{number}", **past).state == "failed"
    assert len(ledger.checks("freshness")) == 1


def test_sensor_of_late_run_ends_at_timeout(features, ledger):
    """What it remembers of its first look is there although the look does not count."""
    features.write(3 * HOUR)
    sensor = {"task_id": "check", "max_age": HOUR, "mode": "reschedule", "timeout": 3600, "poke_interval": 60, **TABLE}
    run_task(FeatureFreshnessSensor(**sensor), connections=features.connections, run_id="live")
    late = {"run_id": "late", "run_type": "scheduled", "run_after": NOW - DAY, "connections": features.connections}
    assert run_task(FeatureFreshnessSensor(**sensor), **late).state == "up_for_reschedule"
    (kept,) = ledger.checks("freshness_repeated")
    assert run_task(FeatureFreshnessSensor(**sensor), **late).state == "up_for_reschedule"
    (again,) = ledger.checks("freshness_repeated")
    assert again.result.evidence["waiting_since"] == kept.result.evidence["waiting_since"]


def test_concurrent_observations_leave_one(ledger):
    """Write as twelve workers do that have all looked before any of them wrote."""
    from concurrent.futures import ThreadPoolExecutor

    from airflow_slo_provider.ledger import open_ledger

    url = f"sqlite:///{ledger.where.removeprefix('sqlite:///')}"
    found = CheckResult(kind="freshness", name="x", verdict=Verdict.PASS)

    def write(number: int) -> str:
        with open_ledger(url) as own:
            return own.record_observations([found], RunKey("d", f"r{number}", "t"), due=NOW - number * DAY - DAY)[0].kind

    with ThreadPoolExecutor(12) as pool:
        kinds = list(pool.map(write, range(12)))
    assert sorted(kinds) == ["freshness", *["freshness_repeated"] * 11]


class TestOtherChecks:
    @pytest.fixture
    def tables(self, tmp_path: Path) -> Path:
        for name in ("reference", "current"):
            rows = "\n".join(f"2026-01-0{1 + number % 2}T12:00:00Z,{number % 10}" for number in range(400))
            (tmp_path / f"{name}.csv").write_text(f"ts,x\n{rows}\n")
        return tmp_path

    def drift(self, tables: Path, **arguments: Any) -> DriftOperator:
        return DriftOperator(
            task_id="drift", reference=str(tables / "reference.csv"), current=str(tables / "current.csv"), columns=["x"],
            min_rows=10, **arguments,
        )  # fmt: skip

    def test_drift_of_same_file_is_recorded_once(self, tables: Path, ledger):
        for number in range(4):
            end = NOW - (number + 1) * DAY
            ran = run_task(self.drift(tables), run_type="backfill", run_id=f"past-{number}", data_interval=(end - DAY, end))
            assert ran.state == "success", ran.error
        assert len(ledger.checks("drift")) == 1
        assert len(ledger.checks("drift_repeated")) == 3

    def test_drift_of_file_per_run_is_recorded_per_run(self, tables: Path, ledger):
        (tables / "other.csv").write_text((tables / "current.csv").read_text())
        for name in ("current", "other"):
            task = DriftOperator(
                task_id="drift", reference=str(tables / "reference.csv"), current=str(tables / f"{name}.csv"), columns=["x"],
                min_rows=10,
            )  # fmt: skip
            run_task(task, run_type="backfill", run_id=name, data_interval=(NOW - 2 * DAY, NOW - DAY))
        assert len(ledger.checks("drift")) == 2

    def test_drift_of_past_interval_is_dated_at_its_end(self, tables: Path, ledger):
        start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
        ran = run_task(self.drift(tables, time_column="ts"), run_type="backfill", data_interval=(start, end))
        assert ran.state == "success", ran.error
        assert {row.result.checked_at for row in ledger.checks("drift")} == {end}

    def test_golden_set_is_recorded_once_per_version(self, tmp_path: Path, ledger):
        golden = tmp_path / "golden.csv"
        golden.write_text("id,label,p\n" + "\n".join(f"{number},{number % 2},{number % 2}" for number in range(60)) + "\n")
        for number in range(4):
            end = NOW - (number + 1) * DAY
            task = GoldenSetEvaluationOperator(
                task_id="evaluate", golden_set=str(golden), predictor="p", metrics=["accuracy"], thresholds={"accuracy": 0.5},
                model_version=str(number % 2), name="g",
            )  # fmt: skip
            ran = run_task(task, run_type="backfill", run_id=f"past-{number}", data_interval=(end - DAY, end))
            assert ran.state == "success", ran.error
        rows = [row for row in ledger.checks("golden_set") if row.result.name == "g"]
        assert sorted(row.result.model_version for row in rows) == ["0", "1"]

    def test_latency_of_backfill_without_length_is_about_past(self):
        end = NOW - 10 * DAY
        task = LatencyBreakdownOperator(task_id="t", service="s")
        ran = run_task(task, run_type="backfill", data_interval=(end, end), connections={})
        assert f"to {end.isoformat()}" in ran.log
        ran = run_task(task, run_type="backfill", partition=("p", None), connections={})
        assert (ran.state, "set end=" in str(ran.error)) == ("failed", True)
