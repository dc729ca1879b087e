"""Checks, gates and acting tasks in backfills, and a gate in a partitioned run."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import CronPartitionTimetable, dag, task_group

from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator
from airflow_slo_provider.operators.freshness import FreshnessCheckOperator
from airflow_slo_provider.operators.policy_actions import ServingDecisionOperator

#: Directory of the marker files of acting tasks.
HOME = Path(os.environ.get("AIRFLOW_HOME", ".")) / "e2e_times"

DOCUMENTS = """
apiVersion: openslo/v1
kind: Service
metadata: {name: e2e-times}
spec: {}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: ledger}
spec: {type: Ledger, connectionDetails: {}}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: e2e-times
  annotations: {airflow-slo/min-coverage: "0"}
spec:
  service: e2e-times
  indicator:
    metadata: {name: fresh}
    spec:
      ratioMetric:
        good: {metricSource: {metricSourceRef: ledger, spec: {check: e2e-times, kind: freshness}}}
        total: {metricSource: {metricSourceRef: ledger, spec: {check: e2e-times, kind: freshness}}}
  timeWindow: [{duration: 28d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: most, target: 0.9}]
"""


@dag(schedule="@daily", start_date=datetime(2026, 3, 1, tzinfo=UTC), catchup=False, max_active_runs=16, tags=["e2e"])
def e2e_times():
    FreshnessCheckOperator(task_id="check", path=__file__, max_age=timedelta(days=36500), name="e2e-times")


@dag(
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 3, 1, tzinfo=UTC),
    catchup=False,
    tags=["e2e"],
)
def e2e_partitions():
    ErrorBudgetGateOperator(task_id="gate", slos=DOCUMENTS)
    ServingDecisionOperator(task_id="act", decision_path=str(HOME / "act-{{ run_id }}.json"), action="allow", reason="a test")


@dag(schedule=None, tags=["e2e"])
def e2e_mapped_walls():
    """Of two mapped gates the second has no status: only tasks behind an allowing instance of the first may act."""
    unknown = DOCUMENTS.replace("check: e2e-times", "check: never-recorded")

    @task_group
    def each(slos: str):
        # The acting task ignores the gate, so only its own check of the decision is left.
        gate = ErrorBudgetGateOperator(task_id="gate", slos=slos, may_run_when_blocked=["each.act", "outside"])
        gate >> ServingDecisionOperator(
            task_id="act", decision_path=str(HOME / "each-{{ ti.map_index }}.json"), action="allow", reason="a test",
            gate="each.gate", trigger_rule="all_done",
        )  # fmt: skip

    each.expand(slos=[DOCUMENTS, unknown]) >> ServingDecisionOperator(
        task_id="outside", decision_path=str(HOME / "outside.json"), action="allow", reason="a test", gate="each.gate",
        trigger_rule="all_done",
    )  # fmt: skip


e2e_times()
e2e_partitions()
e2e_mapped_walls()
