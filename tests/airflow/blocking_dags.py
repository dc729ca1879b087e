"""DAGs around a gate for the tests of blocking: read as by Airflow's DAG processor, and run task by task."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator
from tests.airflow.gates import sql_documents


def made(build: Callable[[], Any]) -> DAG:
    """Build a DAG without checking it."""
    with DAG("blocking", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        build()
    return dag


def read(build: Callable[[], Any]) -> DAG:
    """Build a DAG and add it to a DagBag.

    :raises ValueError: if the DAG is rejected
    """
    dag = made(build)
    dag.validate()
    DagBag(collect_dags=False).bag_dag(dag)
    return dag


def task(task_id: str, rule: str = "all_success", **arguments: Any) -> EmptyOperator:
    return EmptyOperator(task_id=task_id, trigger_rule=rule, **arguments)


def gate(**arguments: Any) -> ErrorBudgetGateOperator:
    return ErrorBudgetGateOperator(**{"task_id": "gate", "slos": sql_documents(), **arguments})


def branch(**arguments: Any) -> ErrorBudgetBranchOperator:
    return ErrorBudgetBranchOperator(
        **{"task_id": "gate", "slos": sql_documents(), "follow_task_ids_if_allowed": "promote", **arguments}
    )
