"""Incident response: incidents, playbooks, timeline and post-mortem. Plain Python; ``operators.incident`` builds tasks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_slo_provider.core.lazy_names import offer

if TYPE_CHECKING:
    from airflow_slo_provider.incidents.incident import Incident, incident_id
    from airflow_slo_provider.incidents.playbook import (
        IncidentType,
        Parameter,
        Phase,
        Playbook,
        PlaybookStep,
        Rule,
        Severity,
        SeverityRule,
    )
    from airflow_slo_provider.incidents.playbook_choice import Choice, choose_playbook, severity_of
    from airflow_slo_provider.incidents.playbook_library import IncidentPlaybook, shipped_playbook, shipped_playbooks
    from airflow_slo_provider.incidents.playbook_reader import load_playbooks
    from airflow_slo_provider.incidents.postmortem import Impact, PostMortem
    from airflow_slo_provider.incidents.timeline import Entry, StepRecord, StepState, timeline

__all__ = [
    "Choice", "Entry", "Impact", "Incident", "IncidentPlaybook", "IncidentType", "Parameter", "Phase", "Playbook",
    "PlaybookStep", "PostMortem", "Rule", "Severity", "SeverityRule", "StepRecord", "StepState", "choose_playbook", "incident_id",
    "load_playbooks", "severity_of", "shipped_playbook", "shipped_playbooks", "timeline",
]  # fmt: skip

#: Imported on first use: an operator in a DAG file, and a model server that reads a decision, need no playbook reader.
__getattr__ = offer(
    __name__,
    {
        "incidents.playbook_choice": "Choice choose_playbook severity_of",
        "incidents.incident": "Incident incident_id",
        "incidents.playbook": "IncidentType Parameter Phase Playbook PlaybookStep Rule Severity SeverityRule",
        "incidents.postmortem": "Impact PostMortem",
        "incidents.playbook_reader": "load_playbooks",
        "incidents.playbook_library": "IncidentPlaybook shipped_playbook shipped_playbooks",
        "incidents.timeline": "Entry StepState StepRecord timeline",
    },
    renamed={"State": "StepState"},
)
