"""The page of checks: ages, drift as a heat map, metrics of golden sets with their intervals, and every other kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from airflow_slo_provider.ledger import browse
from airflow_slo_provider.ledger.changes import CHANGES
from airflow_slo_provider.plugins.slo_page import charts, evidence
from airflow_slo_provider.plugins.slo_page.charts import Interval
from airflow_slo_provider.plugins.slo_page.details import tone

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import Scope

#: Kinds that have a page of their own.
ELSEWHERE = ("slo", "decision", "incident", "incident_step", "incident_claim", "incident_watch", *CHANGES)
_FIRST = ("freshness", "drift", "golden_set", "latency")
HEAT_DAYS = 14
_MOST_FEATURES, _MOST_METRICS, _MOST_VERSIONS = 60, 40, 12
_WORST = {"unknown": 1, "pass": 0, "warn": 2, "fail": 3}


@dataclass(frozen=True)
class Cell:
    """One day of one feature: the worst that was found."""

    verdict: str = ""
    value: float | None = None


@dataclass(frozen=True)
class HeatMap:
    """Features over days.

    :param rows: the feature, and a cell for each day
    """

    name: str
    days: Sequence[datetime]
    rows: Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True)
class MetricChart:
    """One metric of one golden set over the versions of a model."""

    name: str
    metric: str
    chart: Markup
    rows: Sequence[tuple[str, float, float | None, float | None, str]]


@dataclass(frozen=True)
class ChecksView:
    """The page of checks."""

    now: datetime
    groups: Sequence[tuple[str, Sequence[Recorded]]]
    heat_maps: Sequence[HeatMap]
    metrics: Sequence[MetricChart]


def checks_view(ledger: Ledger, scope: Scope, *, now: datetime | None = None) -> ChecksView:
    """Read the newest of every check that has no page of its own."""
    now = now or datetime.now(UTC)
    kinds = [kind for kind in browse.all_kinds(ledger) if kind not in ELSEWHERE]
    kinds.sort(key=lambda kind: (_FIRST.index(kind) if kind in _FIRST else len(_FIRST), kind))
    groups = []
    for kind in kinds:
        rows = [row for row in browse.newest(ledger, kind, dags=scope.limit, limit=1000) if scope.allows(row.key.dag_id)]
        rows.sort(key=lambda row: (-_WORST[row.result.verdict.value], row.result.name))
        if rows:
            groups.append((kind, rows))
    return ChecksView(
        now,
        groups,
        _heat_maps(ledger, scope, now) if "drift" in kinds else [],
        _metrics(ledger, scope) if "golden_set" in kinds else [],
    )


def _heat_maps(ledger: Ledger, scope: Scope, now: datetime) -> list[HeatMap]:
    """Each drift check of the last days, feature by feature and day by day.

    A check of a dataset lists the features that stand out; one that it does not list was judged and did not.
    """
    first = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=HEAT_DAYS - 1)
    days = [first + timedelta(days=number) for number in range(HEAT_DAYS)]
    rows = browse.recent(ledger, ["drift"], since=first, dags=scope.limit, limit=1000)
    rows = [row for row in rows if scope.allows(row.key.dag_id) and row.result.checked_at < first + timedelta(days=HEAT_DAYS)]
    found: dict[str, dict[str, dict[int, Cell]]] = {}
    checked: dict[str, set[int]] = {}
    for row in rows:
        features = _features(row)
        if features is None:
            continue
        day = (row.result.checked_at - first) // timedelta(days=1)
        checked.setdefault(row.result.name, set()).add(day)
        for feature, cell in features:
            cells = found.setdefault(row.result.name, {}).setdefault(feature, {})
            if day not in cells or _WORST.get(cell.verdict, 0) > _WORST.get(cells[day].verdict, 0):
                cells[day] = cell
    maps = []
    for name, features_of in sorted(found.items()):
        worst = {feature: max(_WORST.get(cell.verdict, 0) for cell in cells.values()) for feature, cells in features_of.items()}
        made = []
        for feature in sorted(worst, key=lambda one: (-worst[one], one))[:_MOST_FEATURES]:
            cells = features_of[feature]
            made.append((feature, [cells.get(day, Cell("pass") if day in checked[name] else Cell()) for day in range(HEAT_DAYS)]))
        maps.append(HeatMap(name, days, made))
    return maps


#: States of the drift of one feature, as verdicts.
_STATES = {"ok": "pass", "drift": "fail"}


def _features(row: Recorded) -> list[tuple[str, Cell]] | None:
    """The features that a check of a dataset lists; None for the check of a single one."""
    source = row.result.evidence
    listed: Any = evidence.mapping(source, "features") or evidence.sequence(source, "worst", "features")
    if not listed and "worst" not in source:
        return None
    pairs = listed.items() if isinstance(listed, Mapping) else [(evidence.text(one, "column", "feature"), one) for one in listed]
    found = []
    for name, one in pairs:
        if name and isinstance(one, Mapping):
            state = evidence.text(one, "verdict", "state")
            size = evidence.number(one, "effect", "ks", "psi", "value")
            found.append((str(name), Cell(_STATES.get(state, state) or "unknown", size)))
    return found


def _metrics(ledger: Ledger, scope: Scope) -> list[MetricChart]:
    """Each metric of each golden set: its estimate and interval for each version, newest first."""
    rows = [row for row in browse.recent(ledger, ["golden_set"], dags=scope.limit, limit=500) if scope.allows(row.key.dag_id)]
    found: dict[tuple[str, str], dict[str, tuple[float, float | None, float | None, str]]] = {}
    for row in rows:
        version = row.result.model_version or f"{row.result.checked_at:%Y-%m-%d %H:%M}"
        for metric, one in evidence.mapping(row.result.evidence, "metrics").items():
            value = evidence.number(one, "value")
            if value is not None:
                verdict = evidence.text(one, "verdict") or row.result.verdict.value
                estimate = (value, evidence.number(one, "low"), evidence.number(one, "high"), verdict)
                found.setdefault((row.result.name, str(metric)), {}).setdefault(version, estimate)
    # The check of one metric, ``name/metric``, knows the limit.
    limits: dict[str, float] = {}
    for row in rows:
        if row.result.target is not None:
            limits.setdefault(row.result.name, row.result.target)
    made = []
    for (name, metric), versions in sorted(found.items())[:_MOST_METRICS]:
        shown = [(version, *estimate) for version, estimate in list(versions.items())[:_MOST_VERSIONS]]
        chart = charts.intervals(
            f"{metric} of {name} over versions",
            [Interval(version, value, low, high, tone(verdict)) for version, value, low, high, verdict in shown],
            target=limits.get(f"{name}/{metric}"),
        )
        made.append(MetricChart(name, metric, chart, shown))
    return made
