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
from airflow_slo_provider.documents.durations import format_seconds, parse_duration
from airflow_slo_provider.ledger.queries import checks as check_queries
from airflow_slo_provider.ledger.queries import slos as slo_queries
from airflow_slo_provider.ledger.queries.changes import CHANGES
from airflow_slo_provider.plugins.slo_page import safe_evidence
from airflow_slo_provider.plugins.slo_page.details import LAST_CHECKS, POINTS, mark_color
from airflow_slo_provider.plugins.slo_page.formatting import check_status
from airflow_slo_provider.plugins.slo_page.slo_summaries import SLOSummary, by_slo, summarize, window_length
from airflow_slo_provider.slo.budget.error_budgets import BurnRatePlan, BurnRateRule, plan_burn_rates
from airflow_slo_provider.slo.budget.windows import nominal_length

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import ReadableDags

_MOST_EVENTS = 60


@dataclass(frozen=True)
class Event:
    """An event on the chart of an SLO: a deployment, an incident or a freeze, with its number and the budget spent after it."""

    number: int
    row: Recorded
    what: str
    spent: float | None = None


@dataclass(frozen=True)
class SLODetails:
    """Data of the page of one SLO."""

    slo: SLOSummary
    now: datetime
    history: Sequence[Recorded]
    last: Sequence[Recorded]
    events: Sequence[Event]
    budget_chart: Html
    rates_chart: Html
    rates_legend: Html
    rules: Sequence[tuple[str, str, str, float]]
    dropped_rules: Sequence[str]
    document: Mapping[str, str]
    query: str

    @property
    def points(self) -> list[tuple[datetime, float | None, float | None, str]]:
        """Return the points of the charts: timestamp, remaining budget, SLI, status."""
        return [(row.result.checked_at, _remaining(row), row.result.value, check_status(row)) for row in self.history]


class AmbiguousSLOName(LookupError):
    """A name is used by SLOs of several services, or by several groups of one, and the service or group is not set.

    :param name: the name
    :param slos: the newest check of each SLO with that name
    """

    def __init__(self, name: str, slos: Sequence[Recorded]) -> None:
        self.slos = slos
        keys = [SLOKey.of(row.result) for row in slos]
        services = dict.fromkeys(key.service for key in keys)
        if len(services) > 1:
            shown = ", ".join(map(repr, services))
            message = f"SLOs of several services have the name {name!r}; name the service too, one of: {shown}"
        else:
            shown = ", ".join(key.labels or "''" for key in keys)
            message = f"the SLO {name!r} is evaluated by labels; name the group too, one of: {shown}"
        super().__init__(message)


def read_slo(
    ledger: Ledger,
    readable: ReadableDags,
    name: str,
    service: str | None = None,
    group: str | None = None,
    *,
    now: datetime | None = None,
) -> SLODetails | None:
    """Read all data of one SLO; None if there is nothing that the user may see.

    :param ledger: the ledger
    :param readable: the DAGs that the user may read
    :param name: name of the SLO, or ``service/name``
    :param service: its service, empty for an SLO without one; None if the name is unique
    :param group: the group of labels, as :func:`.labels_text` writes it, empty for an SLO without groups; None if there is one
    :param now: the current time (aware)
    :raises AmbiguousSLOName: if the service or the group is None and several SLOs remain
    """
    now, dags = now or datetime.now(UTC), readable.query_filter
    found = by_slo(readable.filter(slo_queries.newest(ledger, name=name, dags=dags)))
    if not found and service is None and "/" in name:  # service/name, as in decisions and incidents
        service, _, name = name.rpartition("/")
        found = by_slo(readable.filter(slo_queries.newest(ledger, name=name, dags=dags)))
    candidates = {key: row for key, row in found.items() if service in (None, key.service) and group in (None, key.labels)}
    if not candidates:
        return None
    if len(candidates) > 1:
        raise AmbiguousSLOName(name, list(candidates.values()))
    key = next(iter(candidates))
    newest, last_known = candidates[key], None
    recent = check_queries.recent(
        ledger, ["slo"], name=name, service=key.service, labels=key.labels, dags=dags, limit=LAST_CHECKS
    )  # fmt: skip
    if newest.result.value is None:
        last_known = next(iter(readable.filter(slo_queries.newest_with_value(ledger, [key], dags=dags))), None)
    slo = summarize(newest, now, last_known=last_known)
    # If the history has ended, the chart ends with it and is not empty.
    end = now if now - newest.result.checked_at < slo.window_length else newest.result.checked_at
    start = end - slo.window_length
    rows = readable.filter(slo_queries.history(ledger, key, slices(start, end, POINTS), dags=dags))
    events = _read_events(ledger, readable, start, rows)
    plan = _alert_rules(slo)
    rules = [_shown_rule(rule) for rule in plan.rules]
    rates = _burn_rate_lines(rows)
    return SLODetails(
        slo=slo,
        now=now,
        history=rows,
        last=readable.filter(recent) or [newest],
        events=events,
        budget_chart=chart(
            f"Error budget left of {slo.name} over {slo.window or '30d'}",
            [Line("budget left", [(row.result.checked_at, _remaining(row)) for row in rows])],
            start=start,
            end=end,
            unit="percent",
            levels=[Level("spent", 0.0)],
            marks=[
                Mark(event.row.result.checked_at, event.number, mark_color(event.row.result.verdict.value)) for event in events
            ],
            edges=[0.0, 1.0],
        ),
        rates_chart=chart(
            f"Burn rates of {slo.name}",
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
        dropped_rules=plan.dropped,
        document=_evaluated_objective(slo),
        query=safe_evidence.text(slo.evidence, "query"),
    )


def _remaining(row: Recorded) -> float | None:
    return safe_evidence.number(row.result.evidence, "remaining")


def _burn_rate_lines(rows: Sequence[Recorded]) -> list[Line]:
    """Return a line for each window with a measured burn rate, shortest first, at most six."""
    rates = [(row.result.checked_at, safe_evidence.mapping(row.result.evidence, "burn_rates")) for row in rows]
    windows = sorted(dict.fromkeys(str(window) for _, by_window in rates for window in by_window), key=window_length)
    return [Line(window, [(at, safe_evidence.number(by_window, window)) for at, by_window in rates]) for window in windows[-6:]]


def _alert_rules(slo: SLOSummary) -> BurnRatePlan:
    """Return the alert rules of the objective as it was evaluated."""
    try:
        width = safe_evidence.text(slo.evidence, "time_slice")
        return plan_burn_rates(
            nominal_length(parse_duration(slo.window or "30d")),
            target=slo.target,
            width=parse_duration(width).timedelta if width else None,
        )
    except (ValueError, ArithmeticError):  # a recorded window or objective that is not valid
        return BurnRatePlan((), ())


def _shown_rule(rule: BurnRateRule) -> tuple[str, str, str, float]:
    """Return severity, short and long window and factor of a rule."""
    short, long = (format_seconds(int(window.total_seconds())) for window in (rule.short, rule.long))
    return rule.severity, short, long, round(float(rule.factor), 3)


def _evaluated_objective(slo: SLOSummary) -> dict[str, str]:
    """Return the details of the evaluated objective."""
    policy, error = safe_evidence.mapping(slo.evidence, "policy_state"), safe_evidence.mapping(slo.evidence, "error")
    keys = ("service", "tier", "window", "method", "time_slice", "missing_slices", "coverage")
    values = {key.replace("_", " "): safe_evidence.text(slo.evidence, key) for key in keys} | {
        "outcome": safe_evidence.text(slo.evidence, "outcome"),
        "policy action": safe_evidence.text(slo.evidence, "action"),
        "rules that apply": ", ".join(str(rule) for rule in safe_evidence.sequence(policy, "holding")),
        "reason of the error": safe_evidence.text(error, "reason"),
        "query": safe_evidence.text(error, "asked"),
        "blocked since": safe_evidence.text(policy, "blocked_since"),
    }
    return {name: value for name, value in values.items() if value}


def _read_events(ledger: Ledger, readable: ReadableDags, start: datetime, history: Sequence[Recorded]) -> list[Event]:
    """Return deployments, incidents and the starts of freezes because of this SLO; oldest first."""
    rows = check_queries.recent(ledger, [*CHANGES, "incident"], since=start, dags=readable.query_filter, limit=_MOST_EVENTS)
    events = [(row, row.result.kind) for row in readable.filter(rows)]
    was_frozen = False
    for row in history:
        is_frozen = safe_evidence.text(row.result.evidence, "outcome") == "frozen"
        if is_frozen and not was_frozen:
            events.append((row, "freeze"))
        was_frozen = is_frozen
    events = sorted(events, key=lambda event: event[0].result.checked_at)[-_MOST_EVENTS:]
    changes = [row.result.checked_at for row, what in events if what in CHANGES]
    return [
        Event(number, row, what, _spent(history, row.result.checked_at, changes) if what in CHANGES else None)
        for number, (row, what) in enumerate(events, start=1)
    ]


def _spent(history: Sequence[Recorded], start: datetime, changes: Sequence[datetime]) -> float | None:
    """Return how much of the budget was spent between a change and the next one."""
    end = next((at for at in changes if at > start), None)
    rows = [row for row in history if row.result.checked_at >= start and (end is None or row.result.checked_at < end)]
    left = [remaining for row in rows if (remaining := _remaining(row)) is not None]
    return left[0] - left[-1] if len(left) > 1 else None
