"""Data of the page "Checks": freshness, drift heat maps, golden-set metrics with intervals, and all other kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_slo_provider.charts.intervals import Interval, intervals
from airflow_slo_provider.charts.markup import Html
from airflow_slo_provider.ledger.queries import checks as check_queries
from airflow_slo_provider.ledger.queries.changes import CHANGES
from airflow_slo_provider.plugins.slo_page import safe_evidence
from airflow_slo_provider.plugins.slo_page.details import mark_color
from airflow_slo_provider.plugins.slo_page.heat_maps import HeatMap, read_heat_maps

if TYPE_CHECKING:
    from airflow_slo_provider.ledger import Ledger, Recorded
    from airflow_slo_provider.plugins.slo_page.access import ReadableDags

#: Kinds of checks that have their own page.
KINDS_WITH_OWN_PAGE = ("slo", "decision", "incident", "incident_step", "incident_claim", "incident_watch", *CHANGES)
_FIRST = ("freshness", "drift", "golden_set", "latency")
_MOST_METRICS, _MOST_VERSIONS = 40, 12
_SEVERITY = {"unknown": 1, "pass": 0, "warn": 2, "fail": 3}


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


def read_checks(ledger: Ledger, readable: ReadableDags, *, now: datetime | None = None) -> ChecksView:
    """Read the newest of every check that has no page of its own.

    :param ledger: the ledger
    :param readable: the DAGs that the user may read
    :param now: the current time (aware)
    """
    now, dags = now or datetime.now(UTC), readable.query_filter
    kinds = [kind for kind in check_queries.all_kinds(ledger) if kind not in KINDS_WITH_OWN_PAGE]
    kinds.sort(key=lambda kind: (_FIRST.index(kind) if kind in _FIRST else len(_FIRST), kind))
    groups = []
    for kind in kinds:
        rows = readable.filter(check_queries.newest(ledger, kind, dags=dags, limit=1000))
        rows.sort(key=lambda row: (-_SEVERITY[row.result.verdict.value], row.result.name))
        if rows:
            groups.append((kind, rows))
    return ChecksView(
        now,
        groups,
        read_heat_maps(ledger, readable, now) if "drift" in kinds else [],
        _read_metrics(ledger, readable) if "golden_set" in kinds else [],
    )


def _read_metrics(ledger: Ledger, readable: ReadableDags) -> list[MetricChart]:
    """Return each metric of each golden set: its estimate and interval for each version, newest first."""
    rows = readable.filter(check_queries.recent(ledger, ["golden_set"], dags=readable.query_filter, limit=500))
    estimates: dict[tuple[str, str], dict[str, tuple[float, float | None, float | None, str]]] = {}
    # The threshold is in the check of the metric, ``name/metric``.
    targets: dict[str, float] = {}
    for row in rows:
        result = row.result
        if result.target is not None:
            targets.setdefault(result.name, result.target)
        version = result.model_version or f"{result.checked_at:%Y-%m-%d %H:%M}"
        for metric, estimate in safe_evidence.mapping(result.evidence, "metrics").items():
            value, low, high = (safe_evidence.number(estimate, key) for key in ("value", "low", "high"))
            if value is not None:
                verdict = safe_evidence.text(estimate, "verdict") or result.verdict.value
                estimates.setdefault((result.name, str(metric)), {}).setdefault(version, (value, low, high, verdict))
    charts = []
    for (name, metric), versions in sorted(estimates.items())[:_MOST_METRICS]:
        shown = [(version, *estimate) for version, estimate in list(versions.items())[:_MOST_VERSIONS]]
        target = targets.get(f"{name}/{metric}")
        chart = intervals(
            f"{metric} of {name} over versions",
            [Interval(version, value, low, high, mark_color(verdict)) for version, value, low, high, verdict in shown],
            marks={} if target is None else {target: "target"},
        )
        charts.append(MetricChart(name, metric, chart, shown))
    return charts
