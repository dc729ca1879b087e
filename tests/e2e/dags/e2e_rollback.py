"""Roll back the Deployment that the run names."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag

from airflow_slo_provider.operators.kubernetes import DeploymentRollbackOperator


@dag(schedule=None, tags=["e2e"])
def e2e_rollback() -> None:
    DeploymentRollbackOperator(
        task_id="roll_back",
        name="{{ dag_run.conf['name'] }}",
        namespace="{{ dag_run.conf['namespace'] }}",
        kubernetes_conn_id="e2e_cluster",
        to="{{ dag_run.conf['to'] }}",
        rollout_timeout=timedelta(minutes=5),
        poll_interval=timedelta(seconds=1),
        deferrable=True,
    )


e2e_rollback()
