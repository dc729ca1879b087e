"""Operator for the approvals of a playbook. A separate module, because Airflow's approval operator imports its trigger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator

from airflow_slo_provider.operators.blocking_operator import BlockingOperator
from airflow_slo_provider.operators.incident.steps import is_barrier
from airflow_slo_provider.runtime.gates.blocked_tasks import block, release_events, withhold_events

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.incidents.playbook import PlaybookStep
    from airflow_slo_provider.runtime.incidents.step_recording import StepRecorder


class StepApprovalOperator(BlockingOperator, ApprovalOperator):
    """Wait for an approval, at most for the time of the step; an unanswered approval counts as a rejection by default.

    A rejection skips the steps that come after this one and nothing else; in a mapped task group the approval itself is then
    skipped. The answer, who gave it and when are in the timeline.

    :param step: the step of the playbook
    :param recorder: records the outcome of the step
    """

    def __init__(self, *, step: PlaybookStep, recorder: StepRecorder, **kwargs: Any) -> None:
        kwargs.setdefault("subject", step.action)
        kwargs.setdefault("response_timeout", step.timeout)
        kwargs.setdefault("defaults", self.APPROVE if step.approve_by_default else self.REJECT)
        super().__init__(**kwargs)
        self.step = step
        self.recorder = recorder

    @classmethod
    def tasks_to_block(cls, task: Any) -> Iterable[Any]:
        """Return the steps that come after this one.

        :param task: the task, mapped or not
        """
        return [step for step in task.downstream_list if not is_barrier(step) and not step.is_teardown]

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Record the answer, and skip the following steps after a rejection.

        :param context: Airflow's task context
        :param event: event of the approval's trigger
        """
        from airflow_slo_provider.incidents.timeline import StepState

        self.recheck_dag()
        withhold_events(self)
        answer: Any = HITLOperator.execute_complete(self, context=context, event=event)
        approved = self.APPROVE in answer["chosen_options"]
        who = answer.get("responded_by_user")
        name = (who.get("name") or who.get("id")) if isinstance(who, dict) else getattr(who, "name", None)
        message = f"by {name}" if name else f"by default, because nobody answered within {self.response_timeout}"
        found = {"approved": approved, "by": name, "at": str(answer.get("responded_at") or ""), "timed_out": not name}
        state = StepState.APPROVED if approved else StepState.REJECTED
        self.log.info("%s: %s %s", self.step.action, state, message)
        self.recorder.ended(context, state, message, found)
        context["ti"].xcom_push(key="approval", value=found)
        if approved:
            release_events(self)
            return found
        block(context, self.tasks_not_exempt(self), reason=f"rejected {message}")
        return found
