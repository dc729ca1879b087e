"""Collect an incident's records from the ledger for its post-mortem, and record how it ended."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.incidents.incident import Incident
from airflow_slo_provider.incidents.postmortem import PostMortem
from airflow_slo_provider.incidents.timeline import INCIDENT_KIND, StepRecord, StepState, truncate_evidence, unreached_steps
from airflow_slo_provider.results import Verdict
from airflow_slo_provider.runtime.incidents.current_incident import incident_check, recorded_steps
from airflow_slo_provider.runtime.incidents.measurements import measure_impact

if TYPE_CHECKING:
    from airflow_slo_provider.runtime.error_budget.decision import Documents

_MAX_LINES = 200


def collect_postmortem(context: Mapping[str, Any], incident: Incident, slos: Documents | None) -> PostMortem:
    """Return the data of a post-mortem.

    :param context: Airflow's task context
    :param incident: the incident
    :param slos: SLO documents, to measure the impact of the incident; None if not given
    :raises LedgerError: if the ledger cannot be read
    """
    from airflow_slo_provider.runtime.recording.ledger_connection import open_default_ledger

    run = context["dag_run"]
    with open_default_ledger() as ledger:
        rows = ledger.checks(INCIDENT_KIND, incident.id, dag_id=run.dag_id)
        own = [row for row in rows if row.key.run_id == run.run_id]
        steps = recorded_steps(ledger, incident, dag_id=run.dag_id, run_id=run.run_id)
    facts: Mapping[str, Any] = own[-1].result.evidence if own else {}
    planned = [
        (step["id"], step["phase"], step["action"])
        for step in facts.get("steps", ())
        if isinstance(step, Mapping) and "id" in step
    ]
    steps |= {step.step_id: step for step in _lost_steps(context, steps)}
    order = {step: number for number, (step, _, _) in enumerate(planned)}
    found = [*steps.values(), *unreached_steps(planned, steps)]
    ordered = sorted(found, key=lambda step: order.get(step.step_id, len(order)))
    ended = _recovered_at(ordered)
    return PostMortem(
        incident=incident,
        severity=str(facts.get("severity") or incident.severity or "unknown"),
        playbook=str(facts.get("title") or "none"),
        reasons=tuple(map(str, facts.get("reasons", ()))),
        steps=ordered,
        ended_at=ended,
        impact=measure_impact(slos, incident.slo, incident.started_at, ended),
        run=f"{run.dag_id} / {run.run_id}",
        opened=bool(own),
    )


def _lost_steps(context: Mapping[str, Any], recorded: Container[str]) -> list[StepRecord]:
    """Return the steps whose tasks failed without a record, e.g. because a worker was killed before the task began.

    :param context: Airflow's task context
    :param recorded: ids of the steps that have a record
    """
    from airflow_slo_provider.runtime.gates.gate_instances import instance_states

    upstream = context["task"].get_flat_relatives(upstream=True)
    unknown = {
        task.task_id: task.incident_step
        for task in upstream
        if hasattr(task, "incident_step") and task.incident_step.id not in recorded
    }
    return [
        StepRecord(
            step_id=step.id,
            phase=str(step.phase),
            action=step.action,
            state=StepState.FAILED,
            message="its task failed before it could record anything",
        )
        for task_id, step in sorted(unknown.items())
        if "failed" in instance_states(task_id, context).values()
    ]


def record_incident_end(context: Mapping[str, Any], postmortem: PostMortem, files: Mapping[str, str]) -> None:
    """Record in the ledger how an incident ended.

    :param context: Airflow's task context
    :param postmortem: the post-mortem
    :param files: paths of its files by name
    :raises LedgerError: if the ledger cannot be written
    """
    from airflow_slo_provider.runtime.recording.checks import record

    steps, entries = postmortem.steps, postmortem.entries[:_MAX_LINES]
    facts = {
        "severity": postmortem.severity,
        "playbook": postmortem.playbook,
        "reasons": list(postmortem.reasons),
        "state": "over" if postmortem.ended_at else "open",
        "started_at": postmortem.incident.started_at.isoformat(),
        "ended_at": postmortem.ended_at.isoformat() if postmortem.ended_at else None,
        "impact": dict(postmortem.impact.facts),
        "steps": [{"id": step.step_id, "phase": step.phase, "action": step.action, "state": step.state.value} for step in steps],
        "timeline": [{"at": entry.at.isoformat(), "what": truncate_evidence(entry.text)} for entry in entries],
        **files,
    }
    verdict = Verdict.PASS if postmortem.ended_at else Verdict.FAIL
    record([incident_check(postmortem.incident, facts, verdict=verdict)], context)


def _recovered_at(steps: list[StepRecord]) -> Any:
    """Return when a step first measured that the SLO had recovered; None if none did."""
    done = [step for step in steps if step.phase == "resolution" and step.state is StepState.DONE and step.ended_at]
    measured = (step.ended_at for step in done if isinstance(step.evidence, Mapping) and step.evidence.get("recovered"))
    return min(measured, default=None)
