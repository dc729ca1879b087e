"""Reports and decisions as plain text, for task logs and terminals."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from fractions import Fraction

from airflow_slo_provider.core.exact_numbers import percent
from airflow_slo_provider.slo.budget.reports import Decision, Outcome, SLOReport
from airflow_slo_provider.slo.budget.status import current_rate

#: The lines around a decision in a log, so that programs can cut it out.
BEGIN = "---- error budgets ----"
END = "---- end of error budgets ----"
_HEAD = ("SLO", "objective", "SLI", "budget left", "time left", "burn rate", "exhausted in", "status")


def table(reports: Sequence[SLOReport]) -> str:
    """Write reports as a table: SLO, objective, SLI, budget left (share and time), burn rate, time to exhaustion, status.

    Where one of them has had no event for an hour or longer, a column says for how long, at least.
    """
    head: tuple[str, ...] = _HEAD
    rows = [_row(report) for report in reports]
    if any(report.silence is not None for report in reports):
        head = (*head[:-1], "no event for", head[-1])
        silences = ["-" if report.silence is None else length(report.silence) for report in reports]
        rows = [(*row[:-1], silence, row[-1]) for row, silence in zip(rows, silences, strict=True)]
    return columns(head, rows, left=(0, len(head) - 1))


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int]) -> str:
    """Write rows under a head, in columns as wide as what they hold.

    :param left: the columns that hold text; the others hold numbers and stand at the right
    """
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(_line(row, widths, left) for row in (head, rule, *rows))


def decision_text(decision: Decision) -> str:
    """Write a decision: the table, the outcome, and why."""
    lines = [BEGIN, table(decision.reports), "", f"decision: {decision.outcome} ({_effect(decision)})"]
    lines += [f"  - {reason}" for reason in decision.reasons]
    return "\n".join([*lines, END])


def _effect(decision: Decision) -> str:
    if decision.outcome is Outcome.UNKNOWN and decision.action.blocks:
        return f"blocks as {decision.action} does"
    return f"action: {decision.action}"


def _row(report: SLOReport) -> tuple[str, ...]:
    budget, rate = report.budget, current_rate(report)
    return (
        report.title,
        f"{_exact_percent(report.objective.target)} / {report.slo.window.duration}",
        percent(budget.sli, digits=4, padded=True) if budget else "-",
        percent(budget.remaining, padded=True) if budget else "-",
        length(budget.remaining_time) if budget else "-",
        f"{float(rate.value):.2f}" if rate and rate.value is not None else "-",
        _exhaustion(report),
        report.status.value,
    )


def _exhaustion(report: SLOReport) -> str:
    if report.budget is None:
        return "-"
    if report.budget.remaining <= 0:
        return "spent"
    return "never" if report.time_to_exhaustion is None else length(report.time_to_exhaustion)


def length(time: timedelta) -> str:
    """Write a length of time with its two largest units: ``3d 4h``, ``43m 12s``; negative ones with a minus."""
    seconds = int(abs(time).total_seconds())
    parts = []
    for name, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{name}")
    return ("-" if time < timedelta(0) else "") + (" ".join(parts[:2]) or "0s")


def _exact_percent(share: Fraction) -> str:
    return f"{float(share * 100):.10g} %"


def _line(row: Sequence[str], widths: Sequence[int], left: Collection[int]) -> str:
    cells = [
        cell.ljust(width) if n in left else cell.rjust(width) for n, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
