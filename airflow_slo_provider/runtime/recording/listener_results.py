"""What was checked, in the form that Airflow's SQL check operators leave for listeners (OpenLineage's among them)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_SEVERITIES = {"fail": "error", "warn": "warn"}


def check_results(kind: str, found: Iterable[Mapping[str, Any]], *, table: str, actions: Mapping[str, str]) -> list[Any]:
    """Return ``SQLCheckResult`` objects; none where the common-sql provider is older than 2.4.

    :param kind: family of the check, e.g. ``drift``
    :param found: as :func:`airflow_slo_provider.drift.report.ledger_records.assertions` returns them
    :param table: what was checked
    :param actions: what a state does to the task: ``fail``, ``warn``, ``skip`` or ``pass``
    """
    try:
        from airflow.providers.common.sql.operators.sql import SQLCheckResult
    except ImportError:
        return []
    return [
        SQLCheckResult(
            name=one["name"],
            check_type=kind,
            success=one["success"],
            severity=_SEVERITIES.get(actions.get(one["state"], "pass"), "info"),
            column=one["column"],
            table=table,
            expected=one["expected"],
            actual=one["actual"],
            description=one["description"],
            params={"state": one["state"]},
        )
        for one in found
    ]
