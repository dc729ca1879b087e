"""The steps of a playbook that need a person: approvals, checklists, links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperator

from airflow_slo_provider.hooks.incident_steps import StepRecorder
from airflow_slo_provider.incidents.timeline import State

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.incidents.model import PlaybookStep


class StepApprovalOperator(ApprovalOperator):
    """Asks a person, for as long as the step allows; nobody's answer means what the step says: by default, no.

    A rejection skips the steps that come after this one, and nothing else. Who answered what, and when, is in the timeline.

    :param step: the step of the playbook
    :param recorder: keeps what becomes of it
    """

    def __init__(self, *, step: PlaybookStep, recorder: StepRecorder, **kwargs: Any) -> None:
        kwargs.setdefault("subject", step.action)
        kwargs.setdefault("response_timeout", step.timeout)
        kwargs.setdefault("defaults", self.APPROVE if step.approve_by_default else self.REJECT)
        super().__init__(**kwargs)
        self.step = step
        self.recorder = recorder

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Take the answer."""
        from airflow.providers.standard.operators.hitl import HITLOperator

        answer: Any = HITLOperator.execute_complete(self, context=context, event=event)
        approved = self.APPROVE in answer["chosen_options"]
        who = answer.get("responded_by_user")
        name = (who.get("name") or who.get("id")) if isinstance(who, dict) else getattr(who, "name", None)
        said = f"by {name}" if name else f"by nobody within {self.response_timeout}: that means {'yes' if approved else 'no'}"
        told = {"approved": approved, "by": name, "at": str(answer.get("responded_at") or ""), "timed_out": not name}
        state = State.APPROVED if approved else State.REJECTED
        self.log.info("%s: %s %s", self.step.action, state, said)
        self.recorder.ended(context, state, said, told)
        context["ti"].xcom_push(key="approval", value=told)
        if not approved:
            after = [task for task in context["task"].get_direct_relatives(upstream=False) if not is_barrier(task)]
            self.skip(ti=context["ti"], tasks=after)
        return told


class ManualStepOperator(BaseOperator):
    """Leaves something to a person: in the log, in the timeline, among the post-mortem's action items. Waits for nobody.

    :param step: the step of the playbook
    :param recorder: keeps what becomes of it
    :param reason: why it is left to a person, where the playbook has an operator for it
    :param link: address to look at. (templated)
    """

    template_fields: Sequence[str] = ("link",)
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
