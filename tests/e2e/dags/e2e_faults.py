"""A promotion behind a gate that can be held at each of its steps, and a rollback that an asset event starts."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import Asset, Param, dag

from airflow_slo_provider.operators.error_budget import ErrorBudgetGateOperator
from airflow_slo_provider.operators.incident import OpenIncidentOperator
from airflow_slo_provider.operators.model_registry import PromoteModelOperator, RollbackModelOperator

DOCUMENTS = """
apiVersion: openslo/v1
kind: Service
metadata: {name: e2e-faults}
spec: {}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: request-log}
spec:
  type: SQL
  connectionDetails: {airflowConnId: e2e_faults_log}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: e2e-faults
  annotations: {airflow-slo/min-coverage: "0"}
spec:
  service: e2e-faults
  indicator:
    metadata: {name: answered}
    spec:
      ratioMetric:
        metricSource:
          metricSourceRef: request-log
          spec:
            query: >-
              SELECT COALESCE(SUM(ok), 0) AS good, COUNT(*) AS total
              FROM requests WHERE ts >= :date_from AND ts < :date_to
  timeWindow: [{duration: 1d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: most, target: 0.99}]
"""
RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=1)}


class HeldPromotion(PromoteModelOperator):
    """Waits on its first try at the step that the run names, until the test continues or kills it."""

    def execute(self, context):
        _hold(context, "before")
        told = super().execute(context)
        _hold(context, "recorded")
        return told

    def _record(self, context, *arguments):
        _hold(context, "moved")
        super()._record(context, *arguments)


def _hold(context, step: str) -> None:
    mark = context["params"]["mark"]
    if not mark or context["params"]["hold"] != step or context["ti"].try_number > 1:
        return
    Path(mark).write_text(step)
    for _ in range(6000):
        if Path(f"{mark}.go").exists():
            return
        time.sleep(0.1)


@dag(
    schedule=None,
    params={
        "model": Param("", type="string"),
        "registry": Param("", type="string"),
        "hold": Param("", type="string"),
        "mark": Param("", type="string"),
    },
    default_args=RETRIES,
    max_active_runs=200,
    max_active_tasks=200,
    tags=["e2e"],
)
def e2e_faults_promotion():
    gate = ErrorBudgetGateOperator(task_id="gate", slos=DOCUMENTS)
    promote = HeldPromotion(
        task_id="promote", model="{{ params.model }}", version="2", expected_champion="1", registry_path="{{ params.registry }}"
    )
    gate >> promote


@dag(schedule=[Asset("e2e_faults_burning")], default_args=RETRIES, max_active_runs=4, tags=["e2e"])
def e2e_faults_event():
    """Each delivered event starts a run; an incident that is delivered twice is handled once."""
    RollbackModelOperator(
        task_id="roll_back",
        model="{{ ti.xcom_pull(task_ids='open', key='incident')['evidence']['model'] }}",
        registry_path="{{ ti.xcom_pull(task_ids='open', key='incident')['evidence']['registry'] }}",
    ) << OpenIncidentOperator(task_id="open")


e2e_faults_promotion()
e2e_faults_event()
