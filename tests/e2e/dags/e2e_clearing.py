"""Gates that are cleared or marked as successful, over a request log in a SQLite file, for the tests on real components."""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator

DOCUMENTS = """
apiVersion: openslo/v1
kind: Service
metadata: {name: e2e-clearing}
spec: {}
---
apiVersion: airflow-slo/v1
kind: ErrorBudgetPolicy
metadata: {name: e2e-cool-down}
spec:
  coolDown: 1h
  rules:
    - name: spent
      action: freeze
      when: {signal: remainingBudget, enter: 0, exit: 0.1}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: request-log}
spec:
  type: SQL
  connectionDetails: {airflowConnId: e2e_clearing_log}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: e2e-%s
  annotations:
    airflow-slo/min-coverage: "0"
    airflow-slo/error-budget-policy: e2e-cool-down
spec:
  service: e2e-clearing
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


@task
def promote(): ...


@task
def hold(): ...


@dag(schedule=None, tags=["e2e"])
def e2e_cleared():
    gate = ErrorBudgetBranchOperator(
        task_id="gate", slos=DOCUMENTS % "cleared", follow_task_ids_if_allowed="promote", if_frozen="hold"
    )
    gate >> [promote(), hold()]


@dag(schedule=None, tags=["e2e"])
def e2e_marked():
    branch = ErrorBudgetBranchOperator(
        task_id="branch", slos=DOCUMENTS % "marked", follow_task_ids_if_allowed="promote", if_frozen="hold"
    )
    branch >> [promote(), hold()]

    @task
    def deploy(): ...

    ErrorBudgetGateOperator(task_id="gate", slos=DOCUMENTS % "marked") >> deploy()


e2e_cleared()
e2e_marked()
