"""Operator for the manual steps of a playbook: checklists, links, and steps whose parameters are missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.required_parameters import require

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.incidents.playbook import PlaybookStep
    from airflow_slo_provider.runtime.incidents.step_recording import StepRecorder


class ManualStepOperator(TextFields):
    """Log a manual step and record it in the timeline and as an action item of the post-mortem; does not wait.

    :param step: the step of the playbook
    :param recorder: records the outcome of the step
    :param reason: why the step is manual although the playbook has an operator for it; empty by default
    :param link: URL for the step. (templated)
    """

    template_fields: Sequence[str] = ("link",)
    text_fields = frozenset({"link"})
    ui_color = "#f3ead0"

    def __init__(
        self, *, step: PlaybookStep, recorder: StepRecorder, reason: str = "", link: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.step, self.recorder = step, recorder
        self.reason, self.link = reason, link

    def execute(self, context: Context) -> dict[str, Any]:
        """Log the action, the checklist, the commands and the link.

        :param context: Airflow's task context
        """
        from airflow_slo_provider.incidents.timeline import StepState

        require(self)
        self.log.info("Manual step: %s%s", self.step.action, f" ({self.reason})" if self.reason else "")
        for item in self.step.checklist:
            self.log.info("  [ ] %s", item)
        for command in self.step.commands:
            self.log.info("  by hand: %s", command)
        # The link may contain values of the incident, so only http(s) addresses are shown as links.
        link = self.link if self.link and self.link.lower().startswith(("http://", "https://")) else None
        if link:
            self.log.info("  see: %s", link)
        elif self.link:
            self.log.warning("  the link is omitted, because it is not an http(s) address: %r", self.link)
        result = {"commands": list(self.step.commands), **({"link": link} if link else {})}
        self.recorder.ended(context, StepState.FOR_A_PERSON, self.reason, result)
        return result


#: Suffix of the ids of the tasks between two phases.
BARRIER = "_is_over"


def is_barrier(task: Any) -> bool:
    """Return whether a task is one of those between two phases.

    :param task: the task
    """
    return str(task.task_id).endswith(BARRIER)
