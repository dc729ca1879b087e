"""Task group that runs a playbook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, TaskGroup, TriggerRule

from airflow_slo_provider.core.text_lists import text_list
from airflow_slo_provider.operators.incident.steps import BARRIER, ManualStepOperator
from airflow_slo_provider.operators.incident.tasks import OpenIncidentOperator, OtherIncidentsOperator

if TYPE_CHECKING:
    import os

    from airflow_slo_provider.incidents.playbook import IncidentType, Playbook, PlaybookStep
    from airflow_slo_provider.runtime.incidents.step_recording import StepRecorder

#: Built-in checks by name; imported on first use.
_CHECKS = {
    "burning": "airflow_slo_provider.operators.incident.checks.BurningCheckOperator",
    "culprit": "airflow_slo_provider.operators.incident.checks.CulpritOperator",
    "recovered": "airflow_slo_provider.operators.incident.checks.RecoveredSensor",
}


class PlaybookTaskGroup(TaskGroup):
    """Run a playbook as tasks: phases in sequence, the steps of a phase in parallel, each recorded in the timeline.

    - A phase begins when the previous one is over, regardless of the outcome of its steps; detection and diagnosis begin
      together. A step that names others in ``after`` runs only if they succeeded: a rollback does not run after a rejected
      approval, or if no failing version was found.
    - A check or an operator becomes a task with parameters from ``values``. If a value is missing, the step becomes a manual
      step with the reason. An operator that cannot be imported or rejects its parameters fails when the DAG file is parsed.
    - An approval waits for its timeout and then takes its default, which is a rejection unless the playbook sets another.
    - Links and checklists are shown and recorded; no other step waits for them.

    The group begins with the task ``open`` (:class:`.OpenIncidentOperator`). The tasks ``others`` and ``open_others`` start a
    separate run for each further incident that Airflow assigned to this run. Put a :class:`.PostmortemOperator` after the
    group.

    .. code-block:: python

        playbook = PlaybookTaskGroup(
            "playbook",
            playbook="model_serving_degradation",
            values={"slos": "/opt/slos", "deployment": "model-server", "failures_by_version": QUERY},
        )
        playbook >> PostmortemOperator(task_id="post_mortem", path="s3://incidents/", slos="/opt/slos")

    :param group_id: id of the group; by default the incident type of the playbook
    :param playbook: a playbook, an incident type, a file (a relative path starts at the folder of the DAG file) or text
    :param values: the playbook's parameters by name
    :param actions: by step id, a function that takes the task id and returns the operator, instead of the playbook's operator
    :param without: ids of steps to leave out; they are removed from ``after`` of other steps
    :param approval_timeout: timeout of every approval, instead of the playbook's timeouts
    :param open_incident: whether the group begins with ``open``
    :param notifiers: notifiers to call when an incident is opened
    :raises DocumentError: when the DAG file is parsed, for a playbook with errors
    :raises ValueError: for values, actions or steps that the playbook does not have, and for operators that cannot be created
    """

    def __init__(
        self,
        group_id: str | None = None,
        *,
        playbook: Playbook | IncidentType | str | os.PathLike[str],
        values: Mapping[str, Any] | None = None,
        actions: Mapping[str, Callable[[str], BaseOperator]] | None = None,
        without: str | Sequence[str] = (),
        approval_timeout: timedelta | None = None,
        open_incident: bool = True,
        notifiers: Sequence[Any] | Any = (),
        **kwargs: Any,
    ) -> None:
        from airflow_slo_provider.incidents.playbook_lookup import find_playbook
        from airflow_slo_provider.runtime.files.documents import dag_folder

        found = find_playbook(playbook, dag_folder(kwargs.get("dag")))
        without = text_list(without)
        _check_names(found, values or {}, actions or {}, without)
        super().__init__(group_id=group_id or found.incident_type, **kwargs)
        self.playbook = _without_steps(found, without)
        given = {name: parameter.default for name, parameter in found.parameters.items()} | dict(values or {})
        prefix = f"{self.group_id}." if self.prefix_group_id else ""
        self.values = {name: value for name, value in given.items() if value is not None} | {"group": prefix}
        self.actions = dict(actions or {})
        self.approval_timeout = approval_timeout
        with self:
            self._add_phases(self._add_opening(notifiers) if open_incident else [])

    def _add_opening(self, notifiers: Sequence[Any] | Any) -> list[BaseOperator]:
        from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

        task = OpenIncidentOperator(task_id="open", playbooks=[self.playbook], notifiers=notifiers)
        others = OtherIncidentsOperator(task_id="others")
        TriggerDagRunOperator.partial(
            task_id="open_others", trigger_dag_id=self.dag.dag_id, skip_when_already_exists=True
        ).expand_kwargs(others.output)
        return [task]

    def _add_phases(self, first: list[BaseOperator]) -> None:
        from airflow.providers.standard.operators.empty import EmptyOperator

        from airflow_slo_provider.incidents.playbook import Phase

        tasks: dict[str, BaseOperator] = {}
        before: list[BaseOperator] = list(first)
        seen, over = [], None
        for phase in Phase:
            steps = self.playbook.of_phase(phase)
            if not steps:
                continue
            for step in steps:
                tasks[step.id] = self._step_task(step)
                before >> tasks[step.id]
            for step in steps:
                for other in step.after:
                    tasks[other] >> tasks[step.id]
            # The scheduler completes an EmptyOperator itself, without a worker.
            over = EmptyOperator(task_id=f"{phase}{BARRIER}", trigger_rule=TriggerRule.ALL_DONE)
            ([tasks[step.id] for step in steps if not _is_manual(tasks[step.id])] or before) >> over
            seen.append(over)
            if phase != Phase.DETECTION:  # the incident is already detected when the run starts, so diagnosis does not wait
                before, seen = [*first, *seen], []
        if over is not None:  # only the end of the last phase waits for manual steps
            over << [task for task in tasks.values() if _is_manual(task) and over.task_id not in task.downstream_task_ids]

    def _step_task(self, step: PlaybookStep) -> BaseOperator:
        from airflow_slo_provider.incidents.playbook import Kind, fill_parameters
        from airflow_slo_provider.runtime.incidents.step_recording import StepRecorder

        missing = [name for name in step.parameters if name not in self.values]
        own = self.actions.get(step.id)
        manual = step.kind is Kind.CHECKLIST or (bool(missing) and own is None)
        # The checklist item of a step that somebody does instead of an operator.
        checklist = () if step.kind in (Kind.CHECKLIST, Kind.LINK) else ("done by hand, with its result",)
        recorder = StepRecorder(step, checklist if manual else ())
        if own is not None:
            task = own(step.id)
        elif manual:
            reason = f"{', '.join(missing)} not set" if missing else ""
            task = ManualStepOperator(task_id=step.id, step=step, recorder=recorder, reason=reason)
        elif step.kind is Kind.LINK:
            link = str(fill_parameters(step.target, self.values))
            task = ManualStepOperator(task_id=step.id, step=step, recorder=recorder, link=link)
        elif step.kind is Kind.APPROVAL:
            task = self._approval_task(step, recorder)
        else:
            task = self._operator_task(step)
        recorder.attach(task)
        if not getattr(task, "doc_md", None):
            task.doc_md = _step_doc(step)
        return task

    def _approval_task(self, step: PlaybookStep, recorder: StepRecorder) -> BaseOperator:
        from airflow_slo_provider.operators.incident.approval import StepApprovalOperator

        if self.approval_timeout is not None:
            step = replace(step, timeout=self.approval_timeout)
        return StepApprovalOperator(task_id=step.id, step=step, recorder=recorder, body="\n".join(step.checklist) or None)

    def _operator_task(self, step: PlaybookStep) -> BaseOperator:
        from airflow_slo_provider.incidents.playbook import Kind, fill_parameters

        where = f"{self.playbook.file}:{step.line}: playbook {self.playbook.name}, step {step.id}"
        name = _CHECKS[step.target] if step.kind is Kind.CHECK else step.target
        module, _, attribute = name.rpartition(".")
        try:
            operator: Any = getattr(import_module(module), attribute)
        except ImportError as error:
            message = (
                f"{where}: operator {name} cannot be imported ({error}); install its dependencies, or replace it in actions="
            )
            raise ValueError(message) from error
        except AttributeError as error:
            raise ValueError(f"{where}: module {module} has no {attribute}") from error
        if not (isinstance(operator, type) and issubclass(operator, BaseOperator)):
            raise ValueError(f"{where}: {name} is not an operator")
        try:
            return operator(task_id=step.id, **fill_parameters(step.arguments, self.values))
        except Exception as error:  # an operator may reject its arguments with any exception
            raise ValueError(f"{where}: {name} rejects its parameters: {error}") from error


def _is_manual(task: BaseOperator) -> bool:
    return isinstance(task, ManualStepOperator)


def _check_names(playbook: Playbook, values: Mapping[str, Any], actions: Mapping[str, Any], without: Sequence[str]) -> None:
    for what, names, known in (
        ("values", values, playbook.parameters),
        ("actions", actions, playbook.step_ids),
        ("without", without, playbook.step_ids),
    ):
        unknown = [name for name in names if name not in known]
        if unknown:
            listed = ", ".join(known) or "nothing"
            raise ValueError(f"{what} names {unknown[0]!r}, which playbook {playbook.name} does not have; it has {listed}")


def _without_steps(playbook: Playbook, omitted: Sequence[str]) -> Playbook:
    kept = (step for step in playbook.steps if step.id not in omitted)
    steps = tuple(replace(step, after=tuple(other for other in step.after if other not in omitted)) for step in kept)
    return replace(playbook, steps=steps)


def _step_doc(step: PlaybookStep) -> str:
    from airflow_slo_provider.incidents.markdown import markdown_text

    lines = [markdown_text(step.action), "", *(f"- [ ] {markdown_text(item)}" for item in step.checklist)]
    return "\n".join([*lines, "", *(f"    {command}" for command in step.commands)])
