"""JSON forms of the SLO pages, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Recorded
    from airflow_slo_provider.plugins.slo_page.slo_details import SLODetails
    from airflow_slo_provider.plugins.slo_page.slo_summaries import SLOSummary


def slo_summary_json(slo: SLOSummary) -> dict[str, Any]:
    """Return an SLO of the overview as JSON."""
    known = slo.last_known
    return {
        "name": slo.row.result.name,
        "service": slo.service,
        "group": dict(slo.row.result.labels),
        "tier": slo.tier,
        "status": slo.status,
        "objective": slo.target,
        "window": slo.window,
        "sli": slo.sli,
        "remaining": slo.remaining,
        "burn_rates": dict(slo.burn_rates),
        "time_to_exhaustion_seconds": slo.exhausted_in,
        "message": slo.row.result.message,
        "checked_at": slo.row.result.checked_at.isoformat(),
        "last_known": None if known is None else {"sli": known.result.value, "checked_at": known.result.checked_at.isoformat()},
    }


def slo_details_json(details: SLODetails) -> dict[str, Any]:
    """Return an SLO with its history as JSON."""
    return slo_summary_json(details.slo) | {
        "history": [
            {"at": at.isoformat(), "remaining": remaining, "sli": sli, "status": status}
            for at, remaining, sli, status in details.points
        ],
        "events": [{"number": event.number, "what": event.what, **check_json(event.row)} for event in details.events],
    }


def check_json(row: Recorded) -> dict[str, Any]:
    """Return a check and the task instance that recorded it as JSON."""
    names = ("dag_id", "run_id", "task_id", "map_index", "try_number", "attempt", "environment")
    return row.result.to_dict() | {name: getattr(row.key, name) for name in names}
