"""Operator that breaks latency down and follows a branch by the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.operators.blocking_operator import BlockingBranchOperator
from airflow_slo_provider.operators.latency.breakdown import LatencyBreakdownOperator
from airflow_slo_provider.runtime.gates.blocked_tasks import release_events
from airflow_slo_provider.runtime.gates.dag_checks import TaskIds

if TYPE_CHECKING:
    from airflow.sdk import Context


class LatencyBreakdownBranchOperator(LatencyBreakdownOperator, BlockingBranchOperator):
    """Break latency down and follow a branch by the verdict.

    ==========  ==========================================================================================================
    verdict     branch
    ==========  ==========================================================================================================
    pass        ``follow_task_ids_if_within``
    warn        ``if_slower``, if it is set and the newest version is slower; else ``if_warning``; without it, as for pass
    fail        ``if_slower``, if it is set and the newest version is slower; else ``if_exceeded``; without it, everything
                downstream is skipped
    unknown     ``if_unknown``; without it, the task fails
    ==========  ==========================================================================================================

    The result is pushed to XCom under the key ``latency`` before a branch is followed. Everything else is as in
    :class:`LatencyBreakdownOperator`, in the same module.

    A branch leads to direct downstream tasks, or to task groups that begin with one. Everything downstream that the chosen
    branch does not lead to is skipped. The operator is rejected in a task group that is mapped over an XCom. Events of
    ``outlets`` are sent only if the task follows ``follow_task_ids_if_within``.

    :param follow_task_ids_if_within: ids of tasks or task groups to follow if every span is within its budget
    :param if_exceeded: ids to follow if a span exceeds its budget
    :param if_slower: ids to follow if the newest version is slower than the previous one, e.g. a rollback
    :param if_warning: ids to follow if a budget is nearly used up
    :param if_unknown: ids to follow if the traces allow no verdict
    :param may_run_when_blocked: ids of downstream tasks and task groups that may run, by their trigger rules, even if no branch
        leads to them
    :raises ValueError: when the DAG file is parsed, for a branch to a task that is not directly downstream, and for a
        downstream task whose trigger rule would let it run although no followed branch leads to it
    """

    branch_parameters = ("follow_task_ids_if_within", "if_exceeded", "if_slower", "if_warning", "if_unknown")

    def __init__(
        self,
        *,
        follow_task_ids_if_within: TaskIds,
        if_exceeded: TaskIds | None = None,
        if_slower: TaskIds | None = None,
        if_warning: TaskIds | None = None,
        if_unknown: TaskIds | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not follow_task_ids_if_within:
            raise ValueError("follow_task_ids_if_within names no task: a service within its budget would go nowhere")
        self.follow_task_ids_if_within = follow_task_ids_if_within
        self.if_exceeded, self.if_slower, self.if_warning, self.if_unknown = if_exceeded, if_slower, if_warning, if_unknown

    def execute(self, context: Context, event: Any = None) -> Any:
        """Judge the latency, record the result, and follow a branch.

        :param context: Airflow's task context
        :param event: event of the trigger; not used
        """
        self.recheck_dag()
        self._wait_for_spans(self._interval(context)[1])
        return BlockingBranchOperator.execute(self, context)

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        """Judge the latency and return the ids to follow, or None to follow no branch."""
        assessment, found = self._judge(context, *self._interval(context))
        # Pushed before branching, because Airflow pushes no return value if something is skipped.
        context["ti"].xcom_push(key="latency", value=found)
        verdict = assessment.verdict.value
        compared = assessment.comparison
        slower = compared is not None and compared.slower == compared.candidate
        slow = slower and self.if_slower is not None
        if verdict == "pass" or (verdict == "warn" and not slow and self.if_warning is None):
            release_events(self)
            return self.follow_task_ids_if_within
        if verdict == "unknown":
            if self.if_unknown is None:
                raise AirflowFailException(f"{self.service}: unknown: {assessment.why}")
            return self.if_unknown
        if slow:
            return self.if_slower
        return self.if_warning if verdict == "warn" else self.if_exceeded
