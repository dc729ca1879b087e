"""Derive the dataset's verdict from the columns' verdicts; by default one drifted column means drift."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_slo_provider.drift.verdict.results import ColumnDrift
from airflow_slo_provider.drift.verdict.thresholds import ORDER, DriftState, matches_any


def dataset_verdict(
    columns: Mapping[str, ColumnDrift], *, critical: tuple[str, ...] | None, max_share: float | None, rows: tuple[int, int]
) -> tuple[DriftState, str, float]:
    """Judge the dataset.

    :param columns: the judged columns, by name
    :param critical: names and patterns of columns that decide the dataset's verdict; None for all
    :param max_share: share of the columns' weight that may drift; None to decide without a share
    :param rows: rows of the reference and of the current data
    :return: the state, the reason, and the share of the judged weight that drifted
    """
    for side, count in zip(("reference", "current data"), rows, strict=True):
        if not count:
            return DriftState.INSUFFICIENT_DATA, f"the {side} has no rows", 0.0
    judged = [column for column in columns.values() if column.verdict in (DriftState.OK, DriftState.WARN, DriftState.DRIFT)]
    weight = sum(column.weight for column in judged)
    drifted = [column for column in judged if column.verdict is DriftState.DRIFT]
    share = sum(column.weight for column in drifted) / weight if weight else 0.0
    # Without a list of critical columns every column is critical, unless max_share is set: then the share decides.
    every = critical is None and max_share is None
    states = {
        column.verdict
        for column in columns.values()
        if column.role != "feature" or (column.weight and (every or matches_any(column.name, critical or ())))
    }
    # Errors and schema changes decide the verdict whatever the column's weight.
    states |= {column.verdict for column in columns.values() if column.verdict in (DriftState.ERROR, DriftState.SCHEMA_CHANGE)}
    if max_share is not None and not share <= max_share:
        states.add(DriftState.DRIFT)
    if not weight and not states - {DriftState.SKIPPED}:
        states.add(DriftState.INSUFFICIENT_DATA)
    # Columns without weight or not critical do not decide the verdict, but their problems must not end as "ok" either.
    softer = {column.verdict for column in columns.values()} & {DriftState.DRIFT, DriftState.WARN, DriftState.INSUFFICIENT_DATA}
    states |= {DriftState.WARN} if softer else set()
    verdict = next((state for state in ORDER if state in states), DriftState.OK)
    verdict = DriftState.INSUFFICIENT_DATA if verdict is DriftState.SKIPPED else verdict
    return verdict, _format_message(verdict, columns, share), share


def _format_message(verdict: DriftState, columns: Mapping[str, ColumnDrift], share: float) -> str:
    by_state = {state: [column for column in columns.values() if column.verdict is state] for state in ORDER}
    parts = [f"{len(found)} {state.value}" for state, found in by_state.items() if found]
    worst = max(by_state[DriftState.DRIFT] or by_state[DriftState.WARN], key=lambda column: column.effect, default=None)
    tail = f"; worst {worst.name}: {worst.message}" if worst is not None else ""
    broken = by_state[DriftState.ERROR] or by_state[DriftState.SCHEMA_CHANGE]
    if verdict in (DriftState.ERROR, DriftState.SCHEMA_CHANGE) and broken:
        tail = f"; {broken[0].name}: {broken[0].message}{tail}"
    return f"{len(columns)} columns: {', '.join(parts) or 'none'} ({share:.0%} of the weight drifted){tail}"
