"""Incidents: playbooks, what happened, and the post-mortem. Plain Python; ``operators.incident`` makes tasks of it."""

from __future__ import annotations

from airflow_slo_provider.incidents.choosing import Choice, choose_playbook, severity_of
from airflow_slo_provider.incidents.incident import Incident, incident_id
from airflow_slo_provider.incidents.model import (
    IncidentPlaybook,
    IncidentType,
    Parameter,
    Phase,
    Playbook,
    PlaybookStep,
    Rule,
    Severity,
    SeverityRule,
)
from airflow_slo_provider.incidents.postmortem import Impact, PostMortem
from airflow_slo_provider.incidents.reading import load_playbooks
from airflow_slo_provider.incidents.shipped import shipped_playbook, shipped_playbooks
from airflow_slo_provider.incidents.timeline import Entry, State, StepRecord, timeline

__all__ = [
    "Choice",
    "Entry",
    "Impact",
    "Incident",
    "IncidentPlaybook",
    "IncidentType",
    "Parameter",
    "Phase",
    "Playbook",
    "PlaybookStep",
    "PostMortem",
    "Rule",
    "Severity",
    "SeverityRule",
    "State",
    "StepRecord",
    "choose_playbook",
    "incident_id",
    "load_playbooks",
    "severity_of",
    "shipped_playbook",
    "shipped_playbooks",
    "timeline",
]
