"""Tasks whose servers reject requests and repeat them, including credentials."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from airflow_slo_provider.notifications.incident import IncidentNotifier
from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator
from airflow_slo_provider.operators.latency import LatencyBreakdownOperator
from airflow_slo_provider.operators.model_registry import PromoteModelOperator
from airflow_slo_provider.sensors.freshness import ModelFreshnessSensor, PipelineFreshnessSensor

SLO = """
apiVersion: openslo/v1
kind: DataSource
metadata: {name: it}
spec: {type: Prometheus, connectionDetails: {airflowConnId: CONNECTION}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: e2e-secrets}
spec:
  service: shop
  indicator:
    metadata: {name: up}
    spec:
      ratioMetric:
        rawType: success
        raw: {metricSource: {metricSourceRef: it, spec: {query: "avg_over_time(up[{{.window}}])"}}}
  timeWindow: [{duration: 1d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
"""
TOLD = [IncidentNotifier(webhook_conn_id="e2e_secret_webhook")]


@dag(schedule=None, tags=["e2e"], default_args={"on_failure_callback": TOLD, "trigger_rule": "all_done"})
def e2e_secrets() -> None:
    @task(trigger_rule="all_done")
    def end() -> None: ...

    last = end()
    for mode in ("401", "500", "302"):
        gate = ErrorBudgetBranchOperator(
            task_id=f"gate_{mode}",
            slos=SLO.replace("CONNECTION", f"e2e_secret_prometheus_{mode}"),
            follow_task_ids_if_allowed="end",
            if_unknown="end",
            may_run_when_blocked="end",
        )
        gate >> last
    short = {"max_age": timedelta(hours=1), "timeout": 20, "poke_interval": 2, "deferrable": True}
    for other in (
        PipelineFreshnessSensor(task_id="pipeline", external_dag_id="x", conn_id="e2e_secret_http", **short),
        ModelFreshnessSensor(task_id="model", model="x", alias="champion", conn_id="e2e_secret_registry", **short),
        PromoteModelOperator(task_id="promote", model="x", version="1", model_registry_conn_id="e2e_secret_registry"),
        LatencyBreakdownOperator(task_id="latency", service="x", trace_store_conn_id="e2e_secret_traces"),
    ):
        other >> last


e2e_secrets()
