"""Detect whether the newest model version made predictions slower, and in which span, and follow a branch accordingly.

``LatencyBreakdownBranchOperator`` reads the traces of the model server from the connection ``trace_store_default`` (Tempo,
Jaeger, MLflow, Phoenix, or OTLP-JSON files), breaks latency down by span and model version, compares it with a budget, and
compares the newest version with the one before. The branches only print what they would do: replace them by a rollback or a page.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, task

from airflow_slo_provider.operators.latency import LatencyBreakdownBranchOperator


@dag(
    schedule=None,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "service": Param("model-server", type="string", description="service.name of the model server"),
        "start": Param(None, type=["null", "string"], description="ISO 8601; an hour before the end by default"),
        "end": Param(None, type=["null", "string"], description="ISO 8601; a minute ago by default"),
        "reports": Param(None, type=["null", "string"], description="directory or URI for the HTML report"),
    },
    tags=["slo", "latency"],
    doc_md=__doc__,
)
def latency_after_deploy():
    latency = LatencyBreakdownBranchOperator(
        task_id="latency",
        service="{{ params.service }}",
        trace_store_conn_id="trace_store_default",
        start="{{ params.start or '' }}",
        end="{{ params.end or '' }}",
        report_path="{{ params.reports or '' }}",
        budgets={"ml_prediction_request": {"p50": "50ms", "p99": "100ms"}, "feature_fetch": "20ms", "model_inference": "60ms"},
        min_spans=50,
        follow_task_ids_if_within="keep",
        if_slower="roll_back",
        if_exceeded="investigate",
        if_unknown="investigate",
    )

    @task
    def keep() -> str:
        return "every span is within its budget"

    @task
    def roll_back(ti=None) -> str:
        found = ti.xcom_pull(task_ids="latency", key="latency")
        return f"{found['model_version']} is slower in {found['span']}: {found['comparison']}"

    @task
    def investigate(ti=None) -> str:
        found = ti.xcom_pull(task_ids="latency", key="latency")
        return f"{found['why']} (look at: {', '.join(found['symptoms']) or 'the report'})"

    latency >> [keep(), roll_back(), investigate()]


latency_after_deploy()
