"""Format a drift report as text for a terminal."""

from __future__ import annotations

from airflow_slo_provider.core.text_columns import columns, replace_unprintable
from airflow_slo_provider.drift.verdict.results import ColumnDrift, DriftReport

_HEAD = ("COLUMN", "VERDICT", "PSI", "D", "NULLS", "WHY")


def table(report: DriftReport) -> str:
    """Return a report as a table, worst columns first, with the dataset's verdict below it."""
    rows = columns(_HEAD, [_row(column) for column in report.ranked()], left=(0, 1, 5))
    reference = f"reference {report.reference} ({report.reference_rows:,} rows)"
    current = f"current {report.current} ({report.current_rows:,} rows)"
    return "\n".join([rows, "", f"{report.verdict.value}: {report.message}", f"{reference}, {current}"])


def _row(column: ColumnDrift) -> tuple[str, ...]:
    psi = "-" if column.psi is None else f"{column.psi.value:.4f}"
    ks = "-" if column.ks is None else f"{column.ks.lower:.4f}" + ("" if column.ks.exact else f"..{column.ks.upper:.4f}")
    nulls = "-" if column.nulls is None else f"{column.nulls.reference:.1%} > {column.nulls.current:.1%}"
    why = column.message + (f" [{column.hints[0]}]" if column.hints else "")
    return (replace_unprintable(column.name), column.verdict.value, psi, ks, nulls, replace_unprintable(why))
