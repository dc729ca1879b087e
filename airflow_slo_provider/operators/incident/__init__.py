"""An incident as tasks: it is opened, a playbook is worked through, and a post-mortem is written of what happened.

Imported when asked for: Airflow's approvals bring their trigger along, and only a DAG file with an approval pays for it.
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
