"""Data of the page "Checks": freshness, drift heat maps, golden-set metrics with intervals, and all other kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_slo_provider.charts.intervals import Interval, intervals
from airflow_slo_provider.charts.markup import Html
from airflow_slo_provider.ledger.queries import checks as browse
from airflow_slo_provider.ledger.queries.changes import CHANGES
from airflow_slo_provider.plugins.slo_page import safe_evidence as evidence
from airflow_slo_provider.plugins.slo_page.details import tone
from airflow_slo_provider.plugins.slo_page.heat_maps import HeatMap, heat_maps

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import Scope

#: Kinds of checks that have their own page.
ELSEWHERE = ("slo", "decision", "incident", "incident_step", "incident_claim", "incident_watch", *CHANGES)
_FIRST = ("freshness", "drift", "golden_set", "latency")
_MOST_METRICS, _MOST_VERSIONS = 40, 12
_WORST = {"unknown": 1, "pass": 0, "warn": 2, "fail": 3}


@dataclass(frozen=True)
class MetricChart:
    """One metric of a golden set over the versions of a model."""

    name: str
    metric: str
    chart: Html
    rows: Sequence[tuple[str, float, float | None, float | None, str]]


@dataclass(frozen=True)
class ChecksView:
    """Data of the page of checks."""

    now: datetime
    groups: Sequence[tuple[str, Sequence[Recorded]]]
    heat_maps: Sequence[HeatMap]
    metrics: Sequence[MetricChart]


def checks_view(ledger: Ledger, scope: Scope, *, now: datetime | None = None) -> ChecksView:
    """Read the newest of every check that has no page of its own.

    :param ledger: the ledger
    :param scope: the DAGs that the user may see
    :param now: the current time (aware)
    """
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
        heat_maps(ledger, scope, now) if "drift" in kinds else [],
        _metrics(ledger, scope) if "golden_set" in kinds else [],
    )


def _metrics(ledger: Ledger, scope: Scope) -> list[MetricChart]:
    """Return each metric of each golden set: its estimate and interval for each version, newest first."""
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
    # The threshold is in the check of the metric, ``name/metric``.
    limits: dict[str, float] = {}
    for row in rows:
        if row.result.target is not None:
            limits.setdefault(row.result.name, row.result.target)
    made = []
    for (name, metric), versions in sorted(found.items())[:_MOST_METRICS]:
        shown = [(version, *estimate) for version, estimate in list(versions.items())[:_MOST_VERSIONS]]
        target = limits.get(f"{name}/{metric}")
        chart = intervals(
            f"{metric} of {name} over versions",
            [Interval(version, value, low, high, tone(verdict)) for version, value, low, high, verdict in shown],
            marks={} if target is None else {target: "target"},
        )
        made.append(MetricChart(name, metric, chart, shown))
    return made
