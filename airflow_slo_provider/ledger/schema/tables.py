"""Table definitions for queries of the ledger. The tables are created by :mod:`airflow_slo_provider.ledger.schema.migrations`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import TableClause

COLUMNS = (
    "id", "identity", "dag_id", "run_id", "task_id", "map_index", "try_number", "recorded_at", "kind", "name", "verdict", "value",
    "unit", "good", "total", "target", "op", "message", "checked_at", "interval_start", "interval_end", "model_version",
    "evidence", "result_version", "service", "instance", "environment", "labels", "test_run", "attempt",
)  # fmt: skip
CORRECTION_COLUMNS = (
    "id", "identity", "environment", "service", "name", "labels", "starts", "ends", "reason", "recorded_by", "recorded_at",
)  # fmt: skip


@cache
def checks() -> TableClause:
    """Return the table of checks."""
    from sqlalchemy import column, table

    return table("checks", *(column(name) for name in COLUMNS))


@cache
def slo_corrections() -> TableClause:
    """Return the table of corrections: time ranges with an explanation."""
    from sqlalchemy import column, table

    return table("slo_corrections", *(column(name) for name in CORRECTION_COLUMNS))
