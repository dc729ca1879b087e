"""What was recorded, also as gauges of Airflow's own metrics: StatsD or OpenTelemetry, as ``[metrics]`` configures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from airflow_slo_provider.core.slo_key import SLOKey, labels_text

if TYPE_CHECKING:
    from airflow_slo_provider.results import CheckResult

log = logging.getLogger(__name__)
_VERDICTS = {"pass": 0, "warn": 1, "fail": 2, "unknown": 3}


def emit(results: Iterable[CheckResult]) -> None:
    """Send a gauge for each check: ``slo.check.verdict`` (0 pass, 1 warn, 2 fail, 3 unknown), ``slo.check.value`` where there is
    one, and for an SLO ``slo.budget.remaining``. Metrics never fail a task: what goes wrong is logged.
    """
    try:
        gauge = _gauge()
        for result in results:
            tags = {"kind": result.kind, "name": result.name}
            if result.kind == "slo" and (service := SLOKey.of(result).service):
                tags["service"] = service
            if result.labels:
                tags["labels"] = labels_text(result.labels)
            gauge("slo.check.verdict", _VERDICTS[result.verdict.value], tags=tags)
            if result.value is not None:
                gauge("slo.check.value", result.value, tags=tags)
            remaining = result.evidence.get("remaining")
            if result.kind == "slo" and isinstance(remaining, (int, float)):
                gauge("slo.budget.remaining", float(remaining), tags=tags)
    except Exception:
        log.warning("the checks are recorded, their metrics could not be sent", exc_info=True)


def _gauge() -> Callable[..., None]:
    """Airflow's function for gauges: of the module since 3.3, of its ``Stats`` before."""
    from airflow.sdk.observability import stats

    return getattr(stats, "gauge", None) or stats.Stats.gauge
