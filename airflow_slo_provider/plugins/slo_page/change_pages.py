"""Data of the pages "Deployments" and "Incidents"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.timestamps import format_utc
from airflow_slo_provider.ledger.queries import checks as check_queries
from airflow_slo_provider.ledger.queries.changes import CHANGES, changed_by, changed_from, changed_to
from airflow_slo_provider.plugins.slo_page import safe_evidence

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import ReadableDags

MOST_ROWS = 100


@dataclass(frozen=True)
class Deployment:
    """One deployment, promotion or rollback, and the gate decision of its run."""

    row: Recorded
    user: str
    version: str
    previous: str
    decision: Recorded | None


@dataclass(frozen=True)
class Deployments:
    """Data of the page of deployments."""

    changes: Sequence[Deployment]
    decisions: Sequence[Recorded]


def read_deployments(ledger: Ledger, readable: ReadableDags) -> Deployments:
    """Read deployments, promotions, rollbacks and gate decisions; newest first.

    :param ledger: the ledger
    :param readable: the DAGs that the user may read
    """
    decisions = _read_recent(ledger, readable, "decision")
    # Oldest first, so that the newest decision of a run is kept.
    by_run = {(row.key.dag_id, row.key.run_id): row for row in reversed(decisions)}
    changes = [
        Deployment(
            row,
            user=changed_by(row.result),
            version=changed_to(row.result),
            previous=changed_from(row.result),
            decision=by_run.get((row.key.dag_id, row.key.run_id)),
        )
        for row in _read_recent(ledger, readable, *CHANGES)[:MOST_ROWS]
    ]
    return Deployments(changes, decisions)


def _read_recent(ledger: Ledger, readable: ReadableDags, *kinds: str) -> list[Recorded]:
    return readable.filter(check_queries.recent(ledger, kinds, dags=readable.query_filter, limit=MOST_ROWS))


@dataclass(frozen=True)
class IncidentDetails:
    """One incident, from its newest check and the checks of its steps.

    :param steps: text and state of each step of the playbook
    :param timeline: time and text of each entry
    :param facts: the scalar values of the evidence
    """

    row: Recorded
    severity: str
    state: str
    steps: Sequence[tuple[str, str]]
    timeline: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    reports: Sequence[str]

    @property
    def steps_done(self) -> int:
        """Return the number of completed steps."""
        return sum(state in ("done", "approved", "success") for _, state in self.steps)


def read_incidents(ledger: Ledger, readable: ReadableDags) -> list[IncidentDetails]:
    """Read the incidents, newest first; for each incident the newest record.

    :param ledger: the ledger
    :param readable: the DAGs that the user may read
    """
    newest: dict[tuple[str, str, str], Recorded] = {}
    for row in _read_recent(ledger, readable, "incident"):
        newest.setdefault((row.key.dag_id, row.key.run_id, row.result.name), row)
    return [_incident_details(row, _read_steps(ledger, row)) for row in newest.values()]


def _read_steps(ledger: Ledger, incident: Recorded) -> list[Recorded]:
    rows = check_queries.of_run(ledger, incident.key.dag_id, incident.key.run_id)
    name = incident.result.name
    steps = [row for row in rows if row.result.kind == "incident_step" and row.result.evidence.get("incident") == name]
    return sorted(steps, key=lambda step: step.result.interval_start or step.result.checked_at)


def _incident_details(row: Recorded, steps: Sequence[Recorded]) -> IncidentDetails:
    evidence = row.result.evidence
    return IncidentDetails(
        row,
        severity=safe_evidence.text(evidence, "severity"),
        state=safe_evidence.text(evidence, "state"),
        steps=[_describe_step(step) for step in steps]
        or [
            (_text_of(step, "action", "title", "name", "step"), safe_evidence.text(step, "state", "status"))
            for step in safe_evidence.sequence(evidence, "steps", "playbook")
        ][:MOST_ROWS],
        timeline=[(format_utc(at), what) for at, what in _timeline(row, steps)]
        or [
            (safe_evidence.text(entry, "at", "time", "when"), _text_of(entry, "what", "text", "message", "event"))
            for entry in safe_evidence.sequence(evidence, "timeline")
        ][: 2 * MOST_ROWS],
        facts=[item for item in safe_evidence.scalars(evidence) if item[0] not in ("severity", "state")][:20],
        reports=safe_evidence.report_keys(evidence),
    )


def _describe_step(step: Recorded) -> tuple[str, str]:
    evidence = step.result.evidence
    return safe_evidence.text(evidence, "action") or step.result.name, safe_evidence.text(evidence, "state")


def _timeline(row: Recorded, steps: Sequence[Recorded]) -> list[tuple[datetime, str]]:
    """Return the start of an incident and the end of each of its steps, in order; empty if no step is recorded."""
    if not steps:
        return []
    entries = [(row.result.interval_start or row.result.checked_at, row.result.message or "the incident began")]
    entries += [(step.result.interval_end or step.result.checked_at, step.result.message) for step in steps]
    return sorted((at.astimezone(UTC), what) for at, what in entries)


def _text_of(entry: Any, *keys: str) -> str:
    return entry if isinstance(entry, str) else safe_evidence.text(entry, *keys)
