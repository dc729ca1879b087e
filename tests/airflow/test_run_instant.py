"""Which instant a task evaluates, with the run objects that Airflow's task runner gives it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk.api.datamodels._generated import DagRun

from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator
from airflow_slo_provider.operators.policy_actions import PolicyDecisionOperator
from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor
from tests.airflow.gates import DAY, MINUTE, LedgerFile, RequestLog, sql_documents
from tests.airflow.task_runs import Ran, run_task

#: The execution API of Airflow 3.2 returns the key of a partition, but not its date.
KNOWS_PARTITION_DATES = "partition_date" in DagRun.model_fields
DAYS_AGO = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - 3 * DAY


def gate(request_log: RequestLog, at: object = None, **run) -> Ran:
    return run_task(
        ErrorBudgetGateOperator(task_id="gate", slos=sql_documents(), at=at), connections=request_log.connection, **run
    )


@pytest.fixture
def spent_now(request_log: RequestLog, ledger_file: LedgerFile) -> RequestLog:
    """Healthy three days ago, spent now."""
    request_log.write(1000, 0, at=DAYS_AGO - 60 * MINUTE)
    request_log.write(900, 100)
    return request_log


def test_gate_with_future_at_fails(spent_now: RequestLog, ledger_file: LedgerFile):
    """Two days on, the failures would have left the window."""
    soon = datetime.now(UTC) + timedelta(seconds=90)
    for at in (soon, soon.isoformat(), datetime.now(UTC) + 2 * DAY):
        ran = gate(spent_now, at)
        assert ran.state == "failed"
        assert "lies in the future" in str(ran.error)
        assert "decision" not in ran.xcoms
    assert ledger_file.checks() == []


def test_gate_with_at_within_clock_tolerance_is_evaluated(spent_now: RequestLog):
    assert gate(spent_now, datetime.now(UTC) + timedelta(seconds=30)).xcoms["decision"]["outcome"] == "frozen"


def test_gate_in_backfill_of_unfinished_interval_fails(spent_now: RequestLog):
    now = datetime.now(UTC)
    ran = gate(spent_now, run_type="backfill", data_interval=(now - MINUTE, now + 2 * DAY))
    assert (ran.state, "data_interval_end" in str(ran.error), "future" in str(ran.error)) == ("failed", True, True)


def test_gate_in_backfill_without_interval_fails(spent_now: RequestLog):
    ran = gate(spent_now, run_type="backfill")
    assert (ran.state, "is unknown" in str(ran.error)) == ("failed", True)


@pytest.mark.parametrize("run_type", ["scheduled", "backfill", "manual", "asset_triggered"])
@pytest.mark.skipif(not KNOWS_PARTITION_DATES, reason="Airflow 3.2 has no partition_date")
def test_gate_in_partitioned_run_evaluates_partition(spent_now: RequestLog, run_type: str):
    ran = gate(spent_now, run_type=run_type, partition=("2026-11-20", DAYS_AGO))
    decision = ran.xcoms["decision"]
    assert (decision["at"], decision["outcome"]) == (DAYS_AGO.isoformat(), "allowed")
    assert f"Judged at {DAYS_AGO.isoformat()}: the start of this run's partition 2026-11-20" in ran.log


@pytest.mark.skipif(not KNOWS_PARTITION_DATES, reason="Airflow 3.2 has no partition_date")
def test_gate_in_run_of_future_partition_fails(spent_now: RequestLog):
    ran = gate(spent_now, run_type="scheduled", partition=("later", datetime.now(UTC) + DAY))
    assert (ran.state, "partition_date" in str(ran.error)) == ("failed", True)


@pytest.mark.parametrize("run_type", ["scheduled", "backfill", "manual"])
def test_gate_in_partitioned_run_without_date_requires_at(spent_now: RequestLog, run_type: str):
    run = {"run_type": run_type, "partition": ("eu-west", None)}
    ran = gate(spent_now, **run)
    assert ran.state == "failed"
    assert "partition 'eu-west'" in str(ran.error)
    assert "at=" in str(ran.error)
    ran = gate(spent_now, "{{ dag_run.run_after }}", run_after=DAYS_AGO, **run)
    assert (ran.state, ran.xcoms["decision"]["at"]) == ("success", DAYS_AGO.isoformat())


def test_gate_in_catchup_run_evaluates_now_and_logs_it(spent_now: RequestLog):
    ran = gate(spent_now, run_type="scheduled", data_interval=(DAYS_AGO - DAY, DAYS_AGO))
    assert ran.xcoms["decision"]["outcome"] == "frozen"
    assert f"now, not the run's interval, which ended {DAYS_AGO.isoformat()}" in ran.log


def test_gate_in_run_on_time_logs_now(spent_now: RequestLog):
    assert ": now\n" in gate(spent_now).log


@pytest.mark.skipif(not KNOWS_PARTITION_DATES, reason="Airflow 3.2 has no partition_date")
def test_sensor_in_partitioned_run_does_not_wait(spent_now: RequestLog):
    spent_now.write(900, 100, at=DAYS_AGO - 60 * MINUTE)
    sensor = ErrorBudgetSensor(task_id="wait", slos=sql_documents())
    ran = run_task(sensor, connections=spent_now.connection, run_type="scheduled", partition=("p", DAYS_AGO))
    assert (ran.state, "a past budget cannot recover" in str(ran.error)) == ("failed", True)


@pytest.mark.skipif(not KNOWS_PARTITION_DATES, reason="Airflow 3.2 has no partition_date")
def test_policy_decision_of_partition_is_written_while_valid(spent_now: RequestLog, tmp_path: Path):
    """What was decided for a partition of days ago has expired by now: nothing serves by it."""
    for name, date, written in (("old", DAYS_AGO, False), ("new", datetime.now(UTC) - MINUTE, True)):
        task = PolicyDecisionOperator(task_id="act", slos=sql_documents(), decision_path=str(tmp_path / name))
        ran = run_task(task, connections=spent_now.connection, run_type="scheduled", partition=(name, date))
        assert (ran.state, ran.xcoms["return_value"]["written"], (tmp_path / name).exists()) == ("success", written, written)
