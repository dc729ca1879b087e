"""Gates and branches in every form of task mapping, for the tests on real components: one DAG per outcome."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset, AssetAlias, Param, dag, task, task_group

from airflow_slo_provider.operators.error_budget import ErrorBudgetBranchOperator, ErrorBudgetGateOperator

HEAD = """
apiVersion: openslo/v1
kind: Service
metadata: {name: e2e-blocking}
spec: {}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: constants}
spec:
  type: SQL
  connectionDetails: {airflowConnId: e2e_constants}
"""
SLO = """---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: %s
  annotations: {airflow-slo/min-coverage: "0"}
spec:
  service: e2e-blocking
  indicator:
    metadata: {name: answered}
    spec:
      ratioMetric:
        metricSource:
          metricSourceRef: constants
          spec: {query: "SELECT %d AS good, 1000 AS total WHERE :date_from < :date_to"}
  timeWindow: [{duration: 1d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: most, target: 0.99}]
"""
DOCUMENTS = HEAD + SLO % ("bad", 0) + SLO % ("good", 1000)

MODELS = ("bad", "good")
NONE_FAILED = "none_failed"


@task
def act(name: str, params: dict[str, Any] | None = None, ti: Any = None) -> None:
    """Write a marker file, to show that the task has run."""
    (Path(params["marks"]) / f"{ti.task_id}[{ti.map_index}]").write_text(name)


@task
def listed(names: list[str]) -> list[str]:
    return names


def acting(task_id: str, **arguments: Any) -> Any:
    return act.override(task_id=task_id, **arguments)


def asset(outcome: str, form: str) -> Asset:
    return Asset(f"e2e_blocking_{outcome}_{form}")


def gate(task_id: str, **arguments: Any) -> ErrorBudgetGateOperator:
    return ErrorBudgetGateOperator(task_id=task_id, slos=DOCUMENTS, **arguments)


def branch(task_id: str, target: str, hold: str, **arguments: Any) -> ErrorBudgetBranchOperator:
    return ErrorBudgetBranchOperator(
        task_id=task_id, slos=DOCUMENTS, follow_task_ids_if_allowed=target, if_frozen=hold, **arguments
    )


def blocking(outcome: str, models: list[str]) -> Any:
    """Create the DAG in which each gate evaluates the first of these models, and each mapped gate all of them."""

    @dag(
        dag_id=f"e2e_blocking_{outcome}",
        schedule=None,
        params={"marks": Param("", type="string")},
        default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},  # the ledger may be locked for a moment
        tags=["e2e"],
    )
    def made() -> None:
        select = [[model] for model in models]
        first, names = select[0], listed(models)

        # A plain gate with mapped tasks further downstream.
        alias = AssetAlias(f"e2e_blocking_{outcome}")

        def through_an_alias(context: Any) -> None:
            context["outlet_events"][alias].add(asset(outcome, "alias"))

        plain = gate("plain", select=first, outlets=[asset(outcome, "plain"), alias], pre_execute=through_an_alias)
        plain >> EmptyOperator(task_id="prep") >> acting("deep", trigger_rule=NONE_FAILED).expand(name=["eu", "us"])
        plain >> acting("over_xcom").expand(name=names)

        @task_group
        def behind(name: str) -> None:
            EmptyOperator(task_id="first") >> acting("second", trigger_rule=NONE_FAILED)(name)

        plain >> behind.expand(name=names)

        # Mapped gates with a task downstream of all instances.
        mapped = ErrorBudgetGateOperator.partial(task_id="mapped", slos=DOCUMENTS, outlets=[asset(outcome, "mapped")])
        mapped.expand(select=select) >> EmptyOperator(task_id="after_mapped") >> acting("after_mapped_2")("x")
        kwargs = ErrorBudgetGateOperator.partial(task_id="mapped_kwargs", slos=DOCUMENTS)
        kwargs.expand_kwargs([{"select": one} for one in select]) >> acting("after_kwargs").expand(name=["eu", "us"])

        # One gate per model.
        @task_group
        def literal(name: str) -> None:
            gate("gate", select=name) >> acting("promote")(name) >> acting("tail")(name)

        @task_group
        def over(name: str) -> None:
            gate("gate", select=name) >> EmptyOperator(task_id="promote") >> acting("tail")(name)

        @task_group
        def tolerant(name: str) -> None:
            gate("gate", select=name) >> EmptyOperator(task_id="promote") >> acting("tail", trigger_rule=NONE_FAILED)(name)

        literal.expand(name=models) >> acting("after_literal")("x")
        over.expand(name=names) >> EmptyOperator(task_id="after_over")
        tolerant.expand(name=names)

        # Branches.
        chosen = branch("branch", "promote", "hold", select=first, outlets=[asset(outcome, "branch")])
        chosen >> [EmptyOperator(task_id="promote"), EmptyOperator(task_id="hold")]
        chosen.dag.get_task("promote") >> acting("after_promote", trigger_rule=NONE_FAILED)("x")
        join = EmptyOperator(task_id="join", trigger_rule="none_failed_min_one_success")
        [chosen.dag.get_task("promote"), chosen.dag.get_task("hold")] >> join

        @task_group
        def branches(name: str) -> None:
            inner = branch("branch", "branches.promote", "branches.hold", select=name)
            inner >> [acting("promote")(name), acting("hold")(name)]

        branches.expand(name=models)
        ways = ErrorBudgetBranchOperator.partial(
            task_id="mapped_branch", slos=DOCUMENTS, follow_task_ids_if_allowed="go", if_frozen="stay"
        ).expand(select=select)
        ways >> [acting("go")("x"), EmptyOperator(task_id="stay")]

    return made()


def consumer(outcome: str) -> Any:
    """Start a run for each asset event that a gate allows."""

    @dag(
        dag_id=f"e2e_blocking_{outcome}_consumer",
        schedule=asset(outcome, "plain") | asset(outcome, "alias") | asset(outcome, "branch"),
        tags=["e2e"],
    )
    def made() -> None:
        EmptyOperator(task_id="deploy")

    return made()


frozen = blocking("frozen", ["bad", "good"])
allowed = blocking("allowed", ["good", "good"])
consumers = [consumer(outcome) for outcome in ("frozen", "allowed")]
