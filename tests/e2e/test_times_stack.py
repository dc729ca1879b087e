"""Backfills and partitions on a real scheduler: one measurement of the present, no actions, separate results of partitions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.api.datamodels._generated import DagRun

from airflow_slo_provider import slo
from airflow_slo_provider.indicators.ledger import LedgerSource
from airflow_slo_provider.ledger import Ledger, RunKey, open_ledger
from airflow_slo_provider.results import CheckResult, Verdict
from tests.e2e.dags.e2e_times import DOCUMENTS
from tests.e2e.test_error_budget_stack import until

pytestmark = pytest.mark.e2e

DAY = timedelta(days=1)


def ledger_of(stack) -> Ledger:
    return open_ledger(f"sqlite:///{stack.home / 'slo_ledger.db'}")


def write(ledger: Ledger, verdict: Verdict, count: int, *, ago: timedelta = 2 * DAY) -> None:
    for number in range(count):
        at = datetime.now(UTC) - ago - timedelta(minutes=number)
        check = CheckResult(kind="freshness", name="e2e-times", verdict=verdict, checked_at=at)
        ledger.record([check], RunKey("elsewhere", f"{verdict}-{number}", "check"))


def remaining(ledger: Ledger) -> float:
    (report,) = slo.SLOMonitor(slo.load(DOCUMENTS), LedgerSource(ledger)).evaluate()
    assert report.remaining is not None
    return float(report.remaining)


def backfilled(client, dag_id: str, first: str, last: str) -> list[str]:
    """Run a backfill to its end and return its runs."""
    client.wait_for_dag(dag_id)
    client.unpause(dag_id)
    span = {"from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
    client.call("POST", "/api/v2/backfills", {"dag_id": dag_id, "dag_run_conf": {}, "max_active_runs": 12, **span})
    found = lambda: client.call("GET", f"/api/v2/dags/{dag_id}/dagRuns?run_type=backfill")["dag_runs"]  # noqa: E731
    until(lambda: found() and all(one["state"] in ("success", "failed") for one in found()), found)
    return [one["dag_run_id"] for one in found()]


def test_backfill_does_not_restore_a_budget(airflow_stack):
    client = airflow_stack.client
    with ledger_of(airflow_stack) as ledger:
        write(ledger, Verdict.PASS, 20)
        write(ledger, Verdict.FAIL, 3, ago=3 * DAY)
        assert remaining(ledger) < 0
        runs = backfilled(client, "e2e_times", "2026-03-01", "2026-03-12")
        assert len(runs) == 12
        assert {client.task_states("e2e_times", run_id)["check"] for run_id in runs} == {"success"}
        # The scheduler starts a run of today as soon as the DAG is active: either that run or one of these observes for all.
        assert len([row for row in ledger.checks("freshness", "e2e-times") if row.key.dag_id == "e2e_times"]) == 1
        assert remaining(ledger) < 0


def test_task_behind_a_mapped_gate_runs_only_if_its_own_gate_allows(airflow_stack, run_dag):
    with ledger_of(airflow_stack) as ledger:
        write(ledger, Verdict.PASS, 900)
    run_id, state = run_dag("e2e_mapped_walls")
    home = airflow_stack.home / "e2e_times"
    assert state == "failed"
    assert {one.name for one in home.glob("each-*")} == {"each-0.json"}
    assert not (home / "outside.json").exists()
    assert "the gate each.gate[1] is failed, not a success" in airflow_stack.client.log("e2e_mapped_walls", run_id, "outside")


def test_backfill_of_a_partition_evaluates_it_and_changes_nothing(airflow_stack):
    client = airflow_stack.client
    (run_id,) = backfilled(client, "e2e_partitions", "2026-03-05", "2026-03-05")
    log = client.log("e2e_partitions", run_id, "gate")
    if "partition_date" in DagRun.model_fields:
        decision = client.xcom("e2e_partitions", run_id, "gate", key="decision")
        assert (decision["at"], decision["outcome"]) == ("2026-03-05T00:00:00+00:00", "unknown")
        assert "the start of this run's partition 2026-03-05T00:00:00" in log
    else:
        assert "Airflow provides no partition_date" in log
    assert client.task_states("e2e_partitions", run_id)["act"] == "failed"
    assert "allow_backfill=True" in client.log("e2e_partitions", run_id, "act")
    assert not list((airflow_stack.home / "e2e_times").glob("act-*backfill*"))
