"""Summarise the history of error budgets from recorded checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from airflow_slo_provider.core.exact_numbers import percent
from airflow_slo_provider.core.slo_key import SLOKey, display_names, group_text
from airflow_slo_provider.results import CheckResult


@dataclass(frozen=True)
class BudgetHistory:
    """Summary of one objective's recorded checks.

    :param service: service of the objective; empty if the checks name none
    :param name: the objective
    :param checks: number of recorded checks
    :param first: time of the first check
    :param last: time of the last check
    :param status: status of the last check
    :param remaining: remaining share of the budget at the last measured check; None if none was measured
    :param lowest: lowest remaining share; None if none was measured
    :param lowest_at: time of the lowest remaining share
    :param statuses: number of checks with each status
    :param freezes: number of times a check began to block deployments
    """

    service: str
    name: str
    checks: int
    first: datetime
    last: datetime
    status: str
    remaining: float | None
    lowest: float | None
    lowest_at: datetime | None
    statuses: Mapping[str, int]
    freezes: int


def summarise_history(checks: Sequence[CheckResult]) -> list[BudgetHistory]:
    """Summarise recorded checks of kind ``slo``.

    :param checks: the checks, in any order; other kinds are ignored
    :return: one history for each objective, sorted by name; service and name identify an objective
    """
    found: dict[SLOKey, list[CheckResult]] = {}
    for check in sorted(checks, key=lambda check: check.checked_at):
        if check.kind == "slo":
            found.setdefault(SLOKey.of(check), []).append(check)
    return [_history(slo, found[slo]) for slo in sorted(found, key=lambda slo: (slo.name, slo.service, slo.labels))]


def _history(slo: SLOKey, checks: Sequence[CheckResult]) -> BudgetHistory:
    measured = [(left, check.checked_at) for check in checks if (left := _number(check.evidence.get("remaining"))) is not None]
    lowest, lowest_at = min(measured, key=lambda pair: pair[0], default=(None, None))
    blocked = [check.evidence.get("outcome") == "frozen" for check in checks]
    return BudgetHistory(
        service=slo.service,
        name=f"{slo.name}{group_text(checks[-1].labels)}",
        checks=len(checks),
        first=checks[0].checked_at,
        last=checks[-1].checked_at,
        status=_status(checks[-1]),
        remaining=measured[-1][0] if measured else None,
        lowest=lowest,
        lowest_at=lowest_at,
        statuses=dict(Counter(map(_status, checks))),
        freezes=sum(now and not before for before, now in zip([False, *blocked], blocked, strict=False)),
    )


def _status(check: CheckResult) -> str:
    return str(check.evidence.get("status", check.verdict.value))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def format_history_table(histories: Sequence[BudgetHistory]) -> str:
    """Format histories as a Markdown table."""
    head = "| SLO | now | budget left | lowest | when | checks | not known | freezes |"
    rows = [head, "|---|---|---|---|---|---|---|---|"]
    names = display_names(SLOKey(slo.service, slo.name) for slo in histories)
    for slo in histories:
        unknown = sum(count for status, count in slo.statuses.items() if status in ("NO_DATA", "QUERY_ERROR", "unknown"))
        when = f"{slo.lowest_at:%Y-%m-%d %H:%M}" if slo.lowest_at else "-"
        name = names[SLOKey(slo.service, slo.name)]
        cells = (name, slo.status, _percent(slo.remaining), _percent(slo.lowest), when, slo.checks, unknown, slo.freezes)
        rows.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else percent(share, padded=True)
