"""The operator that takes one of several ways by where the time goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseBranchOperator

from airflow_slo_provider.operators.latency_breakdown import LatencyBreakdownOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

#: A task id or a task-group id, or several.
TaskIds = str | Sequence[str]


class LatencyBreakdownBranchOperator(LatencyBreakdownOperator, BaseBranchOperator):
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

    :param follow_task_ids_if_within: task or task-group ids to follow when every span is within its budget
    :param if_exceeded: ids to follow when one is not
    :param if_slower: ids to follow when the newest version is slower than the one before, e.g. a rollback
    :param if_warning: ids to follow when a budget is nearly used up
    :param if_unknown: ids to follow when nothing can be said
    """

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
        self._wait(self._interval(context)[1])
        return BaseBranchOperator.execute(self, context)

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        """Judge and say which way to go; None for no way at all."""
        assessment, found = self._judge(context, *self._interval(context))
        # Before the branch: where something is skipped, no return value is pushed.
        context["ti"].xcom_push(key="latency", value=found)
        verdict = assessment.verdict.value
        compared = assessment.comparison
        slower = compared is not None and compared.slower == compared.candidate
        if verdict == "pass":
            return self.follow_task_ids_if_within
        if verdict == "unknown":
            if self.if_unknown is None:
                from airflow.sdk.exceptions import AirflowFailException

                raise AirflowFailException(f"{self.service}: unknown: {assessment.why}")
            return self.if_unknown
        if slower and self.if_slower is not None:
            return self.if_slower
        if verdict == "warn":
            return self.follow_task_ids_if_within if self.if_warning is None else self.if_warning
        return self.if_exceeded
