"""Push the newest result of every check to a Pushgateway every five minutes, for dashboards and alerts on results in the ledger.

SLIs, budgets and verdicts of SQL, ledger, freshness, drift and golden sets are only in the ledger. Requires
the Airflow connection ``pushgateway_default`` of type ``http``.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag

from airflow_slo_provider.operators.metrics import PushLedgerMetricsOperator


@dag(
    schedule=timedelta(minutes=5),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    tags=["slo"],
    doc_md=__doc__,
)
def example_push_metrics():
    PushLedgerMetricsOperator(task_id="push")


example_push_metrics()
