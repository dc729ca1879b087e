"""The page of checks: ages, drift as a heat map, metrics of golden sets with their intervals, and every other kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from airflow_slo_provider.ledger import browse
from airflow_slo_provider.plugins.slo_page import charts, evidence
from airflow_slo_provider.plugins.slo_page.charts import Interval
from airflow_slo_provider.plugins.slo_page.details import CHANGES, tone

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import Scope

#: Kinds that have a page of their own.
ELSEWHERE = ("slo", "decision", "incident", *CHANGES)
_FIRST = ("freshness", "drift", "golden_set", "latency")
HEAT_DAYS = 14
_MOST_FEATURES = 60
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
    """Each drift check of the last days, feature by feature and day by day."""
    first = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=HEAT_DAYS - 1)
    days = [first + timedelta(days=number) for number in range(HEAT_DAYS)]
    found: dict[str, dict[str, dict[int, Cell]]] = {}
    for row in browse.recent(ledger, ["drift"], since=first, dags=scope.limit, limit=1000):
        if not scope.allows(row.key.dag_id):
            continue
        day = (row.result.checked_at - first) // timedelta(days=1)
        for feature, cell in _features(row):
            cells = found.setdefault(row.result.name, {}).setdefault(feature, {})
            if day not in cells or _WORST.get(cell.verdict, 0) > _WORST.get(cells[day].verdict, 0):
                cells[day] = cell
    maps = []
    for name, features in sorted(found.items()):
        order = sorted(
            features, key=lambda feature: (-max(_WORST.get(c.verdict, 0) for c in features[feature].values()), feature)
        )
        rows = [(feature, [features[feature].get(day, Cell()) for day in range(HEAT_DAYS)]) for feature in order[:_MOST_FEATURES]]
        maps.append(HeatMap(name, days, rows))
    return maps


def _features(row: Recorded) -> list[tuple[str, Cell]]:
    """The features of a drift check; the check itself where its evidence names none."""
    columns: Any = evidence.mapping(row.result.evidence, "columns", "features") or evidence.sequence(
        row.result.evidence, "columns", "features"
    )
    items = (
        columns.items()
        if isinstance(columns, Mapping)
        else [(evidence.text(one, "column", "name", "feature"), one) for one in columns]
    )
    found = [
        (
            str(name),
            Cell(
                evidence.text(one, "verdict") or row.result.verdict.value,
                evidence.number(one, "effect", "value", "psi", "ks", "statistic"),
            ),
        )
        for name, one in items
        if name and isinstance(one, Mapping)
    ]
    return found or [(row.result.name, Cell(row.result.verdict.value, row.result.value))]


def _metrics(ledger: Ledger, scope: Scope) -> list[MetricChart]:
    """Each metric of each golden set: its estimate and interval for each version, newest first."""
    found: dict[tuple[str, str], dict[str, tuple[float, float | None, float | None, str]]] = {}
    targets: dict[tuple[str, str], float | None] = {}
    for row in browse.recent(ledger, ["golden_set"], dags=scope.limit, limit=300):
        if not scope.allows(row.key.dag_id):
            continue
        version = row.result.model_version or row.result.checked_at.strftime("%Y-%m-%d %H:%M")
        for metric, value, low, high, verdict in _estimates(row):
            found.setdefault((row.result.name, metric), {}).setdefault(version, (value, low, high, verdict))
            targets.setdefault((row.result.name, metric), row.result.target if metric == _own_metric(row) else None)
    made = []
    for (name, metric), versions in sorted(found.items())[:40]:
        rows = [(version, *estimate) for version, estimate in list(versions.items())[:12]]
        chart = charts.intervals(
            f"{metric} of {name} over versions",
            [Interval(version, value, low, high, tone(verdict)) for version, value, low, high, verdict in rows],
            target=targets[name, metric],
        )
        made.append(MetricChart(name, metric, chart, rows))
    return made


def _own_metric(row: Recorded) -> str:
    return evidence.text(row.result.evidence, "metric") or "value"


def _estimates(row: Recorded) -> list[tuple[str, float, float | None, float | None, str]]:
    """What a golden-set check measured: its metrics where the evidence lists them, else its own value."""
    found = []
    for metric, one in evidence.mapping(row.result.evidence, "metrics", "estimates").items():
        value = (
            evidence.number(one, "value", "estimate") if isinstance(one, Mapping) else evidence.number({"value": one}, "value")
        )
        if value is not None:
            low, high = evidence.number(one, "low", "lower"), evidence.number(one, "high", "upper")
            found.append((str(metric), value, low, high, evidence.text(one, "verdict") or row.result.verdict.value))
    if not found and row.result.value is not None:
        source = row.result.evidence
        low, high = evidence.number(source, "low", "lower"), evidence.number(source, "high", "upper")
        found.append((_own_metric(row), row.result.value, low, high, row.result.verdict.value))
    return found
