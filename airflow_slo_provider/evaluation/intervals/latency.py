"""Estimate the predictor's latency quantiles, with intervals, and its throughput."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from airflow_slo_provider.evaluation.intervals.estimates import Estimate
from airflow_slo_provider.evaluation.metrics.metric_names import Metric

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.rows.predictions import Predictions

QUANTILES = {"latency_p50": 0.50, "latency_p95": 0.95, "latency_p99": 0.99}


def estimate_latency(metric: Metric, predictions: Predictions, confidence: float = 0.95) -> Estimate:
    """Estimate a latency quantile (seconds per request) or the throughput (rows per second).

    The interval of a quantile consists of two order statistics and holds for any distribution [Conover 1999, 3.2].
    """
    from scipy.special import bdtr

    undefined = Estimate(
        metric=metric.name, value=None, low=None, high=None, n=0, confidence=confidence, status="insufficient_data",
        reason="stored predictions have no measured time", higher_is_better=metric.higher_is_better,
    )  # fmt: skip
    estimate = replace(undefined, status="ok", reason="")
    if metric.base == "throughput" and predictions.seconds:
        n = len(predictions.ids)
        rate = n / predictions.seconds
        reason = "one measurement of the whole run: no interval"
        return replace(estimate, value=rate, low=rate, high=rate, n=n, method="exact", reason=reason)
    if metric.base == "throughput" or predictions.latencies is None or not len(predictions.latencies):
        return undefined
    share = QUANTILES[metric.base]
    ordered = np.sort(predictions.latencies)
    n = len(ordered)
    value = float(ordered[min(n - 1, int(np.ceil(share * n)) - 1)])
    tail = (1 - confidence) / 2
    below = bdtr(np.arange(n), n, share)  # probability that at most i requests lie below the quantile
    lower, upper = np.flatnonzero(below <= tail), np.flatnonzero(below >= 1 - tail)
    low = float(ordered[lower[-1]]) if len(lower) else float(ordered[0])
    if not len(upper):
        return replace(estimate, value=value, low=low, n=n, reason=f"{n} requests do not bound this quantile from above")
    return replace(estimate, value=value, low=low, high=float(ordered[upper[0]]), n=n, method="exact")
