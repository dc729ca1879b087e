"""Record the state of a playbook's step in the ledger, from callbacks of its task.

If a record cannot be written, this is logged and the task goes on, because an unavailable ledger must not prevent a rollback.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.incidents.timeline import StepRecord, StepState

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_slo_provider.incidents.playbook import PlaybookStep

_log = logging.getLogger(__name__)


class StepRecorder:
    """Record the states of one step.

    :param step: the step
    :param checklist: manual actions in addition to the step's own checklist
    """

    def __init__(self, step: PlaybookStep, checklist: tuple[str, ...] = ()) -> None:
        self.step = step
        self.checklist = (*step.checklist, *checklist)
        self._ended = False

    def attach(self, task: BaseOperator) -> None:
        """Add callbacks to a task that record its state; its own callbacks are kept.

        :param task: the task of the step
        """
        hook = getattr(task, "_post_execute_hook", None)

        def after(context: Any, result: Any = None) -> None:
            if hook is not None:
                hook(context, result)
            self.done(context, result)

        task.incident_step = self.step  # type: ignore[attr-defined]  # read by the post-mortem
        # Recorded before the task succeeds, because downstream tasks read the record.
        task._post_execute_hook = after
        task.on_execute_callback = [*task.on_execute_callback, self.began]
        task.on_success_callback = [*task.on_success_callback, self.succeeded]
        task.on_failure_callback = [*task.on_failure_callback, self.failed]
        task.on_skipped_callback = [*task.on_skipped_callback, self.skipped]

    def began(self, context: Any) -> None:
        """Record that the task has started."""
        self._ended = False
        self._write(context, StepState.RUNNING)

    def done(self, context: Any, result: Any) -> None:
        """Record that the task has completed, with its return value as evidence."""
        if self._ended:
            return
        message = str(result["message"]) if isinstance(result, Mapping) and result.get("message") else ""
        self.ended(context, StepState.DONE, message, result)

    def succeeded(self, context: Any) -> None:
        """Record the success of a task that returned nothing, such as a branch."""
        if not self._ended:
            self.ended(context, StepState.DONE)

    def failed(self, context: Any) -> None:
        """Record that the task has failed after its last try."""
        error = context.get("exception")
        self.ended(context, StepState.FAILED, f"{type(error).__name__}: {error}" if error is not None else "")

    def skipped(self, context: Any) -> None:
        """Record that the task was skipped, unless its end is already recorded (a rejected approval)."""
        if not self._ended:
            self.ended(context, StepState.SKIPPED, str(context.get("exception") or ""))

    def ended(self, context: Any, state: StepState, message: str = "", evidence: Any = None) -> None:
        """Record the final state of the step.

        :param context: Airflow's task context
        :param state: the state
        :param message: the message
        :param evidence: a JSON-able value
        """
        self._ended = True
        self._write(context, state, message, evidence, ended=True)

    def _write(self, context: Any, state: StepState, message: str = "", evidence: Any = None, *, ended: bool = False) -> None:
        from airflow_slo_provider.runtime.incidents.current_incident import record_step
        from airflow_slo_provider.runtime.secret_masks import masked

        now = datetime.now(UTC)
        try:
            record_step(
                StepRecord(
                    step_id=self.step.id,
                    phase=str(self.step.phase),
                    action=self.step.action,
                    state=state,
                    started_at=getattr(context["ti"], "start_date", None) or now,
                    ended_at=now if ended else None,
                    message=masked(message),
                    evidence=evidence,
                    checklist=self.checklist if ended else (),
                ),
                context,
            )
        except Exception:
            _log.exception("the state of step %s (%s) cannot be recorded", self.step.id, state)
