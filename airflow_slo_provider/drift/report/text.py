"""A drift report as text for a terminal."""

from __future__ import annotations

from airflow_slo_provider.drift.verdict.results import ColumnDrift, DriftReport

_HEAD = ("COLUMN", "VERDICT", "PSI", "D", "NULLS", "WHY")


def table(report: DriftReport) -> str:
    """Write a report as a table, worst first, and the dataset's verdict below it."""
    rows = [_HEAD, *(_row(column) for column in report.ranked())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows
    ]
    sizes = (
        f"reference {report.reference} ({report.reference_rows:,} rows), current {report.current} ({report.current_rows:,} rows)"
    )
    return "\n".join([*lines, "", f"{report.verdict.value}: {report.message}", sizes])


def _row(column: ColumnDrift) -> tuple[str, ...]:
    psi = "-" if column.psi is None else f"{column.psi.value:.4f}"
    ks = "-" if column.ks is None else f"{column.ks.lower:.4f}" + ("" if column.ks.exact else f"..{column.ks.upper:.4f}")
    nulls = "-" if column.nulls is None else f"{column.nulls.reference:.1%} > {column.nulls.current:.1%}"
    why = column.message + (f" [{column.hints[0]}]" if column.hints else "")
    name = "".join(sign if sign.isprintable() else "?" for sign in column.name)
    return (name, column.verdict.value, psi, ks, nulls, "".join(sign if sign.isprintable() else "?" for sign in why))
