"""Operators that open an incident, list further incidents of a run, and write the post-mortem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, TriggerRule
from airflow.sdk.exceptions import AirflowFailException

from airflow_slo_provider.links.slo import ReportLink, SLOLink
from airflow_slo_provider.operators.blocking_operator import BlockingOperator
from airflow_slo_provider.operators.incident.steps import is_barrier
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.gates.blocked_tasks import block, block_some, downstream_of, release_events, withhold_events
from airflow_slo_provider.runtime.gates.dag_checks import argument, check_mapped_branch, check_targets, expand_groups
from airflow_slo_provider.runtime.recording.checks import non_retryable_errors, non_retryable_value_errors
from airflow_slo_provider.runtime.required_parameters import require, set_in_dag

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.incidents.incident import Incident
    from airflow_slo_provider.incidents.postmortem import PostMortem
    from airflow_slo_provider.incidents.timeline import StepRecord
    from airflow_slo_provider.runtime.error_budget.decision import Documents

_MAX_ACTION_ITEMS = 100


class OpenIncidentOperator(BlockingOperator):
    """Open an incident: find and claim it, choose the playbook, log the reasons, and call the notifiers.

    - The incident is read from the run's ``conf`` or from its asset events. If Airflow started one run for several incidents,
      it is the first one; see :class:`OtherIncidentsOperator` for the others.
    - If another run of this DAG already handles the incident, everything downstream is skipped.
    - If no measurement is available (an event of kind ``blind``), a rollback would not help: the notifiers are called, and
      everything except the post-mortem is skipped. The post-mortem task then fails.
    - With ``branches``, the branch of the best matching playbook is followed, and the other branches are skipped.
    - Asset events of ``outlets`` are sent only if this run handles the incident.

    XCom: ``incident``, and ``choice`` (``playbook``, ``severity``, ``reasons``, ``scores``).

    :param playbooks: playbooks to choose from: incident types, files, directories (relative paths start at the folder of the
        DAG file); by default all playbooks of this package
    :param branches: id of a task or task group by incident type; each must be directly downstream of this task
    :param notifiers: notifiers to call when an incident is opened. An error in one is logged and does not fail the task.
    :param may_run_when_blocked: ids of downstream tasks and task groups that may run, by their trigger rules, even if this run
        does not handle the incident
    :raises ValueError: when the DAG file is parsed, for a playbook with errors (each with file and line), for branches that are
        not directly downstream, and for ``branches`` in a task group that is mapped over an XCom
    """

    ui_color = "#f3d9d9"
    operator_extra_links = (SLOLink(),)

    def __init__(
        self,
        *,
        playbooks: Sequence[Any] | Any | None = None,
        branches: Mapping[str, str] | None = None,
        notifiers: Sequence[Any] | Any = (),
        **kwargs: Any,
    ) -> None:
        from airflow_slo_provider.incidents.playbook_lookup import find_playbooks
        from airflow_slo_provider.runtime.files.documents import dag_folder

        super().__init__(**kwargs)
        self.playbooks = find_playbooks(playbooks, dag_folder(self.dag if self.has_dag() else None))
        self.branches = {str(key): value for key, value in (branches or {}).items()}
        self.notifiers = list(notifiers) if isinstance(notifiers, list | tuple) else [notifiers]
        unknown = set(self.branches) - {playbook.incident_type for playbook in self.playbooks}
        if unknown:
            raise ValueError(f"{self.task_id}: branches names {sorted(unknown)[0]!r}, for which there is no playbook")

    @classmethod
    def check_dag(cls, task: Any) -> None:
        """Check that the branches lead to direct downstream tasks.

        :param task: the task, mapped or not
        :raises ValueError: naming the branch
        """
        super().check_dag(task)
        branches = argument(task, "branches") or {}
        check_targets(task, {f"branches[{str(kind)!r}]": name for kind, name in branches.items()})
        if branches:
            check_mapped_branch(task)

    @classmethod
    def tasks_to_block(cls, task: Any) -> Iterable[Any]:
        """Return nothing to check: the blocked tasks depend on the incident, and a post-mortem runs after any outcome."""
        return ()

    def execute(self, context: Context) -> dict[str, Any]:
        """Open the incident, and return the chosen playbook.

        :param context: Airflow's task context
        """
        from airflow_slo_provider.incidents.playbook_choice import choose_playbook
        from airflow_slo_provider.runtime.incidents.current_incident import claim, current_incident
        from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, run_key

        self.recheck_dag()
        withhold_events(self)
        ti = context["ti"]
        incident = current_incident(context)
        choice = choose_playbook(incident, self.playbooks)
        result = {
            "playbook": choice.playbook.incident_type,
            "title": choice.playbook.title,
            "severity": choice.severity.value,
            "reasons": list(choice.reasons),
            "scores": choice.scores,
        }
        self.log.info("Incident %s: %s", incident.id, incident.message)
        for reason in choice.reasons:
            self.log.info("%s: %s", choice.playbook.title, reason)
        ti.xcom_push(key="incident", value=incident.to_dict())
        ti.xcom_push(key="choice", value=result)
        steps = [{"id": step.id, "phase": str(step.phase), "action": step.action, "state": ""} for step in choice.playbook.steps]
        with non_retryable_errors(), open_default_ledger() as ledger:
            other = claim(ledger, incident, run_key(context), {**result, "steps": steps})
        if other is not None:
            self.log.warning("Run %s already handles %s; this run changes nothing", other.run_id, incident.id)
            self._skip_downstream(context, reason=f"run {other.run_id} already handles the incident")
            return result
        self._notify(context, incident, result)
        if incident.kind == "blind":
            self.log.error("No measurement is available, so nothing is changed: %s", incident.message)
            self._skip_downstream(context, keep=PostmortemOperator, reason="no measurement is available, so nothing is changed")
            return result
        release_events(self)
        if self.branches:
            self._skip_other_branches(context, choice.playbook.incident_type)
        return result

    def _notify(self, context: Any, incident: Incident, choice: Mapping[str, Any]) -> None:
        for notifier in self.notifiers:
            try:
                notifier({**context, "incident": incident.to_dict(), "choice": dict(choice)})
            except Exception:
                self.log.exception("A notification could not be sent")

    def _skip_downstream(self, context: Any, *, reason: str, keep: type | tuple[()] = ()) -> None:
        tasks = [task for task in downstream_of(context["task"]) if not isinstance(task, keep)]
        tasks = [task for task in tasks if task.task_id not in self.exempt_tasks()]
        if context["ti"].map_index >= 0:
            # The steps behind a barrier depend on this task as well, so a mapped task need not fail to block the barrier itself.
            tasks = [task for task in tasks if not is_barrier(task)]
        block(context, tasks, reason=reason)

    def _skip_other_branches(self, context: Any, incident_type: str) -> None:
        """Skip the branches of the other playbooks; if the chosen playbook has no branch, skip all of them."""
        others = set(self.branches.values()) - {self.branches.get(incident_type)}
        task_ids = set().union(*(expand_groups(self, name) for name in others))
        block_some(context, map(self.dag.get_task, task_ids))


class OtherIncidentsOperator(BaseOperator):
    """Return the further incidents of a run as arguments of ``TriggerDagRunOperator``, for dynamic task mapping.

    Airflow starts one run for all asset events it finds; each incident should have its own run. An incident always gets the
    same run id, so that it cannot be started twice. The operator has no parameters of its own, and fails only if the run's data
    is not a valid incident.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return the arguments of a run for each further incident; usually none.

        :param context: Airflow's task context
        :raises AirflowFailException: for data that is not a valid incident
        """
        from airflow_slo_provider.runtime.incidents.current_incident import incidents_of, trigger_arguments

        with non_retryable_value_errors():
            return trigger_arguments(incidents_of(context)[1:])


class PostmortemOperator(TextFields):
    """Write the post-mortem of the run's incident as Markdown and HTML, and record how the incident ended in the ledger.

    It runs after any outcome of the tasks before it (``trigger_rule="all_done"``), so their failures would not fail the run. It
    therefore fails itself, after everything is written, if a step of mitigation or resolution failed, if an incident that has
    not ended has a failed step and a mitigation that was not reached, or if the incident is of kind ``blind``.

    XCom: ``markdown`` and ``html`` (the paths), ``incident``, ``severity``, ``started_at``, ``ended_at``, ``action_items``.

    :param path: directory for the files: a path, or a URI such as ``s3://conn_id@bucket/incidents``. (templated)
    :param slos: SLO documents, to measure the impact of the incident. (templated)
    """

    template_fields: Sequence[str] = ("path", "slos")
    text_fields = frozenset({"path"})
    path_fields = frozenset({"slos"})
    ui_color = "#dfe7f2"
    operator_extra_links = (SLOLink(), ReportLink())

    def __init__(self, *, path: str, slos: Documents | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", TriggerRule.ALL_DONE)
        super().__init__(**kwargs)
        if not path:
            raise ValueError(f"{self.task_id}: path is empty; name a directory for the post-mortem")
        self.path = path
        self.slos = slos
        self._set_in_dag = set_in_dag(self, "path", "slos")

    def execute(self, context: Context) -> dict[str, Any]:
        """Collect the records, measure the impact, and write and record the post-mortem.

        :param context: Airflow's task context
        :raises AirflowFailException: if the incident is not resolved, see the class
        """
        from airflow_slo_provider.runtime.incidents.current_incident import current_incident
        from airflow_slo_provider.runtime.incidents.postmortem_data import collect_postmortem, record_incident_end

        require(self, self._set_in_dag)
        incident = current_incident(context)
        if incident.kind == "blind":
            raise AirflowFailException(f"no measurement was available, and nothing was changed: {incident.message}")
        with non_retryable_errors():
            found = collect_postmortem(context, incident, self.slos)
            markdown, html = self._write(found)
            record_incident_end(context, found, {"markdown": markdown, "report": html})
        result = {
            "incident": incident.id,
            "severity": found.severity,
            "started_at": incident.started_at.isoformat(),
            "ended_at": found.ended_at.isoformat() if found.ended_at else None,
            "markdown": markdown,
            "html": html,
            "action_items": found.open_actions[:_MAX_ACTION_ITEMS],
        }
        self.log.info("Post-mortem: %s", markdown)
        if not found.opened and any(isinstance(task, OpenIncidentOperator) for task in self.get_flat_relatives(upstream=True)):
            raise AirflowFailException(f"the incident was never opened, see the task that opens it. Post-mortem: {markdown}")
        unresolved = _unresolved_steps(found)
        if unresolved:
            context["ti"].xcom_push(key="return_value", value=result)
            steps = "; ".join(f"{step.action}: {step.state} {step.message}".strip() for step in unresolved)
            raise AirflowFailException(f"the incident is not resolved: {steps}. Post-mortem: {markdown}")
        return result

    def _write(self, found: PostMortem) -> tuple[str, str]:
        from airflow_slo_provider.runtime.files.object_storage import object_path

        directory = object_path(self.path)
        directory.mkdir(parents=True, exist_ok=True)
        markdown, html = directory / f"{found.incident.id}.md", directory / f"{found.incident.id}.html"
        markdown.write_bytes(found.markdown().encode())
        html.write_bytes(found.html().encode())
        return str(markdown), str(html)


def _unresolved_steps(found: PostMortem) -> list[StepRecord]:
    """Return the steps because of which the incident is not resolved: failed steps of mitigation or resolution.

    If the incident has not ended, also any other failed step if a mitigation was not reached, with the steps that were not
    reached.
    """
    failed = [step for step in found.steps if step.state in ("failed", "running")]
    missed = [step for step in found.steps if step.state == "not reached" and step.phase == "mitigation"]
    if failed and missed and found.ended_at is None:
        return failed + missed
    return [step for step in failed if step.phase in ("mitigation", "resolution")]
