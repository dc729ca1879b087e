"""The steps of a playbook that need a person: approvals, checklists, links."""

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
    """Leaves something to a person: in the log, in the timeline, among the post-mortem's action items. Waits for nobody.

    :param step: the step of the playbook
    :param recorder: keeps what becomes of it
    :param reason: why it is left to a person, where the playbook has an operator for it
    :param link: address to look at. (templated)
    """

    template_fields: Sequence[str] = ("link",)
    text_fields = frozenset({"link"})
    ui_color = "#f3ead0"

    def __init__(
        self, *, step: PlaybookStep, recorder: StepRecorder, reason: str = "", link: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.recorder = recorder
        self.reason = reason
        self.link = link

    def execute(self, context: Context) -> dict[str, Any]:
        """Say what there is to do."""
        from airflow_slo_provider.incidents.timeline import State

        require(self)
        self.log.info("For a person: %s%s", self.step.action, f" ({self.reason})" if self.reason else "")
        for item in self.step.checklist:
            self.log.info("  [ ] %s", item)
        for command in self.step.commands:
            self.log.info("  by hand: %s", command)
        # A parameter was filled in, perhaps with something of the incident's: what is told as a link must be one.
        link = self.link if self.link and self.link.lower().startswith(("http://", "https://")) else None
        if link:
            self.log.info("  see: %s", link)
        elif self.link:
            self.log.warning("  the link is left out, it is no http(s) address: %r", self.link)
        told = {"commands": list(self.step.commands), **({"link": link} if link else {})}
        self.recorder.ended(context, State.FOR_A_PERSON, self.reason, told)
        return told


#: Ends the ids of the tasks that stand between two phases.
BARRIER = "_is_over"


def is_barrier(task: Any) -> bool:
    """Whether a task only stands between two phases."""
    return str(task.task_id).endswith(BARRIER)
