"""Compute the metrics that are functions of averages over units, which are most metrics.

Such a metric is stored as columns with one row per unit (a row of the golden set, or a group for ranking) and a function of the
columns' weighted sums. A bootstrap replicate is then one product of weights and columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_slo_provider.evaluation.metrics.metric_names import Metric
from airflow_slo_provider.evaluation.metrics.ranking import rank_units
from airflow_slo_provider.evaluation.rows.labels import binary_scores, class_probabilities, encode_labels, order_classes
from airflow_slo_provider.evaluation.rows.sample import EvaluationSample, UndefinedMetric, require_finite

#: Number of equally wide bins of the calibration error [Naeini, Cooper and Hauskrecht 2015].
CALIBRATION_BINS = 10

#: Computes the metric, shape (...), from sums, shape (..., k). The last column is the weight.
Finish = Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class RowAverages:
    """A metric prepared for resampling.

    :param columns: shape (units, k); the last column is the weight of the unit
    :param finish: the metric as a function of the columns' sums
    :param counts: good and total events if the metric is a plain proportion, else None
    :param units: name of the unit
    :param excluded: number of units left out, e.g. groups without a relevant row
    """

    columns: NDArray[np.float64]
    finish: Finish
    counts: tuple[int, int] | None = None
    excluded: int = 0
    reason: str = ""

    @property
    def n(self) -> int:
        """Number of independent units."""
        return len(self.columns)

    def value(self) -> float:
        """Return the metric on the sample itself."""
        return float(self.finish(self.columns.sum(axis=0)))

    def group(self, units: NDArray[np.intp]) -> RowAverages:
        """Return the same metric with groups as units, because rows of a group are not independent.

        :param units: the group of each row
        """
        columns = [np.bincount(units, weights=column) for column in self.columns.T]
        return replace(self, columns=np.asarray(columns, dtype=np.float64).T, counts=None)

    def influence(self) -> NDArray[np.float64]:
        """Return the empirical influence of each unit on the metric, by the delta method, shape (units,)."""
        mean, spread = self.columns.mean(axis=0), self.columns.std(axis=0)
        slope = np.zeros_like(mean)
        for column in np.flatnonzero(spread > 0):
            step = np.zeros_like(mean)
            step[column] = 1e-4 * spread[column]
            slope[column] = (self.finish(mean + step) - self.finish(mean - step)) / (2 * step[column])
        return np.asarray((self.columns - mean) @ slope)


def compute_row_averages(metric: Metric, sample: EvaluationSample) -> RowAverages:
    """Convert a metric to columns of averages.

    :raises UndefinedMetric: when the metric has no value on these rows
    """
    if sample.n == 0:
        raise UndefinedMetric("there are no rows")
    if metric.reads == "ranking":
        values, weight, excluded, reason = rank_units(metric, sample)
        return RowAverages(_stack(values, weight=weight), _mean, excluded=excluded, reason=reason)
    return _METRICS[metric.base](sample)


def _stack(*columns: Any, weight: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Join columns, 1-D or 2-D, and the weight, and multiply every row by its weight."""
    stacked = np.column_stack([*columns, np.ones(len(columns[0]))])
    return stacked if weight is None else stacked * weight[:, None]


def _mean(sums: Any) -> Any:
    return sums[..., 0] / sums[..., -1]


def _proportion(sample: EvaluationSample, hits: NDArray[Any], among: NDArray[Any]) -> RowAverages:
    """Return a proportion of rows; its interval is computed from exact counts, not by bootstrap."""
    total = int(among.sum())
    counts = (int((hits & among).sum()), total) if sample.weight is None else None
    if total == sample.n:
        return RowAverages(_stack(hits, weight=sample.weight), _mean, counts)
    return RowAverages(_stack(hits & among, among, weight=sample.weight), lambda sums: _ratio(sums[..., 0], sums[..., 1]), counts)


def _ratio(above: Any, below: Any) -> Any:
    """Divide; 0 / 0 is NaN without a warning, e.g. for the recall of a replicate without a positive row."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0)


def _accuracy(sample: EvaluationSample) -> RowAverages:
    truth, predicted, _ = encode_labels(sample)
    return _proportion(sample, truth == predicted, np.ones(len(truth), dtype=bool))


def _per_class(sample: EvaluationSample, metric: str) -> RowAverages:
    """Compute precision, recall and F1: of the positive class of two, or the mean over more classes (``average="macro"``)."""
    truth, predicted, classes = encode_labels(sample)
    if len(classes) == 1:
        raise UndefinedMetric(f"there is one class only, {classes[0]}")
    if len(classes) == 2:
        _, positive = order_classes(classes, sample.positive)
        is_true, is_predicted = classes[truth] == positive, classes[predicted] == positive
        if metric == "precision":
            if not is_predicted.any():
                raise UndefinedMetric("no row is predicted to be positive: there is no precision")
            return _proportion(sample, is_true, is_predicted)
        if not is_true.any():
            raise UndefinedMetric(f"no row is positive: there is no {metric}")
        if metric == "recall":
            return _proportion(sample, is_predicted, is_true)
        columns = _stack(is_true & is_predicted, is_true, is_predicted, weight=sample.weight)
        return RowAverages(columns, lambda sums: _ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2]))
    count = len(classes)
    is_true, is_predicted = truth[:, None] == np.arange(count), predicted[:, None] == np.arange(count)

    def finish(sums: Any) -> Any:
        hits, true, predicted = np.split(sums[..., :-1], 3, axis=-1)
        below = {"precision": predicted, "recall": true, "f1": (true + predicted) / 2}[metric]
        return np.nan_to_num(_ratio(hits, below)).mean(axis=-1)  # a class that is never predicted counts 0, as in scikit-learn

    return RowAverages(_stack(is_true & is_predicted, is_true, is_predicted, weight=sample.weight), finish)


def _balanced_accuracy(sample: EvaluationSample) -> RowAverages:
    """Compute balanced accuracy, the mean recall over the true classes."""
    truth, predicted, classes = encode_labels(sample)
    occurring = np.unique(truth)
    if len(occurring) < 2:
        raise UndefinedMetric(f"there is one class only, {classes[occurring[0]]}")
    is_true = truth[:, None] == occurring
    columns = _stack(is_true & (truth == predicted)[:, None], is_true, weight=sample.weight)
    return RowAverages(columns, lambda sums: _ratio(*np.split(sums[..., :-1], 2, axis=-1)).mean(axis=-1))


def _log_loss(sample: EvaluationSample) -> RowAverages:
    index, shares = class_probabilities(sample)
    shares = shares / shares.sum(axis=1, keepdims=True)
    tiny = np.finfo(np.float64).eps  # as in scikit-learn: a certain but wrong prediction costs 36, not infinity
    return RowAverages(_stack(-np.log(shares[np.arange(len(index)), index].clip(tiny, 1 - tiny)), weight=sample.weight), _mean)


def _brier(sample: EvaluationSample) -> RowAverages:
    """Compute the Brier score [Brier 1950]: of the positive class of two, over all classes of more."""
    index, shares = class_probabilities(sample)
    losses = (shares - np.eye(shares.shape[1])[index]) ** 2
    return RowAverages(_stack(losses[:, 1] if shares.shape[1] == 2 else losses.sum(axis=1), weight=sample.weight), _mean)


def _calibration_error(sample: EvaluationSample) -> RowAverages:
    """Compute the expected calibration error: |mean probability - observed share| over equally wide bins, weighted by their rows.

    Two classes: probability of the positive class [Naeini, Cooper and Hauskrecht 2015]; more: probability of the predicted class
    [Guo, Pleiss, Sun and Weinberger 2017].
    """
    values = sample.prediction if sample.score is None else sample.score
    if values.ndim == 2 and values.shape[1] > 2:
        index, shares = class_probabilities(sample)
        hit, probability = shares.argmax(axis=1) == index, shares.max(axis=1)
    else:
        hit, probability = binary_scores(sample, probabilities=True)
    bins = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.zeros((len(bins), CALIBRATION_BINS))
    gaps[np.arange(len(bins)), bins] = probability - hit
    return RowAverages(_stack(gaps, weight=sample.weight), lambda sums: np.abs(sums[..., :-1]).sum(axis=-1) / sums[..., -1])


def _errors(sample: EvaluationSample) -> tuple[Any, Any]:
    truth = require_finite(sample.truth, "targets")
    predicted = require_finite(sample.prediction, "predictions")
    if predicted.ndim == 2 and predicted.shape[1] == 1:
        predicted = predicted[:, 0]
    if predicted.ndim != 1:
        raise UndefinedMetric("regression needs one number a row", "invalid")
    return truth, truth - predicted


def _mse(sample: EvaluationSample) -> RowAverages:
    return RowAverages(_stack(_errors(sample)[1] ** 2, weight=sample.weight), _mean)


def _rmse(sample: EvaluationSample) -> RowAverages:
    return RowAverages(_stack(_errors(sample)[1] ** 2, weight=sample.weight), lambda sums: np.sqrt(_mean(sums)))


def _mae(sample: EvaluationSample) -> RowAverages:
    return RowAverages(_stack(abs(_errors(sample)[1]), weight=sample.weight), _mean)


def _mape(sample: EvaluationSample) -> RowAverages:
    """Compute the mean absolute percentage error, as a ratio; it is undefined if a target is zero."""
    truth, error = _errors(sample)
    zeros = int((truth == 0).sum())
    if zeros:
        raise UndefinedMetric(f"{zeros} of {len(truth)} targets are 0, where a percentage error has no meaning; use mae")
    return RowAverages(_stack(abs(error / truth), weight=sample.weight), _mean)


def _r2(sample: EvaluationSample) -> RowAverages:
    truth, error = _errors(sample)
    if len(truth) < 2 or truth.min() == truth.max():
        raise UndefinedMetric("the targets are all the same: there is no variance to explain")
    centred = truth - np.average(truth, weights=sample.weight)  # otherwise a large mean (1e6) would swamp the variance

    columns = _stack(error**2, centred, centred**2, weight=sample.weight)
    return RowAverages(columns, lambda sums: 1 - _ratio(sums[..., 0], sums[..., 2] - sums[..., 1] ** 2 / sums[..., -1]))


_METRICS: dict[str, Callable[[EvaluationSample], RowAverages]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    **{metric: partial(_per_class, metric=metric) for metric in ("precision", "recall", "f1")},
    "log_loss": _log_loss,
    "brier": _brier,
    "calibration_error": _calibration_error,
    "rmse": _rmse,
    "mse": _mse,
    "mae": _mae,
    "mape": _mape,
    "r2": _r2,
}
