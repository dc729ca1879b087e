"""Draw the plots of an assessment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_slo_provider.charts.intervals import Interval, intervals
from airflow_slo_provider.charts.plot import Plot
from airflow_slo_provider.charts.svg import figure, legend
from airflow_slo_provider.evaluation.rows.labels import binary_scores
from airflow_slo_provider.evaluation.rows.sample import EvaluationSample, UndefinedMetric, require_finite

if TYPE_CHECKING:
    from airflow_slo_provider.evaluation.intervals.estimates import Estimate
    from airflow_slo_provider.evaluation.verdict.assessment import ModelAssessment
    from airflow_slo_provider.evaluation.verdict.comparison import Comparison

#: Line style of each model.
_CANDIDATE, _CHAMPION = "line-0", "line-4"
#: Maximum number of points of a curve or a scatter plot.
MOST_POINTS = 400


def draw_plots(assessment: ModelAssessment) -> list[str]:
    """Return the plots that fit an assessment's metrics, as SVG."""
    plots = [
        _comparisons(assessment),
        _segments(assessment),
        *_curves(assessment),
        _calibration(assessment),
        _residuals(assessment),
    ]
    return list(filter(None, plots))


def _samples(assessment: ModelAssessment) -> list[tuple[str, str, EvaluationSample]]:
    samples = [("candidate", _CANDIDATE, assessment.joined.sample)]
    if assessment.champion is not None:
        samples.append(("champion", _CHAMPION, assessment.champion.sample))
    return samples


def _comparisons(assessment: ModelAssessment) -> str:
    """Plot every comparison as a gain: right is better, also for error metrics."""
    rows, marks = [], {0.0: ""}
    for name, comparison in assessment.comparisons.items():
        if row := _interval(f"{name} (n={comparison.n})", comparison.delta, comparison, 1 if comparison.higher_is_better else -1):
            rows.append(row)
            marks[-comparison.margin] = "margin" if comparison.margin else ""
    return _intervals("Gain over the champion, with interval", rows, marks)


def _interval(label: str, value: float | None, bounds: Estimate | Comparison, sign: int, tone: str = "mark") -> Interval | None:
    if value is None or bounds.low is None or bounds.high is None:
        return None
    low, high = sorted((sign * bounds.low, sign * bounds.high))
    return Interval(label, sign * value, low, high, tone)


def _segments(assessment: ModelAssessment) -> str:
    slices = assessment.slices
    if slices is None or not slices.shown:
        return ""
    rows = []
    for segment in slices.judged or slices.shown:
        comparison, estimate = segment.comparison, segment.estimate
        label, tone = f"{segment.name} {segment.metric}", "bad" if segment.verdict.value == "fail" else "mark"
        if comparison is None:
            rows.append(_interval(label, estimate.value, estimate, 1, tone))
        else:
            rows.append(_interval(label, comparison.delta, comparison, 1 if comparison.higher_is_better else -1, tone))
    title = "Segments: gain over the champion" if slices.judged else "Segments"
    return _intervals(title, list(filter(None, rows))[:60], {0.0: ""} if slices.judged else {})


def _intervals(title: str, rows: list[Interval], marks: Mapping[float, str]) -> str:
    return figure(title, intervals(title, rows, marks=marks)) if rows else ""


def _figure(plot: Plot, models: Iterable[tuple[str, str, Any, Any]] = ()) -> str:
    names = {name: kind for name, kind, *_ in models}
    drawn = plot.draw(kind="plot", width=plot.width, height=plot.height)
    return figure(plot.title, drawn, *([legend(names)] if names else []))


def _binary(assessment: ModelAssessment, *, probabilities: bool) -> list[tuple[str, str, Any, Any]]:
    if not any(name.split("@")[0] in _CLASSIFIER for name in assessment.estimates):
        return []
    usable = []
    for name, kind, sample in _samples(assessment):
        try:
            positive, scores = binary_scores(sample, probabilities=probabilities)
        except UndefinedMetric:
            continue
        if positive.any() and not positive.all():
            usable.append((name, kind, positive, scores))
    return usable


_CLASSIFIER = {"roc_auc", "auc", "average_precision", "log_loss", "brier", "calibration_error"}


def _curves(assessment: ModelAssessment) -> list[str]:
    models = _binary(assessment, probabilities=False)
    if not models:
        return []
    roc = Plot("ROC curve", (0, 1), (0, 1), "false positive rate", "true positive rate")
    recall = Plot("Precision and recall", (0, 1), (0, 1), "recall", "precision")
    roc.line("reference", [(0, 0), (1, 1)])
    for _, kind, positive, scores in models:
        order = np.argsort(-scores, kind="stable")
        ends = np.append(scores[order][1:] != scores[order][:-1], True)
        hits, predicted = np.cumsum(positive[order])[ends], (np.arange(len(order)) + 1)[ends]
        total = int(positive.sum())
        keep = np.unique(np.linspace(0, len(hits) - 1, min(len(hits), MOST_POINTS)).astype(int))
        hits, predicted = hits[keep], predicted[keep]
        true_rate, false_rate = (hits / total).tolist(), ((predicted - hits) / (len(scores) - total)).tolist()
        roc.line(kind, [(0.0, 0.0), *zip(false_rate, true_rate, strict=True)])
        recall.line(kind, list(zip(true_rate, (hits / predicted).tolist(), strict=True)))
    return [_figure(plot, models) for plot in (roc, recall)]


def _calibration(assessment: ModelAssessment) -> str:
    models = _binary(assessment, probabilities=True)
    if not models:
        return ""
    plot = Plot("Calibration", (0, 1), (0, 1), "predicted probability", "observed share")
    plot.line("reference", [(0, 0), (1, 1)])
    for _, kind, positive, scores in models:
        bins = np.minimum((scores * 10).astype(int), 9)
        count = np.bincount(bins, minlength=10)
        filled = count > 0
        predicted, observed = (
            (np.bincount(bins, weights=values, minlength=10)[filled] / count[filled]).tolist() for values in (scores, positive)
        )
        points = list(zip(predicted, observed, strict=True))
        plot.line(kind, points)
        plot.dots(kind, points, 3)
    return _figure(plot, models)


def _residuals(assessment: ModelAssessment) -> str:
    if not any(name in ("rmse", "mse", "mae", "mape", "r2") for name in assessment.estimates):
        return ""
    try:
        sample = assessment.joined.sample
        predicted = require_finite(sample.prediction, "predictions")
        residual = require_finite(sample.truth, "targets") - predicted
    except UndefinedMetric:
        return ""
    if predicted.ndim != 1 or not len(predicted):
        return ""
    keep = np.unique(np.linspace(0, len(predicted) - 1, min(len(predicted), 2 * MOST_POINTS)).astype(int))
    across = (float(predicted.min()), float(predicted.max()))
    most = float(np.abs(residual).max()) or 1.0
    if not math.isfinite(most):
        return ""
    plot = Plot("Residuals of the candidate", across, (-most, most), "predicted", "truth - predicted")
    plot.line("reference", [(across[0], 0.0), (across[1], 0.0)])
    plot.dots("point", zip(predicted[keep].tolist(), residual[keep].tolist(), strict=True), 1.6)
    return _figure(plot)
