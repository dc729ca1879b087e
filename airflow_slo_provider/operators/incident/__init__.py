"""Operators of an incident: open it, run the steps of a playbook, and write a post-mortem.

The operators are imported on first use, because Airflow's approval operator imports its trigger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_slo_provider.core.lazy_names import offer

if TYPE_CHECKING:
    from airflow_slo_provider.operators.incident.checks import BurningCheckOperator, CulpritOperator, RecoveredSensor
    from airflow_slo_provider.operators.incident.playbook_group import PlaybookTaskGroup
    from airflow_slo_provider.operators.incident.tasks import OpenIncidentOperator, OtherIncidentsOperator, PostmortemOperator

__all__ = [
    "BurningCheckOperator", "CulpritOperator", "OpenIncidentOperator", "OtherIncidentsOperator", "PlaybookTaskGroup",
    "PostmortemOperator", "RecoveredSensor",
]  # fmt: skip

__getattr__ = offer(
    __name__,
    {
        "operators.incident.approval": "StepApprovalOperator",
        "operators.incident.checks": "BurningCheckOperator CulpritOperator RecoveredSensor",
        "operators.incident.playbook_group": "PlaybookTaskGroup",
        "operators.incident.steps": "ManualStepOperator",
        "operators.incident.tasks": "OpenIncidentOperator OtherIncidentsOperator PostmortemOperator",
    },
)
