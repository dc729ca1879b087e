"""Operator that compares a dataset with a reference and follows a branch by its drift state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAlias
from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.operators.blocking_operator import BlockingBranchOperator
from airflow_slo_provider.operators.drift.compare import DriftOperator
from airflow_slo_provider.runtime.gates.blocked_tasks import downstream_of, release_events
from airflow_slo_provider.runtime.gates.dag_checks import TaskIds

if TYPE_CHECKING:
    from airflow.sdk import Context


class DriftBranchOperator(DriftOperator, BlockingBranchOperator):
    """Compare a dataset with its reference, and follow a branch by the result.

    =====================================================  ===================================================================
    state                                                  branch
    =====================================================  ===================================================================
    drift                                                  ``if_drift``
    ok                                                     ``if_ok``
    warn                                                   ``if_warning``; without it, ``if_ok``
    insufficient_data, schema_change, error                ``if_unknown``; without it, the task fails, because neither drift nor
                                                           its absence was shown
    =====================================================  ===================================================================

    .. code-block:: python

        DriftBranchOperator(
            task_id="drifted",
            reference=PROFILE,
            current="/data/{{ ds }}.parquet",
            if_drift="retrain",
            if_ok="keep",
            if_unknown="investigate",
        ) >> [retrain, keep, investigate]

    A branch leads to direct downstream tasks, or to task groups that begin with one. Everything downstream that the chosen
    branch does not lead to is skipped. The operator is rejected in a task group that is mapped over an XCom. Events of
    ``outlets`` are sent only for ``ok``, and for ``warn`` without ``if_warning``; the events of ``asset`` and ``drift_asset``
    report every verdict.

    All other parameters are those of :class:`DriftOperator`, and of :class:`.DriftDataFields`
    (``airflow_slo_provider.operators.drift.data_parameters``): ``columns``, ``engine``, ``name`` and others.

    :param if_drift: ids of tasks or task groups to follow if there is drift
    :param if_ok: ids to follow if there is no drift; none by default
    :param if_warning: ids to follow on a warning; ``if_ok`` by default
    :param if_unknown: ids to follow if the data could not be judged; without it the task fails
    :raises ValueError: when the DAG file is parsed, for a branch to a task that is not directly downstream, and for a
        downstream task whose trigger rule would let it run although no followed branch leads to it
    """

    branch_parameters = ("if_drift", "if_ok", "if_warning", "if_unknown")

    def __init__(
        self,
        *,
        if_drift: TaskIds,
        if_ok: TaskIds | None = None,
        if_warning: TaskIds | None = None,
        if_unknown: TaskIds | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not if_drift:
            raise ValueError(f"{self.task_id}: if_drift names no task")
        self.if_drift, self.if_ok, self.if_warning, self.if_unknown = if_drift, if_ok, if_warning, if_unknown

    @classmethod
    def tasks_to_block(cls, task: Any) -> Iterable[Any]:
        """Return everything downstream, regardless of ``on_states``."""
        return downstream_of(task)

    def execute(self, context: Context) -> Any:
        """Choose and follow a branch; the result is pushed to XCom before anything is skipped."""
        return BlockingBranchOperator.execute(self, context)

    def events_of_any_outcome(self) -> list[Any]:
        """Return the assets whose events report the verdict."""
        alias = [AssetAlias(name=f"drift: {self.drift_asset.name}")] if self.drift_asset is not None else []
        return [*([self.asset] if self.asset is not None else []), *alias]

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        """Compare, record and report; return the ids to follow."""
        from airflow_slo_provider.drift.verdict.thresholds import DriftState

        report, found = self._compare_and_record(context)
        context["ti"].xcom_push(key="drift", value=found)
        self._apply_action(report)
        if report.verdict is DriftState.DRIFT:
            return self.if_drift
        if report.verdict is DriftState.WARN and self.if_warning is not None:
            return self.if_warning
        if report.verdict in (DriftState.OK, DriftState.WARN):
            release_events(self)
            return self.if_ok
        if self.if_unknown is None:
            raise AirflowFailException(
                f"{self.check_name}: {report.verdict.value}: {report.message}; set if_unknown to handle it"
            )
        return self.if_unknown
