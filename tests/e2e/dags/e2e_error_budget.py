"""A gate and a sensor over a request log in a SQLite file, for the tests on real components."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import Param, dag, task

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator
from airflow_slo_provider.sensors.error_budget import ErrorBudgetSensor

DOCUMENTS = """
apiVersion: openslo/v1
kind: Service
metadata: {name: e2e-shop}
spec: {}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: request-log}
spec:
  type: SQL
  connectionDetails: {airflowConnId: e2e_request_log}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: e2e-%s
  annotations: {airflow-slo/min-coverage: "0"}
spec:
  service: e2e-shop
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


class SlowGate(ErrorBudgetBranchOperator):
    """Waits between its decision and its branch on the first try, so that a test can kill it there."""

    def do_branch(self, context, branches_to_execute):
        mark = Path(context["params"]["mark"]) if context["params"]["mark"] else None
        if mark is not None and context["ti"].try_number == 1:
            mark.write_text(str(os.getpid()))
            time.sleep(600)
        return super().do_branch(context, branches_to_execute)


@dag(
    schedule=None,
    params={"mark": Param("", type="string")},
    default_args={"retries": 1, "retry_delay": timedelta(seconds=1)},
    tags=["e2e"],
)
def e2e_gate():
    gate = SlowGate(
        task_id="gate", slos=DOCUMENTS % "gate", follow_task_ids_if_allowed="promote", if_frozen="hold", if_unknown="look"
    )

    @task
    def promote(): ...

    @task
    def hold(): ...

    @task
    def look(): ...

    @task(trigger_rule="none_failed_min_one_success")
    def report(): ...

    ways = [promote(), hold(), look()]
    gate >> ways
    ways >> report()


@dag(schedule=None, tags=["e2e"])
def e2e_wait():
    ErrorBudgetSensor(
        task_id="wait",
        slos=DOCUMENTS % "wait",
        deferrable=True,
        poke_interval=15,
        retries=2,
        retry_delay=timedelta(seconds=1),
        timeout=timedelta(hours=1),
        min_remaining="0.5",
    )


@dag(schedule="@daily", start_date=datetime(2026, 3, 1, tzinfo=UTC), catchup=False, tags=["e2e"])
def e2e_past():
    @task
    def deploy(): ...

    # A relative path: on a worker it starts at the folder of this file in the DAG bundle.
    ErrorBudgetGateOperator(task_id="gate", slos="slos/past.yaml") >> deploy()


e2e_gate()
e2e_wait()
e2e_past()
