"""The operator that takes one of several ways by where the time goes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.operators.blocking_operator import BlockingBranchOperator
from airflow_slo_provider.operators.latency.breakdown import LatencyBreakdownOperator
from airflow_slo_provider.runtime.gates.blocked_tasks import release_events
from airflow_slo_provider.runtime.gates.dag_checks import TaskIds

if TYPE_CHECKING:
    from airflow.sdk import Context


class LatencyBreakdownBranchOperator(LatencyBreakdownOperator, BlockingBranchOperator):
    """Breaks latency down and takes one of several ways.

    ==========  ==========================================================================================================
    verdict     way
    ==========  ==========================================================================================================
    pass        ``follow_task_ids_if_within``
    warn        ``if_slower``, where it is given and the newest version got slower; else ``if_warning``; without it, as for pass
    fail        ``if_slower``, where it is given and the newest version got slower; else ``if_exceeded``; without it, everything
                downstream is skipped
    unknown     ``if_unknown``; without it, the task fails
    ==========  ==========================================================================================================

    What was found is in XCom under the key ``latency`` before the way is taken. All else is as in
    :class:`LatencyBreakdownOperator`, in the same module.

    A branch leads to tasks directly downstream, or to task groups that begin there; what it does not lead to is skipped, however
    far downstream. In a task group that is mapped over an XCom the operator is refused. Events of ``outlets`` leave the task only
    where it follows ``follow_task_ids_if_within``.

    :param follow_task_ids_if_within: task or task-group ids to follow when every span is within its budget
    :param if_exceeded: ids to follow when one is not
    :param if_slower: ids to follow when the newest version is slower than the one before, e.g. a rollback
    :param if_warning: ids to follow when a budget is nearly used up
    :param if_unknown: ids to follow when nothing can be said
    :param may_run_when_blocked: ids of tasks and task groups downstream that may run, as their trigger rules say, although no
        branch leads to them
    :raises ValueError: when the DAG is read, for a branch that leads elsewhere, and for a task downstream whose trigger rule
        would let it run although it is not followed
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
        """Judge, record, and take a way."""
        self.check_dag_again()
        self._wait(self._interval(context)[1])
        return BlockingBranchOperator.execute(self, context)

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        """Judge and say which way to go; None for no way at all."""
        assessment, found = self._judge(context, *self._interval(context))
        # Before the branch: where something is skipped, no return value is pushed.
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
                from airflow.sdk.exceptions import AirflowFailException

                raise AirflowFailException(f"{self.service}: unknown: {assessment.why}")
            return self.if_unknown
        if slow:
            return self.if_slower
        return self.if_warning if verdict == "warn" else self.if_exceeded
