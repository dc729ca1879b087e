"""Format reports and decisions as plain text, for task logs and terminals."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_slo_provider.core.duration_text import format_duration
from airflow_slo_provider.core.exact_numbers import percent
from airflow_slo_provider.core.text_columns import columns
from airflow_slo_provider.slo.budget.reports import Decision, GateOutcome, SLOReport, report_titles
from airflow_slo_provider.slo.budget.status import current_rate

#: Lines around a decision in a log, so that programs can extract it.
BEGIN = "---- error budgets ----"
END = "---- end of error budgets ----"
_HEAD: tuple[str, ...] = ("SLO", "objective", "SLI", "budget left", "time left", "burn rate", "exhausted in", "status")


def table(reports: Sequence[SLOReport]) -> str:
    """Format reports as a table: SLO, objective, SLI, budget left (share and time), burn rate, time to exhaustion, status.

    If one of them has had no event for an hour or longer, a column shows the minimum time without events. If burn rates are
    unknown, a column shows their windows.
    """
    rows = [_HEAD, *map(_row, reports, report_titles(reports))]
    if any(report.silence is not None for report in reports):
        silences = [format_duration(report.silence, compact=True) if report.silence is not None else "-" for report in reports]
        rows = [(*row[:-1], text, row[-1]) for row, text in zip(rows, ["no event for", *silences], strict=True)]
    if any(report.unknown_rates for report in reports):
        unknown = [", ".join(format_duration(rate.window, compact=True) for rate in report.unknown_rates) for report in reports]
        rows = [(*row[:-1], text or "-", row[-1]) for row, text in zip(rows, ["unknown over", *unknown], strict=True)]
    return columns(rows[0], rows[1:], left=(0, len(rows[0]) - 1))


def format_decision(decision: Decision) -> str:
    """Format a decision: the table, the outcome, and the reasons."""
    lines = [BEGIN, table(decision.reports), "", f"decision: {decision.outcome} ({_effect(decision)})"]
    lines += [f"  - {reason}" for reason in decision.reasons]
    return "\n".join([*lines, END])


def _effect(decision: Decision) -> str:
    if decision.outcome is GateOutcome.UNKNOWN and decision.action.blocks:
        return f"blocks as {decision.action} does"
    return f"action: {decision.action}"


def _row(report: SLOReport, title: str) -> tuple[str, ...]:
    budget, rate = report.budget, current_rate(report)
    return (
        title,
        f"{float(report.objective.target * 100):.10g} % / {report.slo.window.duration}",
        percent(budget.sli, digits=4, padded=True) if budget else "-",
        percent(budget.remaining, padded=True) if budget else "-",
        format_duration(budget.remaining_time, compact=True) if budget else "-",
        f"{float(rate.value):.2f}" if rate and rate.value is not None else "-",
        _exhaustion(report),
        report.status.value,
    )


def _exhaustion(report: SLOReport) -> str:
    if report.budget is None:
        return "-"
    if report.budget.remaining <= 0:
        return "spent"
    return "never" if report.time_to_exhaustion is None else format_duration(report.time_to_exhaustion, compact=True)
