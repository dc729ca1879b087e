"""The playbooks shipped with this package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from airflow_slo_provider.incidents.playbook import IncidentType, Playbook, PlaybookStep
from airflow_slo_provider.incidents.playbook_reader import load_playbooks

DIRECTORY = Path(__file__).parent / "playbooks"


@cache
def shipped_playbooks() -> tuple[Playbook, ...]:
    """Return all shipped playbooks, in the order of :class:`IncidentType`."""
    order = list(IncidentType)
    return tuple(sorted(load_playbooks(DIRECTORY), key=lambda playbook: order.index(IncidentType(playbook.incident_type))))


def shipped_playbook(incident_type: IncidentType | str) -> Playbook:
    """Return the shipped playbook for an incident type.

    :param incident_type: the incident type
    :raises ValueError: for a type without one
    """
    for playbook in shipped_playbooks():
        if playbook.incident_type == str(incident_type):
            return playbook
    known = ", ".join(IncidentType)
    raise ValueError(f"no playbook is shipped for {str(incident_type)!r}, only for {known}; write one and set its path")


class IncidentPlaybook:
    """Access to the steps of the shipped playbooks."""

    @staticmethod
    def get_playbook(incident_type: IncidentType | str) -> list[PlaybookStep]:
        """Return the steps of the shipped playbook for an incident type, ordered by phase.

        :param incident_type: the incident type
        :raises ValueError: for a type without a playbook
        """
        return list(shipped_playbook(incident_type).steps)
