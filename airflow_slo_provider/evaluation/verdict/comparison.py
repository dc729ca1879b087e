"""Compare a candidate model with the champion on the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_slo_provider.evaluation.intervals.bootstrap import (
    REPLICATES,
    bca,
    compute_acceleration,
    derive_seed,
    one_sided_pvalue,
)
from airflow_slo_provider.evaluation.intervals.closed_form import (
    compute_placements,
    delong_variance,
    mcnemar,
    normal_pvalue,
    normal_quantile,
    paired_difference,
)
from airflow_slo_provider.evaluation.intervals.estimates import MIN_ROWS, too_few
from airflow_slo_provider.evaluation.intervals.metric_estimates import check_options
from airflow_slo_provider.evaluation.intervals.resampling import prepare_statistic, replicate
from airflow_slo_provider.evaluation.metrics.curves import Curve
from airflow_slo_provider.evaluation.metrics.metric_names import Metric, check_comparison, find_metric
from airflow_slo_provider.evaluation.metrics.row_averages import RowAverages
from airflow_slo_provider.evaluation.rows.labels import binary_scores, encode_labels
from airflow_slo_provider.evaluation.rows.sample import EvaluationSample, UndefinedMetric, make_sample, same_predictions
from airflow_slo_provider.evaluation.verdict.outcomes import ModelVerdict

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Result of comparing a candidate with the champion on the same rows.

    :param metric: name of the metric
    :param champion: the champion's value
    :param candidate: the candidate's value
    :param delta: candidate - champion, in the metric's own unit: for an error metric a negative delta is better
    :param low: lower end of the interval of ``delta``
    :param high: upper end of the interval of ``delta``
    :param pvalue: without a margin, two-sided, for "there is no difference"; with a margin, one-sided, for "worse by the margin
        or more"
    :param verdict: ``pass`` if the whole interval is better than ``-margin``, ``fail`` if all of it is worse, else
        ``inconclusive``; ``unknown`` if a value is undefined
    :param margin: tolerated loss; 0 requires superiority
    :param n: number of rows, or of groups if there are groups
    :param confidence: level of the interval
    :param method: ``mcnemar``, ``delong`` or ``bootstrap``; ``none`` if a value is undefined
    :param higher_is_better: whether a greater value of the metric is better
    :param reason: why the verdict is not ``pass``, if known
    """

    metric: str
    champion: float | None = None
    candidate: float | None = None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    pvalue: float | None = None
    verdict: ModelVerdict = ModelVerdict.UNKNOWN
    margin: float = 0.0
    n: int = 0
    confidence: float = 0.95
    method: str = "none"
    higher_is_better: bool = True
    reason: str = ""


def compare(
    y_true: Any,
    champion: Any,
    candidate: Any,
    metric: str | Callable[[Any, Any], float] | Metric,
    margin: float = 0,
    *,
    groups: Any = None,
    sample_weight: Any = None,
    labels: Any = None,
    pos_label: Any = None,
    decision_threshold: float = 0.5,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    min_rows: int = MIN_ROWS,
) -> Comparison:
    """Compare two models on the same rows: McNemar for ``accuracy``, DeLong for ``roc_auc``, else the paired bootstrap.

    :param y_true: labels, numbers or relevances, one per row
    :param champion: the champion's predictions, as ``y_pred`` of :func:`evaluate`, in the form that the metric reads, e.g. scores
        for ``roc_auc``
    :param candidate: the candidate's predictions, in the same form
    :param metric: name of a metric, or a function (y_true, y_pred) -> float
    :param margin: tolerated loss in the metric's own unit: with 0 the candidate must be better (superiority), with more it must
        not be worse by that much (non-inferiority)
    :param groups: group (query) of each row; groups are resampled whole
    :param sample_weight: weight of each row
    :param labels: the classes in the order of the columns of two-dimensional predictions
    :param pos_label: the positive class of two; by default the greater
    :param decision_threshold: probability from which a row counts as positive where labels are needed
    :param confidence: level of the interval
    :param replicates: number of bootstrap replicates
    :param min_rows: with fewer rows (or groups) a bootstrap or DeLong interval is ``inconclusive``
    :return: the difference with its interval and verdict
    :raises ValueError: for a negative margin or one that no candidate could exceed, an unknown metric or option, and a function
        that does not define whether higher is better
    :raises InvalidMeasurement: when columns differ in length or have the wrong shape
    """
    check_options(confidence, replicates, "auto", decision_threshold)
    found = find_metric(metric)
    check_comparison(found, margin)
    options: dict[str, Any] = {
        "groups": groups, "weight": sample_weight, "labels": labels, "positive": pos_label, "cut": decision_threshold,
    }  # fmt: skip
    return compare_samples(
        make_sample(y_true, champion, **options), make_sample(y_true, candidate, **options), found,
        margin=float(margin), confidence=confidence, replicates=replicates, seed=None, min_rows=min_rows, method="auto",
    )  # fmt: skip


def compare_samples(
    champion: EvaluationSample,
    candidate: EvaluationSample,
    metric: Metric,
    *,
    margin: float,
    confidence: float,
    replicates: int,
    seed: int | None,
    min_rows: int,
    method: str,
) -> Comparison:
    """Compare two checked samples of the same rows; see :func:`compare`."""
    comparison = Comparison(
        metric=metric.name, margin=margin, n=candidate.n, confidence=confidence, higher_is_better=metric.higher_is_better
    )
    try:
        first, second = prepare_statistic(metric, champion), prepare_statistic(metric, candidate)
        before, after = first.value(), second.value()
        for model, value in (("the champion", before), ("the candidate", after)):
            if not math.isfinite(value):
                raise UndefinedMetric(f"{metric.name} of {model} is {value}", "invalid")
    except UndefinedMetric as error:
        return replace(comparison, reason=error.reason)
    sign = 1.0 if metric.higher_is_better else -1.0
    closed = method != "bootstrap" and candidate.weight is None and candidate.groups is None
    if closed and metric.base == "accuracy":
        (low, high, pvalue), method = _mcnemar(champion, candidate, margin, confidence), "mcnemar"
    elif closed and metric.base == "roc_auc":
        (low, high, pvalue), method = _delong(champion, candidate, margin, confidence), "delong"
    else:
        seed = derive_seed(candidate.truth, candidate.groups) if seed is None else seed
        draws = replicate([first, second], replicates, seed)
        gains = sign * (draws[1] - draws[0])
        acceleration = 0.0
        if isinstance(first, RowAverages) and isinstance(second, RowAverages):
            acceleration = compute_acceleration(sign * (second.influence() - first.influence()))
        low, high = bca(sign * (after - before), gains, acceleration, confidence) or (-math.inf, math.inf)
        worse = one_sided_pvalue(gains, -margin)
        pvalue = worse if margin else min(1.0, 2 * min(worse, one_sided_pvalue(-gains, 0.0)))
        method = "bootstrap"
    # `low` and `high` are bounds of the gain: positive is better, also for error metrics.
    verdict, reason = _judge(low, high, pvalue, margin, confidence)
    if verdict is ModelVerdict.INCONCLUSIVE and not margin and same_predictions(champion, candidate):
        reason = "both models predict the same on every row: more such rows cannot show a difference"
    few = too_few(second.n, second.rarer if isinstance(second, Curve) else None, min_rows)
    if few and method != "mcnemar":
        verdict, reason = ModelVerdict.INCONCLUSIVE, few
    ends = sorted((sign * low + 0.0, sign * high + 0.0))  # + 0.0 turns -0.0 into 0.0
    return replace(
        comparison, champion=before, candidate=after, delta=after - before, n=second.n,
        low=ends[0] if math.isfinite(ends[0]) else None, high=ends[1] if math.isfinite(ends[1]) else None,
        pvalue=pvalue, verdict=verdict, method=method, reason=reason,
    )  # fmt: skip


def _judge(low: float, high: float, pvalue: float, margin: float, confidence: float) -> tuple[ModelVerdict, str]:
    """Judge the interval of the gain. The comparisons are written so that NaN never passes."""
    if low > -margin and (margin > 0 or pvalue < 1 - confidence):
        return ModelVerdict.PASS, ""
    if high < -margin:
        return ModelVerdict.FAIL, "the whole interval is worse than the margin allows"
    return ModelVerdict.INCONCLUSIVE, "the interval holds acceptable and unacceptable differences: more rows are needed"


def _mcnemar(
    champion: EvaluationSample, candidate: EvaluationSample, margin: float, confidence: float
) -> tuple[float, float, float]:
    first, second = encode_labels(champion), encode_labels(candidate)
    was_right, is_right = first[0] == first[1], second[0] == second[1]
    lost, won = int((was_right & ~is_right).sum()), int((~was_right & is_right).sum())
    low, high = paired_difference(lost, won, candidate.n, confidence)
    if not margin:
        return low, high, mcnemar(lost, won)[1]
    half = (high - low) / 2
    z = ((low + high) / 2 + margin) / (half / normal_quantile(confidence)) if half else math.inf
    return low, high, normal_pvalue(z)


def _delong(
    champion: EvaluationSample, candidate: EvaluationSample, margin: float, confidence: float
) -> tuple[float, float, float]:
    first = compute_placements(*binary_scores(champion, probabilities=False))
    second = compute_placements(*binary_scores(candidate, probabilities=False))
    gain, variance = second.area - first.area, delong_variance(first, second)
    if math.isnan(variance):
        return -math.inf, math.inf, 1.0
    error = math.sqrt(variance)
    half = normal_quantile(confidence) * error
    excess = gain + margin
    z = excess / error if error else math.copysign(math.inf, excess) if excess else 0.0
    return gain - half, gain + half, normal_pvalue(z, two_sided=not margin)
