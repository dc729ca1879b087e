"""Estimate metrics with confidence intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_slo_provider.evaluation.intervals.bootstrap import REPLICATES, bca, compute_acceleration, derive_seed
from airflow_slo_provider.evaluation.intervals.closed_form import (
    clopper_pearson,
    compute_placements,
    delong_variance,
    normal_quantile,
    wilson,
)
from airflow_slo_provider.evaluation.intervals.estimates import Estimate
from airflow_slo_provider.evaluation.intervals.resampling import (
    CustomMetric,
    Statistic,
    prepare_statistic,
    replicate,
    sort_by_score,
)  # fmt: skip
from airflow_slo_provider.evaluation.metrics.curves import Curve
from airflow_slo_provider.evaluation.metrics.metric_names import Metric, find_metrics
from airflow_slo_provider.evaluation.metrics.row_averages import RowAverages
from airflow_slo_provider.evaluation.rows.labels import binary_scores
from airflow_slo_provider.evaluation.rows.sample import EvaluationSample, UndefinedMetric, make_sample

METHODS = ("auto", "bootstrap", "exact")


def evaluate(
    y_true: Any,
    y_pred: Any,
    metrics: Any,
    groups: Any = None,
    *,
    y_score: Any = None,
    sample_weight: Any = None,
    labels: Any = None,
    pos_label: Any = None,
    decision_threshold: float = 0.5,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    method: str = "auto",
) -> dict[str, Estimate]:
    """Compute metrics of predictions, each with a confidence interval.

    A metric that has no value on these rows (one class, no rows, NaN among the predictions) has ``value`` None and a ``reason``;
    it is neither 0 nor an average over the remaining rows.

    :param y_true: labels, numbers, or relevances (ranking), one per row
    :param y_pred: predicted labels, probabilities of the positive class, numbers or scores, one per row, or class probabilities,
        shape (rows, classes)
    :param metrics: a name, several, or a mapping name -> function (y_true, y_pred) -> float
    :param groups: group (query) of each row: rows of a group are ranked together, and all intervals resample whole groups
    :param y_score: probabilities or scores, if ``y_pred`` holds labels
    :param sample_weight: weight of each row
    :param labels: the classes in the order of the columns of ``y_pred``
    :param pos_label: the positive class of two; by default the greater
    :param decision_threshold: probability from which a row counts as positive where labels are needed
    :param confidence: level of the two-sided intervals
    :param replicates: number of bootstrap replicates, where no closed form is used; their seed is derived from the data, so that
        the result is reproducible
    :param method: ``auto`` (Wilson for proportions, DeLong for ``roc_auc``, else bootstrap), ``bootstrap`` for everything, or
        ``exact`` (Clopper-Pearson in place of Wilson)
    :return: the estimates by name of the metric
    :raises ValueError: for an unknown metric or method, or a confidence outside (0, 1)
    :raises InvalidMeasurement: when columns differ in length or have the wrong shape, or a relevance is negative
    """
    check_options(confidence, replicates, method, decision_threshold)
    found = find_metrics(metrics)
    options = {"labels": labels, "positive": pos_label, "cut": decision_threshold}
    sample = sort_by_score(make_sample(y_true, y_pred, score=y_score, groups=groups, weight=sample_weight, **options))
    seed = derive_seed(sample.truth, sample.groups)
    return estimate_metrics(found, sample, confidence=confidence, replicates=replicates, seed=seed, method=method)


def check_options(confidence: float, replicates: int, method: str, decision_threshold: float) -> None:
    """Reject options that are out of range.

    :raises ValueError: with what to write instead
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; write a number between 0 and 1, e.g. 0.95")
    if replicates < 100:
        raise ValueError(f"replicates is {replicates}; an interval needs at least 100, better 1,000")
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; write one of {', '.join(METHODS)}")
    if not 0 <= decision_threshold <= 1:
        raise ValueError(f"decision_threshold is {decision_threshold}; it is a probability: write a number from 0 to 1")


def estimate_metrics(
    metrics: list[Metric], sample: EvaluationSample, *, confidence: float, replicates: int, seed: int, method: str
) -> dict[str, Estimate]:
    """Estimate metrics of a checked sample; see :func:`evaluate`."""
    estimates: dict[str, Estimate] = {}
    resampled: dict[tuple[bool, int], list[tuple[Metric, Statistic, float]]] = {}  # by the units that are drawn
    for metric in metrics:
        try:
            statistic = prepare_statistic(metric, sample)
            value = statistic.value()
            if not math.isfinite(value):
                raise UndefinedMetric(f"{metric.name} is {value}", "invalid")
        except UndefinedMetric as error:
            estimates[metric.name] = Estimate(
                metric=metric.name, value=None, low=None, high=None, n=sample.n, confidence=confidence, status=error.status,
                reason=error.reason, higher_is_better=metric.higher_is_better,
            )  # fmt: skip
            continue
        closed = None if method == "bootstrap" else closed_form_interval(statistic, sample, confidence, method)
        if closed:
            estimates[metric.name] = make_estimate(metric, statistic, value, closed[:2], confidence, closed[2])
        else:
            resampled.setdefault((metric.reads == "ranking", statistic.n), []).append((metric, statistic, value))
    for prepared in resampled.values():
        replicates_of_each = replicate([statistic for _, statistic, _ in prepared], replicates, seed)
        for (metric, statistic, value), draws in zip(prepared, replicates_of_each, strict=True):
            bounds = bootstrap_interval(metric, statistic, value, draws, confidence)
            estimates[metric.name] = make_estimate(metric, statistic, value, bounds, confidence, "bootstrap")
    return {metric.name: estimates[metric.name] for metric in metrics}


def make_estimate(
    metric: Metric, statistic: Statistic, value: float, bounds: tuple[float, float] | None, confidence: float, method: str
) -> Estimate:
    """Make an estimate from a value and its interval."""
    excluded, reason = (statistic.excluded, statistic.reason) if isinstance(statistic, RowAverages) else (0, "")
    if bounds is None:
        cause = "one unit has no spread" if statistic.n < 2 else "too many resamples have no value: too few rows of a kind"
        reason = "; ".join(filter(None, (reason, f"no interval: {cause}")))
    # Without bounds the interval is the metric's whole range, if it has one.
    low, high = bounds or ((0.0, 1.0) if metric.bounded else (None, None))
    return Estimate(
        metric=metric.name, value=value, low=low, high=high, n=statistic.n, confidence=confidence, reason=reason,
        method=method if bounds else "none", excluded=excluded, higher_is_better=metric.higher_is_better,
        rarer=statistic.rarer if isinstance(statistic, Curve) else None,
    )  # fmt: skip


def closed_form_interval(
    statistic: Statistic, sample: EvaluationSample, confidence: float, method: str
) -> tuple[float, float, str] | None:
    """Return low, high and method of an interval without resampling; None if there is no such interval."""
    if isinstance(statistic, RowAverages) and statistic.counts is not None:
        interval = clopper_pearson if method == "exact" else wilson
        return (*interval(*statistic.counts, confidence), "exact" if method == "exact" else "wilson")
    if isinstance(statistic, Curve) and statistic.base == "roc_auc" and sample.weight is None and sample.groups is None:
        positive, scores = binary_scores(sample, probabilities=False)
        placed = compute_placements(positive, scores)
        variance = delong_variance(placed)
        if math.isnan(variance):
            return None
        if variance:
            return (*area_interval(placed.area, variance, confidence), "delong")
        rarer = min(int(positive.sum()), int((~positive).sum()))
        return (*exceptionless_interval(placed.area, rarer, confidence), "delong")
    return None


def area_interval(area: float, variance: float, confidence: float) -> tuple[float, float]:
    """Return the interval of an area from DeLong's variance.

    The usual interval is symmetric [DeLong, DeLong and Clarke-Pearson 1988]. Near 1 it is too narrow: of 1,000 simulated sets of
    200 rows with an area of 0.97 its lower end was above the true value in 86, where 25 are expected. Beyond 0.9, and below 0.1,
    the interval is computed on the logit scale [Pepe 2003, ch. 5].
    """
    reach = normal_quantile(confidence) * math.sqrt(variance)
    if 0.1 <= area <= 0.9:
        return max(area - reach, 0.0), min(area + reach, 1.0)
    odds, reach = math.log(area / (1 - area)), reach / (area * (1 - area))
    return 1 / (1 + math.exp(-odds + reach)), 1 / (1 + math.exp(-odds - reach))


def exceptionless_interval(value: float, n: int, confidence: float) -> tuple[float, float]:
    """Return the interval of a share without exceptions in ``n`` units, which do not prove that exceptions never occur."""
    return wilson(value * n, n, confidence) if value in (0.0, 1.0) else (value, value)


def bootstrap_interval(
    metric: Metric, statistic: Statistic, value: float, draws: NDArray[np.float64], confidence: float
) -> tuple[float, float] | None:
    """Return the bootstrap interval of a metric; None if there is none."""
    if statistic.n < 2:
        return None
    if metric.bounded and value in (0.0, 1.0) and draws.min() == draws.max() == value:
        return exceptionless_interval(value, statistic.n, confidence)
    acceleration = 0.0 if isinstance(statistic, CustomMetric) else compute_acceleration(statistic.influence())
    return bca(value, draws, acceleration, confidence)
