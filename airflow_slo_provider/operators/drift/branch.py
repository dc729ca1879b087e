"""The operator that takes one of several ways by what it finds of a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAlias

from airflow_slo_provider.operators.blocking_operator import BlockingBranchOperator
from airflow_slo_provider.operators.drift.compare import DriftOperator
from airflow_slo_provider.runtime.gates.blocked_tasks import downstream_of, release_events
from airflow_slo_provider.runtime.gates.dag_checks import TaskIds

if TYPE_CHECKING:
    from airflow.sdk import Context


class DriftBranchOperator(DriftOperator, BlockingBranchOperator):
    """Compares a dataset with its reference, and takes one of several ways.

    =====================================================  ===================================================================
    state                                                  way
    =====================================================  ===================================================================
    drift                                                  ``if_drift``
    ok                                                     ``if_ok``
    warn                                                   ``if_warning``; without it, ``if_ok``
    insufficient_data, schema_change, error                ``if_unknown``; without it, the task fails: what was not found out is
                                                           neither drift nor its absence
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

    A branch leads to tasks directly downstream, or to task groups that begin there; what it does not lead to is skipped, however
    far downstream. In a task group that is mapped over an XCom the operator is refused. Events of ``outlets`` leave the task only
    for ``ok``, and for ``warn`` without ``if_warning``; those of ``asset`` and ``drift_asset`` tell of any verdict.

    All other parameters are those of :class:`DriftOperator`, and of :class:`.DriftDataFields`
    (``airflow_slo_provider.operators.drift.data_parameters``): ``columns``, ``engine``, ``conn_id``, ``name`` ...

    :param if_drift: task or task-group ids to follow on drift
    :param if_ok: ids to follow when there is none
    :param if_warning: ids to follow on a warning
    :param if_unknown: ids to follow when it could not be judged
    :raises ValueError: when the DAG is read, for a branch that leads elsewhere, and for a task downstream whose trigger rule
        would let it run although it is not followed
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
    def blockable(cls, task: Any) -> Iterable[Any]:
        """Return everything downstream, whatever ``on_states`` says."""
        return downstream_of(task)

    def execute(self, context: Context) -> Any:
        """Choose the branch; the summary is pushed before anything is skipped."""
        return BlockingBranchOperator.execute(self, context)

    def events_of_any_outcome(self) -> list[Any]:
        """Return the assets whose events tell of the verdict."""
        alias = [AssetAlias(name=f"drift: {self.drift_asset.name}")] if self.drift_asset is not None else []
        return [*([self.asset] if self.asset is not None else []), *alias]

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        """Compare, record, report, and name the tasks to follow."""
        from airflow_slo_provider.drift.verdict.thresholds import State

        report, found = self._find(context)
        context["ti"].xcom_push(key="drift", value=found)
        self._act(report)
        if report.verdict is State.DRIFT:
            return self.if_drift
        if report.verdict is State.WARN and self.if_warning is not None:
            return self.if_warning
        if report.verdict in (State.OK, State.WARN):
            release_events(self)
            return self.if_ok
        if self.if_unknown is None:
            from airflow.sdk.exceptions import AirflowFailException

            raise AirflowFailException(
                f"{self.check_name}: {report.verdict.value}: {report.message}; give if_unknown a way to handle it"
            )
        return self.if_unknown
