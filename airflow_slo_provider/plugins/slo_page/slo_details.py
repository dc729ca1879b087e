"""Data of the page of one SLO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_slo_provider.charts.markup import Html
from airflow_slo_provider.charts.time_series import Level, Line, Mark, chart, legend
from airflow_slo_provider.core.slo_key import SLOKey
from airflow_slo_provider.core.timestamps import slices
from airflow_slo_provider.documents.durations import format_seconds
from airflow_slo_provider.ledger.queries import checks as browse
from airflow_slo_provider.ledger.queries import slos as browse_slos
from airflow_slo_provider.ledger.queries.changes import CHANGES
from airflow_slo_provider.plugins.slo_page import safe_evidence as evidence
from airflow_slo_provider.plugins.slo_page.details import LAST_CHECKS, POINTS, allowed, tone
from airflow_slo_provider.plugins.slo_page.objectives import Objective, aged, window_length
from airflow_slo_provider.slo.budget.error_budgets import burn_rate_rules

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import Scope


@dataclass(frozen=True)
class Event:
    """An event on the chart of an SLO: a deployment, an incident or a freeze, with its number and the budget spent after it."""

    number: int
    row: Recorded
    what: str
    spent: float | None = None


@dataclass(frozen=True)
class SLOView:
    """Data of the page of one SLO."""

    objective: Objective
    now: datetime
    start: datetime
    history: Sequence[Recorded]
    last: Sequence[Recorded]
    events: Sequence[Event]
    budget_chart: Html
    rates_chart: Html
    rates_legend: Html
    rules: Sequence[tuple[str, str, str, float]]
    document: Mapping[str, str]
    query: str

    @property
    def points(self) -> list[tuple[datetime, float | None, float | None, str]]:
        """Return the points of the charts: timestamp, remaining budget, SLI, status."""
        return [
            (
                row.result.checked_at,
                evidence.number(row.result.evidence, "remaining"),
                row.result.value,
                evidence.text(row.result.evidence, "status") or row.result.verdict.value,
            )
            for row in self.history
        ]


class SeveralServices(LookupError):
    """A name is used by SLOs of several services, and the service is not given.

    :param name: the name
    :param slos: the newest check of each SLO with that name
    """

    def __init__(self, name: str, slos: Sequence[Recorded]) -> None:
        self.slos = slos
        services = ", ".join(repr(SLOKey.of(row.result).service) for row in slos)
        super().__init__(f"SLOs of several services have the name {name!r}; name the service too, one of: {services}")


def slo_view(
    ledger: Ledger, scope: Scope, name: str, service: str | None = None, *, now: datetime | None = None
) -> SLOView | None:
    """Read all data of one SLO; None if there is nothing that the user may see.

    :param ledger: the ledger
    :param scope: the DAGs that the user may see
    :param name: name of the SLO
    :param service: its service, empty for an SLO without one; None if the name is unique
    :param now: the current time (aware)
    :raises SeveralServices: if the service is None and the name is not unique
    """
    now = now or datetime.now(UTC)
    found = {SLOKey.of(row.result): row for row in allowed(browse_slos.newest(ledger, name=name, dags=scope.limit), scope)}
    if service is None and len(found) > 1:
        raise SeveralServices(name, list(found.values()))
    slo = next(iter(found), None) if service is None else SLOKey(service, name)
    if slo not in found:
        return None
    newest, known = found[slo], None
    recent = browse.recent(ledger, ["slo"], name=name, service=slo.service, dags=scope.limit, limit=LAST_CHECKS)
    last = allowed(recent, scope) or [newest]
    if newest.result.value is None:
        known = next(iter(allowed(browse_slos.newest_with_value(ledger, [slo], dags=scope.limit), scope)), None)
    objective = aged(Objective(newest, known=known, now=now))
    # If the history has ended, the chart ends with it and is not empty.
    end = now if now - newest.result.checked_at < objective.length else newest.result.checked_at
    start = end - objective.length
    rows = allowed(browse_slos.history(ledger, slo, slices(start, end, POINTS), dags=scope.limit), scope)
    events = _events(ledger, scope, name, start, rows)
    rules = _rules(objective)
    rates = _rates(rows)
    marks = [Mark(event.row.result.checked_at, event.number, tone(event.row.result.verdict.value)) for event in events]
    budget = Line("budget left", [(row.result.checked_at, evidence.number(row.result.evidence, "remaining")) for row in rows])
    title = f"Error budget left of {name} over {objective.window or '30d'}"
    return SLOView(
        objective=objective,
        now=now,
        start=start,
        history=rows,
        last=last,
        events=events,
        budget_chart=chart(
            title,
            [budget],
            start=start,
            end=end,
            unit="percent",
            levels=[Level("spent", 0.0)],
            marks=marks,
            edges=[0.0, 1.0],
        ),
        rates_chart=chart(
            f"Burn rates of {name}",
            rates,
            start=start,
            end=end,
            levels=[
                Level(f"{severity}: {long} above {factor:g}", factor, "bad" if severity == "page" else "warn")
                for severity, _, long, factor in rules
            ],
            edges=[0.0],
        ),
        rates_legend=legend(rates),
        rules=rules,
        document=_document(objective),
        query=evidence.text(objective.row.result.evidence, "query"),
    )


def _rates(rows: Sequence[Recorded]) -> list[Line]:
    """Return a line for each window with a measured burn rate, shortest first, at most six."""
    windows = dict.fromkeys(window for row in rows for window, _ in Objective(row).burn_rates)
    ordered = sorted(windows, key=window_length)
    return [
        Line(
            window,
            [
                (row.result.checked_at, evidence.number(evidence.mapping(row.result.evidence, "burn_rates"), window))
                for row in rows
            ],
        )
        for window in ordered[-6:]
    ]


def _rules(objective: Objective) -> list[tuple[str, str, str, float]]:
    """Return the default alert rules of the SLO's window: severity, short and long window, factor."""
    try:
        rules = burn_rate_rules(objective.length, target=objective.target)
    except (ValueError, ArithmeticError):  # e.g. a window that is not a whole number of seconds, or an objective of 1
        return []
    return [
        (
            rule.severity,
            format_seconds(int(rule.short.total_seconds())),
            format_seconds(int(rule.long.total_seconds())),
            round(float(rule.factor), 3),
        )
        for rule in rules
    ]


def _document(objective: Objective) -> dict[str, str]:
    """Return the details of the evaluated objective."""
    source = objective.row.result.evidence
    words = {
        key.replace("_", " "): evidence.text(source, key)
        for key in ("service", "tier", "window", "method", "missing_slices", "coverage")
    }
    state = evidence.mapping(source, "policy_state")
    words |= {"outcome": evidence.text(source, "outcome"), "policy asks for": evidence.text(source, "action")}
    words["rules that hold"] = ", ".join(str(rule) for rule in evidence.sequence(state, "holding"))
    error = evidence.mapping(source, "error")
    words |= {"not answered because": evidence.text(error, "reason"), "asked": evidence.text(error, "asked")}
    words["blocked since"] = evidence.text(state, "blocked_since")
    return {name: value for name, value in words.items() if value}


def _events(ledger: Ledger, scope: Scope, name: str, start: datetime, history: Sequence[Recorded]) -> list[Event]:
    """Return deployments, incidents and the starts of freezes because of this SLO; oldest first, at most 60."""
    rows = browse.recent(ledger, [*CHANGES, "incident"], since=start, dags=scope.limit, limit=60)
    found = [(row, row.result.kind) for row in allowed(rows, scope)]
    frozen = False
    for row in history:
        now_frozen = evidence.text(row.result.evidence, "outcome") == "frozen"
        if now_frozen and not frozen:
            found.append((row, "freeze"))
        frozen = now_frozen
    found.sort(key=lambda item: item[0].result.checked_at)
    found = found[-60:]
    changes = [row.result.checked_at for row, what in found if what in CHANGES]
    events = []
    for number, (row, what) in enumerate(found, start=1):
        spent = None
        if what in CHANGES:
            after = next((at for at in changes if at > row.result.checked_at), None)
            spent = _spent(history, row.result.checked_at, after)
        events.append(Event(number, row, what, spent))
    return events


def _spent(history: Sequence[Recorded], start: datetime, end: datetime | None) -> float | None:
    """Return how much of the budget was spent between two timestamps."""
    left = [
        value
        for row in history
        if row.result.checked_at >= start and (end is None or row.result.checked_at < end)
        if (value := evidence.number(row.result.evidence, "remaining")) is not None
    ]
    return left[0] - left[-1] if len(left) > 1 else None
