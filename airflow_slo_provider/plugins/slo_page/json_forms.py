"""JSON forms of the SLO pages, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Recorded
    from airflow_slo_provider.plugins.slo_page.objectives import Objective
    from airflow_slo_provider.plugins.slo_page.slo_details import SLOView


def objective(one: Objective) -> dict[str, Any]:
    """Return an SLO of the overview as JSON."""
    known = one.known
    return {
        "name": one.name,
        "service": one.service,
        "tier": one.tier,
        "status": one.status,
        "objective": one.target,
        "window": one.window,
        "sli": one.sli,
        "remaining": one.remaining,
        "burn_rates": dict(one.burn_rates),
        "time_to_exhaustion_seconds": one.exhausted_in,
        "message": one.row.result.message,
        "checked_at": one.row.result.checked_at.isoformat(),
        "last_known": None if known is None else {"sli": known.result.value, "checked_at": known.result.checked_at.isoformat()},
    }


def slo(view: SLOView) -> dict[str, Any]:
    """Return an SLO with its history as JSON."""
    return objective(view.objective) | {
        "history": [
            {"at": at.isoformat(), "remaining": remaining, "sli": sli, "status": status}
            for at, remaining, sli, status in view.points
        ],
        "events": [{"number": event.number, "what": event.what, **check(event.row)} for event in view.events],
    }


def check(row: Recorded) -> dict[str, Any]:
    """Return a check and the task instance that recorded it as JSON."""
    key = row.key
    return row.result.to_dict() | {
        "dag_id": key.dag_id,
        "run_id": key.run_id,
        "task_id": key.task_id,
        "map_index": key.map_index,
        "try_number": key.try_number,
        "attempt": key.attempt,
        "environment": key.environment,
    }
