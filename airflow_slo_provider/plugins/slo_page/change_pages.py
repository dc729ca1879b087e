"""Data of the pages "Deployments" and "Incidents"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.core.timestamps import format_utc
from airflow_slo_provider.ledger.queries import checks as browse
from airflow_slo_provider.ledger.queries.changes import CHANGES, changed_by, changed_from, changed_to
from airflow_slo_provider.plugins.slo_page import safe_evidence as evidence
from airflow_slo_provider.plugins.slo_page.details import identity

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import Scope

MOST = 100


@dataclass(frozen=True)
class Change:
    """One deployment, promotion or rollback, and the gate decision of its run."""

    row: Recorded
    who: str
    version: str
    before: str
    decision: Recorded | None


@dataclass(frozen=True)
class DeploymentsView:
    """Data of the page of deployments."""

    now: datetime
    changes: Sequence[Change]
    decisions: Sequence[Recorded]


def deployments_view(ledger: Ledger, scope: Scope) -> DeploymentsView:
    """Read deployments, promotions, rollbacks and gate decisions; newest first.

    :param ledger: the ledger
    :param scope: the DAGs that the user may see
    """
    rows = [row for row in browse.recent(ledger, CHANGES, dags=scope.limit, limit=MOST) if scope.allows(row.key.dag_id)][:MOST]
    decisions = [row for row in browse.recent(ledger, ["decision"], dags=scope.limit, limit=MOST) if scope.allows(row.key.dag_id)]
    by_run: dict[tuple[str, str], Recorded] = {}
    for row in decisions:
        by_run.setdefault((row.key.dag_id, row.key.run_id), row)
    changes = [
        Change(
            row,
            who=changed_by(row.result),
            version=changed_to(row.result),
            before=changed_from(row.result),
            decision=by_run.get((row.key.dag_id, row.key.run_id)),
        )
        for row in rows
    ]
    return DeploymentsView(datetime.now(UTC), changes, decisions)


@dataclass(frozen=True)
class Incident:
    """One incident, from its newest check and the checks of its steps.

    :param steps: text and state of each step of the playbook
    :param timeline: time and text of each entry
    :param facts: the scalar values of the evidence
    """

    row: Recorded
    identity: str
    severity: str
    state: str
    steps: Sequence[tuple[str, str]]
    timeline: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    reports: Sequence[str]

    @property
    def done(self) -> int:
        """Return the number of completed steps."""
        return sum(state in ("done", "approved", "success") for _, state in self.steps)


@dataclass(frozen=True)
class IncidentsView:
    """Data of the page of incidents."""

    now: datetime
    incidents: Sequence[Incident]


def incidents_view(ledger: Ledger, scope: Scope) -> IncidentsView:
    """Read the incidents, newest first; for each incident the newest record.

    :param ledger: the ledger
    :param scope: the DAGs that the user may see
    """
    rows = [row for row in browse.recent(ledger, ["incident"], dags=scope.limit, limit=MOST) if scope.allows(row.key.dag_id)]
    newest: dict[tuple[str, str, str], Recorded] = {}
    for row in rows:
        newest.setdefault((row.key.dag_id, row.key.run_id, row.result.name), row)
    incidents = []
    for row in newest.values():
        found = browse.of_run(ledger, row.key.dag_id, row.key.run_id)
        steps = [
            one for one in found if one.result.kind == "incident_step" and one.result.evidence.get("incident") == row.result.name
        ]
        incidents.append(_incident(row, sorted(steps, key=lambda one: one.result.interval_start or one.result.checked_at)))
    return IncidentsView(datetime.now(UTC), incidents)


def _incident(row: Recorded, steps: Sequence[Recorded]) -> Incident:
    source = row.result.evidence
    return Incident(
        row,
        identity(row),
        severity=evidence.text(source, "severity"),
        state=evidence.text(source, "state"),
        steps=[_step(one) for one in steps]
        or [
            (_words(step, "action", "title", "name", "step"), evidence.text(step, "state", "status"))
            for step in evidence.sequence(source, "steps", "playbook")
        ][:MOST],
        timeline=[(format_utc(when), what) for when, what in _happened(row, steps)]
        or [
            (evidence.text(entry, "at", "time", "when"), _words(entry, "what", "text", "message", "event"))
            for entry in evidence.sequence(source, "timeline")
        ][: 2 * MOST],
        facts=[item for item in evidence.scalars(source) if item[0] not in ("severity", "state")][:20],
        reports=evidence.reports(source),
    )


def _step(one: Recorded) -> tuple[str, str]:
    return evidence.text(one.result.evidence, "action") or one.result.name, evidence.text(one.result.evidence, "state")


def _happened(row: Recorded, steps: Sequence[Recorded]) -> list[tuple[datetime, str]]:
    """Return the start of an incident and the end of each of its steps, in order; empty if no step is recorded."""
    if not steps:
        return []
    entries = [(row.result.interval_start or row.result.checked_at, row.result.message or "the incident began")]
    entries += [(one.result.interval_end or one.result.checked_at, one.result.message) for one in steps]
    return sorted((when.astimezone(UTC), what) for when, what in entries)


def _words(entry: Any, *keys: str) -> str:
    return entry if isinstance(entry, str) else evidence.text(entry, *keys)
