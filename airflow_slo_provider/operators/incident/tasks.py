"""An incident as tasks: it is opened, a playbook is worked through, and a post-mortem is written of what happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, TriggerRule

from airflow_slo_provider.links.slo import ReportLink, SLOLink
from airflow_slo_provider.operators.blocking_operator import BlockingOperator
from airflow_slo_provider.operators.incident.steps import is_barrier
from airflow_slo_provider.operators.text_template_fields import TextFields
from airflow_slo_provider.runtime.gates.blocked_tasks import block, block_some, downstream_of, release_events, withhold_events
from airflow_slo_provider.runtime.gates.dag_checks import argument, check_mapped_branch, check_targets
from airflow_slo_provider.runtime.recording.checks import failing_over_values, failing_rightly
from airflow_slo_provider.runtime.required_parameters import given, require

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_slo_provider.incidents.incident import Incident
    from airflow_slo_provider.incidents.postmortem import PostMortem
    from airflow_slo_provider.incidents.timeline import StepRecord
    from airflow_slo_provider.runtime.error_budget.decision import Documents

#: XCom keys of :class:`OpenIncidentOperator`.
INCIDENT, CHOICE = "incident", "choice"
_SHOWN = 100


class OpenIncidentOperator(BlockingOperator):
    """Takes care of an incident: finds it, claims it, chooses the playbook, says why, and tells whoever must know.

    - The incident is that of the run's ``conf`` or of its asset events. Where Airflow started one run for several, it is the
      first of them; see :class:`OtherIncidentsOperator` for the others.
    - Where another run of this DAG takes care of it already, everything downstream is skipped.
    - Where nothing is known (an event of kind ``blind``), nobody is helped by a rollback: it is told, and everything but the
      post-mortem is skipped, whose task fails.
    - With ``branches``, the way of the playbook that fits best is taken, and the other ways are skipped.
    - Asset events leave the task (``outlets``) only where this run takes care of the incident.

    XCom: ``incident``, and ``choice`` (``playbook``, ``severity``, ``reasons``, ``scores``).

    :param playbooks: playbooks to choose from: incident types, files, directories (relative ones beside the DAG file); all that
        ship by default
    :param branches: task or task-group id by incident type; each directly downstream of this task
    :param notifiers: told when an incident is opened. One that fails is logged and stops nothing.
    :param may_run_when_blocked: ids of tasks and task groups downstream that may run, as their trigger rules say, although
        nothing is done about the incident
    :raises ValueError: when the DAG is read, for a playbook with faults (each with file and line), for branches that are not
        directly downstream, and for ``branches`` in a task group that is mapped over an XCom
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
        unknown = set(self.branches) - {one.incident_type for one in self.playbooks}
        if unknown:
            raise ValueError(f"{self.task_id}: branches names {sorted(unknown)[0]!r}, for which there is no playbook")

    @classmethod
    def check_dag(cls, task: Any) -> None:
        """Check that the branches lead to what is directly downstream."""
        super().check_dag(task)
        branches = argument(task, "branches") or {}
        check_targets(task, {f"branches[{str(kind)!r}]": name for kind, name in branches.items()})
        if branches:
            check_mapped_branch(task)

    @classmethod
    def blockable(cls, task: Any) -> Iterable[Any]:
        """Return nothing to check: what must not run depends on the incident, and a post-mortem runs after anything."""
        return ()

    def execute(self, context: Context) -> dict[str, Any]:
        """Open the incident."""
        from airflow_slo_provider.incidents.playbook_choice import choose_playbook
        from airflow_slo_provider.runtime.incidents.current_incident import claim, current_incident
        from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger, run_key

        self.check_dag_again()
        withhold_events(self)
        ti = context["ti"]
        incident = current_incident(context)
        choice = choose_playbook(incident, self.playbooks)
        told = {
            "playbook": choice.playbook.incident_type,
            "title": choice.playbook.title,
            "severity": choice.severity.value,
            "reasons": list(choice.reasons),
            "scores": choice.scores,
        }
        self.log.info("Incident %s: %s", incident.id, incident.message)
        for reason in choice.reasons:
            self.log.info("%s: %s", choice.playbook.title, reason)
        ti.xcom_push(key=INCIDENT, value=incident.to_dict())
        ti.xcom_push(key=CHOICE, value=told)
        facts = {**told, "severity": told["severity"], "steps": _steps_of(choice.playbook)}
        with failing_rightly(), open_default_ledger() as ledger:
            taken = claim(ledger, incident, run_key(context), facts)
        if taken is not None:
            self.log.warning("Run %s takes care of %s already; nothing is done here", taken.run_id, incident.id)
            self._skip_all(context, keep=(), reason=f"run {taken.run_id} takes care of it already")
            return told
        self._notify(context, incident, told)
        if incident.kind == "blind":
            self.log.error("Nothing is known, so nothing is done: %s", incident.message)
            self._skip_all(context, keep=(PostmortemOperator,), reason="nothing is known, so nothing is done")
            return told
        release_events(self)
        if self.branches:
            self._branch(context, choice.playbook.incident_type)
        return told

    def _notify(self, context: Any, incident: Incident, told: Mapping[str, Any]) -> None:
        for notifier in self.notifiers:
            try:
                notifier({**context, "incident": incident.to_dict(), "choice": dict(told)})
            except Exception:
                self.log.exception("A notification could not be sent")

    def _skip_all(self, context: Any, *, keep: tuple[type, ...], reason: str) -> None:
        exempt = self.exempt()
        # A barrier does nothing, and the steps behind it depend on this task as well: a mapped task need not fail for its sake.
        mapped = context["ti"].map_index >= 0
        tasks = [
            one
            for one in downstream_of(context["task"])
            if one.task_id not in exempt and not (keep and isinstance(one, keep)) and not (mapped and is_barrier(one))
        ]
        block(context, tasks, reason=reason)

    def _branch(self, context: Any, incident_type: str) -> None:
        """Skip the ways of the other playbooks; where the chosen one has none, all of them."""
        chosen = self.branches.get(incident_type)
        heads: dict[str, Any] = {}
        for name in set(self.branches.values()) - ({chosen} if chosen else set()):
            group = self.dag.task_group_dict.get(name)
            for one in group.iter_tasks() if group is not None else [self.dag.get_task(name)]:
                heads[one.task_id] = one
        block_some(context, heads.values())


class OtherIncidentsOperator(BaseOperator):
    """Returns the incidents beside the run's own as arguments of ``TriggerDagRunOperator``, to be mapped over.

    Airflow starts one run for all asset events it finds; each incident shall have its own. The same incident always gets the same
    run id, so that it cannot be started twice. Takes no parameters, asks nobody, and fails over nothing but what is no incident.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return them; nothing, as a rule."""
        from airflow_slo_provider.runtime.incidents.current_incident import incidents_of, other_runs

        with failing_over_values():
            return other_runs(incidents_of(context)[1:])


class PostmortemOperator(TextFields):
    """Writes the post-mortem of the run's incident from what happened: Markdown, HTML, and the incident's record in the ledger.

    It runs whatever became of the tasks before it (``trigger_rule="all_done"``), and so does the run's state not depend on them:
    therefore it fails, once everything is written, when a step of mitigation or resolution has failed, when an incident without
    an end has a failed step and a mitigation that was not reached, or when the incident was that nothing is known.

    XCom: ``markdown`` and ``html`` (where they are), ``incident``, ``severity``, ``started_at``, ``ended_at``, ``action_items``.

    :param path: directory the files go to: a path, or a URI such as ``s3://conn_id@bucket/incidents``. (templated)
    :param slos: SLO documents, to measure what the incident has cost. (templated)
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
        self._given = given(self, "path", "slos")

    def render_template(self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None) -> Any:
        """Render everything but documents: ``{{.window}}`` in a query is for the server and no template of Airflow."""
        if isinstance(content, str) and "\n" in content:
            return content
        return super().render_template(content, context, jinja_env, seen_oids)

    def execute(self, context: Context) -> dict[str, Any]:
        """Gather, measure, write, record."""
        from airflow.sdk.exceptions import AirflowFailException

        from airflow_slo_provider.runtime.incidents.current_incident import current_incident
        from airflow_slo_provider.runtime.incidents.postmortem_data import gathered, recorded_incident

        require(self, self._given)
        incident = current_incident(context)
        if incident.kind == "blind":
            raise AirflowFailException(f"nothing is known, and nothing was done: {incident.message}")
        with failing_rightly():
            found = gathered(context, incident, self.slos)
            markdown, html = self._write(found)
            recorded_incident(context, found, {"markdown": markdown, "report": html})
        told = {
            "incident": incident.id,
            "severity": found.severity,
            "started_at": incident.started_at.isoformat(),
            "ended_at": found.ended_at.isoformat() if found.ended_at else None,
            "markdown": markdown,
            "html": html,
            "action_items": found.left_open[:_SHOWN],
        }
        self.log.info("Post-mortem: %s", markdown)
        if not found.opened and any(isinstance(one, OpenIncidentOperator) for one in self.get_flat_relatives(upstream=True)):
            raise AirflowFailException(f"the incident was never opened, see the task that opens it. Post-mortem: {markdown}")
        unresolved = _unresolved(found)
        if unresolved:
            context["ti"].xcom_push(key="return_value", value=told)
            said = "; ".join(f"{one.action}: {one.state} {one.message}".strip() for one in unresolved)
            raise AirflowFailException(f"the incident is not resolved: {said}. Post-mortem: {markdown}")
        return told

    def _write(self, found: PostMortem) -> tuple[str, str]:
        from airflow_slo_provider.runtime.files.object_storage import object_path

        directory = object_path(self.path)
        directory.mkdir(parents=True, exist_ok=True)
        out = []
        for ending, text in (("md", found.markdown()), ("html", found.html())):
            file = directory / f"{found.incident.id}.{ending}"
            file.write_bytes(text.encode())
            out.append(str(file))
        return out[0], out[1]


def _unresolved(found: PostMortem) -> list[StepRecord]:
    """The steps for which the incident is not resolved: those of mitigation or resolution that failed.

    Where it has no end, also any other that failed and kept a mitigation from being reached, with what was not reached.
    """
    failed = [one for one in found.steps if one.state in ("failed", "running")]
    missed = [one for one in found.steps if one.state == "not reached" and one.phase == "mitigation"]
    if failed and missed and found.ended_at is None:
        return failed + missed
    return [one for one in failed if one.phase in ("mitigation", "resolution")]


def _steps_of(playbook: Any) -> list[dict[str, str]]:
    return [{"id": one.id, "phase": str(one.phase), "action": one.action, "state": ""} for one in playbook.steps]
